//! placeholder
use super::*; use super::raster::Grey; use super::request::Rendered;
pub fn open(_b: &[u8], _m: &str, _c: &Config) -> Result<Opened> { todo!() }
pub fn read(_b: &[u8], _m: &str, _p: u32, _c: &Config) -> Result<PageContent> { todo!() }
pub fn render(_b: &[u8], _m: &str, _p: u32, _c: &Config) -> Result<(Rendered, Grey)> { todo!() }
