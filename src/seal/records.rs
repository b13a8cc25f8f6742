//! Passwords in whole records, for those who keep a record as it is: dead letters, and redrives of them.
//!
//! The law: a record without an open password stays the same bytes. One that cannot be decoded stays as it is, too: what
//! it holds is unknown, and a later version of deckle may read it.

use bytes::Bytes;

use super::Keyring;
use deckle_contract::{
    error::Result,
    record::{Event, Options, PageSplit, Readmitted, Uploaded, wire},
};

impl Keyring {
    /// The record with its password sealed, where it has one that is not.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn seal_record(&self, topic: &str, value: &Bytes) -> Result<Bytes> {
        let sealed = match topic {
            Uploaded::TOPIC => self.seal_upload(value)?,
            PageSplit::TOPIC => self.seal_event(value, |page: &mut PageSplit| &mut page.options)?,
            Readmitted::TOPIC => match wire::decode::<Readmitted>(value) {
                Ok(again) => self
                    .seal_upload(&again.value)?
                    .map(|upload| wire::encode(&Readmitted { value: upload.to_vec(), ..again }))
                    .transpose()?,
                Err(_) => None,
            },
            _ => None,
        };
        Ok(sealed.unwrap_or_else(|| value.clone()))
    }

    fn seal_upload(&self, value: &[u8]) -> Result<Option<Bytes>> {
        self.seal_event(value, |upload: &mut Uploaded| &mut upload.options)
    }

    /// The event with its password sealed; `None` where nothing is to be sealed.
    fn seal_event<T: Event>(&self, value: &[u8], options: fn(&mut T) -> &mut Options) -> Result<Option<Bytes>> {
        let Ok(mut event) = wire::decode::<T>(value) else { return Ok(None) };
        let envelope = event.envelope().clone();
        if self.seal(&envelope, options(&mut event))? { wire::encode(&event).map(Some) } else { Ok(None) }
    }
}
