//! HEIC, the photographs of telephones: HEVC in an ISO box file, through libheif.
//!
//! libheif is loaded when the first such file comes, and only here in the child. It turns and mirrors as the file says,
//! so what EXIF says of that is left out.

mod library;

use self::library::Library;
use super::{Check, Config, DecodeRequest, Header, Kind, canvas::Canvas, exif::Geometry, over_white, whole};
use crate::sniff;
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::{Channels, Pixmap};

/// Decodes HEIC through libheif, which is loaded with the first such picture.
#[derive(Default)]
pub(super) struct Heic {
    library: Option<Library>,
}

const NAME: &str = "HEIC";

impl Heic {
    fn library(&mut self, config: &Config) -> Result<&Library> {
        match &mut self.library {
            Some(library) => Ok(library),
            empty => Ok(empty.insert(Library::load(config.heif.as_deref())?)),
        }
    }
}

impl Kind for Heic {
    fn media_type(&self) -> &'static str {
        sniff::HEIC
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let library = self.library(asked.config)?;
        let (width, height) = library.open(&asked.file.bytes, asked.config.max_source_pixels)?.size();
        Ok(Header::new(width, height, Geometry::default()))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        // Colour with alpha, and libheif's own planes of the same picture.
        whole::fits(header, 4, NAME)?;
        let photo = self.library(asked.config)?.open(&asked.file.bytes, asked.config.max_source_pixels)?;
        let mut canvas = Canvas::new(header.width, header.height, Channels::Rgb, asked.config.max_pixels);
        let has_alpha = photo.has_alpha();
        photo.decode(|row| if has_alpha { canvas.row(&over_white(row, Channels::Rgb)) } else { canvas.row(row) })?;
        canvas.finish().ok_or_else(|| whole::incomplete(NAME))
    }

    fn check(&mut self, config: &Config) -> Option<Check> {
        let loaded = self.library(config).map(|library| library.version());
        let ok = loaded.is_ok();
        let advice = "run `make setup`, or apt-get install libheif1, or set decode.heif to the folder of libheif.so.1; \
                      without it HEIC photographs are refused";
        Some(Check {
            name: "libheif".to_owned(),
            ok,
            detail: loaded.map_or_else(|failure| failure.to_string(), |version| format!("version {version}")),
            advice: if ok { String::new() } else { advice.to_owned() },
        })
    }
}

/// The library is missing: not this file's fault, yet nothing that waiting would mend.
fn unavailable(detail: &str) -> Failure {
    let message = format!("HEIC needs libheif, which is not installed here ({detail}); `deckle check` tells how");
    Failure::rejected(code::UNSUPPORTED_TYPE, message)
}
