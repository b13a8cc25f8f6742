//! Passwords of files, sealed before they are stored anywhere, and the keys that seal and open them.
//!
//! The law: where a password is stored it is sealed, with an AEAD whose associated data are the tenant and the upload, so
//! that it opens for no other. Whoever has no key has no password, and whoever moves a sealed one has none either.
//!
//! - `keys`: the keys in a file or a secret; the last one seals, each of them opens
//! - `sealed`: one sealed password as text
//! - `records`: passwords in whole records, as dead letters and redrives keep them

mod keys;
mod records;
mod sealed;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use deckle_contract::{
    error::{Failure, Result, code},
    record::{Envelope, Options},
};
use keys::{Key, Keys};
use sealed::Sealed;

/// The dependency that readiness names while a key is missing.
const DEPENDENCY: &str = "password keys";

/// Where the keys are. Neither is set on the embedded log, where deckle makes a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A file of keys, one a line as 64 hexadecimal digits; the last one seals, each of them opens.
    pub keys_file: Option<PathBuf>,
    /// The same lines themselves, for where secrets are variables.
    pub keys: Option<Password>,
    /// How long records wait for a key that is not there, in seconds. It counts from the first that misses one, and anew
    /// from every change of the keys; from then on such records become dead letters at once.
    pub wait_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        // Time to notice `/readyz` and to add a line; an id that nobody ever had must not hold a stage for longer.
        Self { keys_file: None, keys: None, wait_s: 600 }
    }
}

impl Config {
    /// Checks across the settings.
    ///
    /// # Errors
    /// When both places are named.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.keys_file.is_some() && self.keys.is_some() {
            return Err("`passwords.keys_file` and `passwords.keys` are two places for the keys: set one".to_owned());
        }
        Ok(())
    }
}

/// A password, or another secret text, that shows itself only where it is asked to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Password {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Seals and opens passwords.
///
/// The keys are read whenever they are needed, which is rare and costs a few hundred bytes: a key that is added while
/// workers run is known to them at once.
#[derive(Debug)]
pub struct Keyring {
    place: Place,
    wait: Duration,
    /// Since when a key is missing, while the keys are these, by their ids.
    missing: Mutex<Option<(Vec<String>, Instant)>>,
}

/// Where the keys come from.
#[derive(Debug)]
enum Place {
    /// A file that somebody else keeps.
    File(PathBuf),
    /// Our own file, which is made when the first password is sealed.
    Own(PathBuf),
    /// The lines themselves.
    Text(Password),
    /// Nowhere: the first password that comes is told what is missing.
    Unnamed,
}

impl Keyring {
    /// A keyring as it is configured. `own` is the file to make where no place is named; `None` where several machines
    /// would each make one. Reads nothing yet.
    pub fn new(config: &Config, own: Option<PathBuf>) -> Self {
        let place = match (&config.keys_file, &config.keys, own) {
            (Some(file), ..) => Place::File(file.clone()),
            (None, Some(text), _) => Place::Text(text.clone()),
            (None, None, Some(own)) => Place::Own(own),
            (None, None, None) => Place::Unnamed,
        };
        Self { place, wait: Duration::from_secs(config.wait_s), missing: Mutex::default() }
    }

    /// Seals the password of an upload with the newest key, and says whether there was one to be sealed. The same
    /// password of the same upload becomes the same text, so that a record worked on twice gives the same outputs.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] while there is no key.
    pub fn seal(&self, envelope: &Envelope, options: &mut Options) -> Result<bool> {
        let Some(password) = options.password.as_deref().filter(|text| Sealed::parse(text).is_none()) else {
            return Ok(false);
        };
        let sealed = Sealed::new(&self.newest()?, &bound_to(envelope), password)?;
        options.password = Some(sealed.to_string());
        Ok(true)
    }

    /// The password of an upload, to be given to a decoder and to nobody else. What was never sealed, in a record of an
    /// earlier version, is the password itself.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] while the key is waited for that sealed it, and rejected as `password.key_unknown` after
    /// that; rejected as `password.invalid` where it was sealed for another tenant or upload, or changed since.
    pub fn open(&self, envelope: &Envelope, options: &Options) -> Result<Option<Password>> {
        let Some(text) = &options.password else { return Ok(None) };
        let Some(sealed) = Sealed::parse(text) else { return Ok(Some(text.clone().into())) };
        let keys = self.known()?;
        let key = keys.find(&sealed.key_id).ok_or_else(|| self.missing(&sealed.key_id, &keys))?;
        let opened = sealed.open(key, &bound_to(envelope)).ok_or_else(|| {
            Failure::rejected(
                code::PASSWORD_INVALID,
                "the sealed password does not open: it was sealed for another tenant or upload, or changed since",
            )
        })?;
        Ok(Some(opened))
    }

    /// Says where the keys are, for people.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] where a place is named and no keys can be read from it.
    pub fn describe(&self) -> Result<String> {
        match &self.place {
            Place::Unnamed => {
                Ok("none named, and none needed before the first password (`passwords.keys_file`)".to_owned())
            }
            Place::Own(path) if !path.exists() => Ok(format!("{}, made with the first password", path.display())),
            Place::Own(_) | Place::File(_) | Place::Text(_) => {
                Ok(format!("{}, sealing with {}", self.place(), self.newest()?.id))
            }
        }
    }

    /// The key that seals; our own file is made where there is none.
    fn newest(&self) -> Result<Key> {
        match &self.place {
            Place::Own(path) if !path.exists() => {
                keys::make(path).map_err(|error| unavailable(format!("{} cannot be made: {error}", self.place())))?;
            }
            _ => {}
        }
        self.known()?.newest().cloned().ok_or_else(|| {
            unavailable(
                "a password came, and no keys are named to seal it: set `passwords.keys_file`, the same for all workers \
                 and producers"
                    .to_owned(),
            )
        })
    }

    /// The keys as they are now; none where no place is named, and before our own file is made.
    fn known(&self) -> Result<Keys> {
        let text = match &self.place {
            Place::Unnamed => return Ok(Keys::default()),
            Place::Own(path) if !path.exists() => return Ok(Keys::default()),
            Place::Text(text) => text.reveal().to_owned(),
            Place::File(path) | Place::Own(path) => self.read(path)?,
        };
        Keys::parse(&text).map_err(|why| unavailable(format!("{}: {why}", self.place())))
    }

    /// What a record hears whose key is not among those that are known. Anybody can write the id of a key that never was,
    /// so the wait has an end: the record is kept as a dead letter, and a redrive opens it once the key is back.
    fn missing(&self, key_id: &str, keys: &Keys) -> Failure {
        let message = format!("the key {key_id} that a password was sealed with is not in {}", self.place());
        let ids = keys.ids();
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*missing {
            Some((known, since)) if *known == ids => *since,
            _ => missing.insert((ids, Instant::now())).1,
        };
        if since.elapsed() < self.wait {
            unavailable(message + ": put it back there")
        } else {
            Failure::rejected(code::PASSWORD_KEY_UNKNOWN, message)
        }
    }

    fn read(&self, path: &Path) -> Result<String> {
        std::fs::read_to_string(path).map_err(|error| unavailable(format!("{} cannot be read: {error}", self.place())))
    }

    fn place(&self) -> String {
        match &self.place {
            Place::File(path) | Place::Own(path) => format!("the file of keys {}", path.display()),
            Place::Text(_) => "`passwords.keys`".to_owned(),
            Place::Unnamed => "no place".to_owned(),
        }
    }
}

fn unavailable(message: String) -> Failure {
    Failure::unavailable(DEPENDENCY, message)
}

/// What a sealed password is bound to: the tenant, its length first so that no other pair reads the same, and the upload
/// by the name that split gives it.
fn bound_to(envelope: &Envelope) -> Vec<u8> {
    let Envelope { tenant, upload_id, event_id, .. } = envelope;
    let upload = if upload_id.is_empty() { event_id } else { upload_id };
    [&(tenant.len() as u64).to_le_bytes(), tenant.as_bytes(), upload.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
