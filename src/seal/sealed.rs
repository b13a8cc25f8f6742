//! One sealed password as text: `sealed:v1:<id of the key>:<hex of the sealed bytes>`.
//!
//! The law: it is a function of key, binding and password alone. A stage that works on a record a second time must write
//! the same bytes, so no random number is drawn: the nonce is a hash of the binding, and AES-GCM-SIV (RFC 8452) is made
//! for nonces that repeat; all that shows is that one upload has had one password twice.

use std::fmt;

use aes_gcm_siv::{
    Aes256GcmSiv, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};

use super::{
    Password,
    keys::{ID_DIGITS, Key},
};
use deckle_contract::error::{Failure, Result};

const PREFIX: &str = "sealed:v1:";

/// Bytes of the tag that ends what is sealed, and so the fewest that there are.
const TAG_BYTES: usize = 16;

/// A password that only its key opens, and only for what it is bound to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The key that sealed it.
    pub(super) key_id: String,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Reads a sealed password; `None` for any other text, which is a password as it was typed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (key_id, sealed) = text.strip_prefix(PREFIX)?.split_once(':')?;
        let is_id = key_id.len() == ID_DIGITS && key_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes = hex::decode(sealed).ok()?;
        (is_id && bytes.len() >= TAG_BYTES).then(|| Self { key_id: key_id.to_owned(), bytes })
    }

    /// Seals a password.
    ///
    /// # Errors
    /// A defect for a password of gigabytes, which no event holds.
    pub(super) fn new(key: &Key, bound_to: &[u8], password: &str) -> Result<Self> {
        let payload = Payload { msg: password.as_bytes(), aad: bound_to };
        let bytes = Aes256GcmSiv::new(&key.bytes)
            .encrypt(&nonce(bound_to), payload)
            .map_err(|_| Failure::defect("a password is too long to be sealed"))?;
        Ok(Self { key_id: key.id.clone(), bytes })
    }

    /// The password; `None` where this key did not seal it for this.
    pub(super) fn open(&self, key: &Key, bound_to: &[u8]) -> Option<Password> {
        let payload = Payload { msg: &self.bytes, aad: bound_to };
        let opened = Aes256GcmSiv::new(&key.bytes).decrypt(&nonce(bound_to), payload).ok()?;
        String::from_utf8(opened).ok().map(Password::from)
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.key_id, hex::encode(&self.bytes))
    }
}

fn nonce(bound_to: &[u8]) -> Nonce {
    let hash = Sha256::new().chain_update("deckle password nonce\n").chain_update(bound_to).finalize();
    let mut nonce = Nonce::default();
    let length = nonce.len();
    nonce.copy_from_slice(&hash[..length]);
    nonce
}
