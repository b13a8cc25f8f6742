//! The keys: lines of text, of which the last one seals and each of them opens.
//!
//! The law: a key's id is made of the key, so that two keys never have one id, and a sealed password whose id is known
//! is one that this key sealed. Whoever adds a line has rotated the keys.

use std::{fs::File, io, io::Write as _, path::Path};

use aes_gcm_siv::{
    Aes256GcmSiv,
    aead::{Generate as _, Key as Bytes},
};
use sha2::{Digest as _, Sha256};

/// What stands above the keys in a file that deckle makes.
const HEAD: &str = "\
# Keys that deckle seals passwords of files with: one a line, 64 hexadecimal digits. The last one seals, each of them opens.
# A new key: openssl rand -hex 32 >> THIS_FILE. A line may go when nothing is left that it sealed.
";

/// Hexadecimal digits of a key's id: 64 bits tell keys apart and tell nothing about them.
pub(super) const ID_DIGITS: usize = 16;

/// A key of AES-256-GCM-SIV.
#[derive(Clone)]
pub(super) struct Key {
    /// The start of a hash of the key, in lower-case hex.
    pub(super) id: String,
    /// The key itself.
    pub(super) bytes: Bytes<Aes256GcmSiv>,
}

impl Key {
    fn new(bytes: Bytes<Aes256GcmSiv>) -> Self {
        let hash = Sha256::new().chain_update("deckle password key\n").chain_update(bytes).finalize();
        let mut id = hex::encode(hash);
        id.truncate(ID_DIGITS);
        Self { id, bytes }
    }
}

/// The keys of one place, the newest last.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads keys from lines; empty ones and those that start with `#` are passed over.
    ///
    /// # Errors
    /// Which line is no key, never what it says.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut bytes = Bytes::<Aes256GcmSiv>::default();
            hex::decode_to_slice(line, &mut bytes)
                .map_err(|_| format!("line {number} is no key of 64 hexadecimal digits"))?;
            keys.push(Key::new(bytes));
        }
        if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(Self(keys)) }
    }

    /// The key that seals; `None` where there are none.
    pub(super) fn newest(&self) -> Option<&Key> {
        self.0.last()
    }

    /// The ids of all of them, in order.
    pub(super) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| key.id.clone()).collect()
    }

    /// The key of an id.
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// Makes a file with one new key that its owner alone may read. Of two that do so at once, the first wins; when either
/// returns, the file is whole and survives a power cut, so that nothing is ever sealed with a key that is lost.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    // Made with mode 0600.
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let key = Bytes::<Aes256GcmSiv>::try_generate().map_err(io::Error::other)?;
    writeln!(draft, "{HEAD}{}", hex::encode(key))?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => return Err(refused.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}
