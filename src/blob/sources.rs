//! Where uploads may come from: files below configured folders, objects below configured prefixes, and bytes inside
//! the event itself.
//!
//! The law: nothing outside the roots is ever read, whatever a producer writes. An address is compared name by name
//! ([`Address`]); a file is looked at again once it is held open, so that neither a symlink nor a folder swapped
//! meanwhile leads out. A root with the name `{tenant}` gives each tenant a part of its own; one without is open to
//! all tenants. Which tenant an event speaks for is its producer's word: who may produce decides on that.

mod folder;
mod refusal;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::StreamExt;
use object_store::{ObjectStoreExt, path::Path as Key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use self::{
    folder::{Place, copy, open_within, path_of},
    refusal::{away, broken, invalid, missing, no_room, outside, too_large},
};
use crate::{Address, Blobs, Bucket, ObjectError, Options, Scheme};
use deckle_contract::{
    document::BlobRef,
    error::{Failure, Result, code},
    record::{Uploaded, context, wire},
};

/// The name in a root that stands for the event's tenant.
const TENANT: &str = "{tenant}";
/// The address of a source that lies in the event itself.
const INLINE: &str = "inline:";
/// The media type of an imported file, whose real one is found later.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Where uploads may come from, besides the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `file:///srv/incoming`, `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`; a name `{tenant}`
    /// in it stands for the event's tenant. Empty = none.
    pub roots: Vec<String>,
    /// Bytes that an event may carry itself.
    pub max_inline_bytes: usize,
    /// Bytes that an event may say beside its file: ids, names, attributes, principals, trace state. All of it travels in
    /// every event of the document.
    pub max_context_bytes: usize,
    /// Options of the object stores among the roots; each takes those that it knows.
    pub options: Options,
}

impl Default for Config {
    fn default() -> Self {
        // Half of what an event may have: the rest of it has room beside.
        Self {
            roots: Vec::new(),
            max_inline_bytes: wire::MAX_OWN_BYTES / 2,
            max_context_bytes: 16 * 1024,
            options: Options::default(),
        }
    }
}

impl Config {
    /// Checks the roots, the names of the options and the limit.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.max_inline_bytes >= wire::MAX_OWN_BYTES {
            let limit = wire::MAX_OWN_BYTES;
            return Err(format!("`sources.max_inline_bytes` must be below {limit}, which a whole event may have"));
        }
        // What stages add (reasons, a trail) has the rest.
        const LIMIT: usize = wire::MAX_OWN_BYTES / 8;
        if self.max_context_bytes > LIMIT {
            return Err(format!("`sources.max_context_bytes` must not exceed {LIMIT}"));
        }
        let roots = self.addresses()?;
        match self.options.names().find(|name| !roots.iter().any(|root| root.scheme.knows_option(name))) {
            Some(name) => Err(format!("`sources.options.{name}` is an option of none of `sources.roots`")),
            None => Ok(()),
        }
    }

    fn addresses(&self) -> std::result::Result<Vec<Address>, String> {
        let address = |root: &String| {
            let wrong = |why: &str| format!("`sources.roots`: \"{root}\": {why}");
            let address = Address::parse(root).map_err(|why| wrong(&why))?;
            if address.names.iter().any(|name| name.contains(TENANT) && name != TENANT) {
                return Err(wrong("`{tenant}` must be a whole name between slashes"));
            }
            if address.scheme == Scheme::File && address.names.is_empty() {
                return Err(wrong("the whole file system is no root"));
            }
            Ok(address)
        };
        self.roots.iter().map(address).collect()
    }
}

/// The configured roots that uploads may be fetched from.
pub struct Sources {
    roots: Vec<Root>,
    max_inline_bytes: usize,
    max_context_bytes: usize,
    max_bytes: u64,
    /// The folder in which copies lie until they are in the blob store.
    folder: PathBuf,
}

struct Root {
    address: Address,
    /// The open bucket; `None` for a folder.
    bucket: Option<Bucket>,
}

/// The bytes of an upload, read once and held where nobody changes them.
pub struct Fetched {
    content: Content,
    /// SHA-256 of the bytes, in lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub size_bytes: u64,
}

enum Content {
    Memory(Bytes),
    /// A file without a name, so that a crash leaves nothing.
    File(File),
}

impl Sources {
    /// Opens the roots; copies are made in `folder`, which must exist, and files above `max_bytes` are refused.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn open(config: &Config, max_bytes: u64, folder: PathBuf) -> std::result::Result<Self, String> {
        let root = |address: Address| {
            let bucket = match address.scheme {
                Scheme::File => None,
                _ => Some(Bucket::open(&address, &config.options).map_err(|why| {
                    format!("`sources.roots`: {}://{}: {why}", address.scheme.as_str(), address.bucket)
                })?),
            };
            Ok(Root { address, bucket })
        };
        let roots = config.addresses()?.into_iter().map(root).collect::<std::result::Result<_, String>>()?;
        let Config { max_inline_bytes, max_context_bytes, .. } = *config;
        Ok(Self { roots, max_inline_bytes, max_context_bytes, max_bytes, folder })
    }

    /// Checks how much an upload says beside its file.
    ///
    /// # Errors
    /// Rejected as `limit.context`.
    pub fn check_context(&self, upload: &Uploaded) -> Result<()> {
        let (bytes, limit) = (context::bytes(upload), self.max_context_bytes);
        if bytes <= limit {
            return Ok(());
        }
        let message =
            format!("the event has {bytes} bytes beside its file, the limit is {limit} (`sources.max_context_bytes`)");
        Err(Failure::rejected(code::LIMIT_CONTEXT, message))
    }

    /// Reads what an upload brings or names, up to the limit, and checks size and hash where the event names them (a
    /// size of 0 and an empty hash name nothing).
    ///
    /// # Errors
    /// Rejected as `source.outside`, `source.invalid`, `source.missing`, `source.mismatch` or `limit.bytes`;
    /// `Unavailable` while a root is away.
    pub async fn fetch(&self, upload: &Uploaded) -> Result<Fetched> {
        let uri = upload.source.uri.as_str();
        let fetched = match &upload.content {
            Some(content) if uri.is_empty() || uri.starts_with(INLINE) => self.inline(content)?,
            Some(_) => return Err(invalid(format!("the event brings bytes and names the source `{uri}`: which one?"))),
            None if uri.is_empty() || uri.starts_with(INLINE) => {
                return Err(invalid("the event names no source and brings no bytes".to_owned()));
            }
            None => self.referenced(&upload.envelope.tenant, uri).await?,
        };
        fetched.check(upload)?;
        Ok(fetched)
    }

    fn inline(&self, content: &[u8]) -> Result<Fetched> {
        if content.len() > self.max_inline_bytes {
            let message = format!(
                "the event brings {} bytes, the limit is {} (`sources.max_inline_bytes`); send a reference instead",
                content.len(),
                self.max_inline_bytes
            );
            return Err(Failure::rejected(code::LIMIT_BYTES, message));
        }
        let sha256 = hex::encode(Sha256::digest(content));
        let content = Bytes::copy_from_slice(content);
        Ok(Fetched { sha256, size_bytes: content.len() as u64, content: Content::Memory(content) })
    }

    async fn referenced(&self, tenant: &str, uri: &str) -> Result<Fetched> {
        let address = Address::parse(uri).map_err(|why| invalid(format!("the source `{uri}`: {why}")))?;
        let roots: Vec<&Root> = self.roots.iter().filter(|root| root.holds(tenant, &address)).collect();
        let Some(first) = roots.first() else {
            return Err(outside(uri, "lies in none of `sources.roots`"));
        };
        if let Some(bucket) = &first.bucket {
            return self.object(bucket, &address, uri).await;
        }
        let places: Vec<Place> = roots.iter().map(|root| root.place(&address)).collect();
        let (max_bytes, copies, uri) = (self.max_bytes, self.folder.clone(), uri.to_owned());
        let copying = tokio::task::spawn_blocking(move || {
            let (mut file, root) = open_within(&places, &uri)?;
            let (copy, sha256, size_bytes) = copy(&mut file, root, &copies, max_bytes, &uri)?;
            Ok(Fetched { content: Content::File(copy), sha256, size_bytes })
        });
        copying.await.map_err(|error| Failure::defect(format!("reading a source ended early: {error}")))?
    }

    async fn object(&self, bucket: &Bucket, address: &Address, uri: &str) -> Result<Fetched> {
        let key = Key::parse(address.key()).map_err(|error| invalid(format!("the source `{uri}`: {error}")))?;
        let object = match bucket.store.get(&key).await {
            Ok(object) => object,
            Err(error) => return Err(unreadable_object(bucket, uri, error).await),
        };
        if object.meta.size > self.max_bytes {
            return Err(too_large(uri, self.max_bytes));
        }
        let here = |error: io::Error| no_room(&self.folder, &error);
        let file = tempfile::tempfile_in(&self.folder).map_err(here)?;
        let mut copy = tokio::fs::File::from_std(file);
        let mut bytes = object.into_stream();
        let (mut hash, mut size_bytes) = (Sha256::new(), 0);
        while let Some(piece) = bytes.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(unreadable_object(bucket, uri, error).await),
            };
            size_bytes += piece.len() as u64;
            if size_bytes > self.max_bytes {
                return Err(too_large(uri, self.max_bytes));
            }
            hash.update(&piece);
            copy.write_all(&piece).await.map_err(here)?;
        }
        copy.flush().await.map_err(here)?;
        let content = Content::File(copy.into_std().await);
        Ok(Fetched { content, sha256: hex::encode(hash.finalize()), size_bytes })
    }
}

/// The failure of reading an object. Where its bucket answers for another, this one alone is broken.
async fn unreadable_object(bucket: &Bucket, uri: &str, error: object_store::Error) -> Failure {
    match ObjectError::from(error) {
        ObjectError::Missing => missing(uri, "is missing"),
        ObjectError::Denied(_) => missing(uri, "may not be read with the credentials of deckle"),
        ObjectError::Unavailable(why) if bucket.answers().await => broken(uri, &why),
        ObjectError::Unavailable(why) => away(uri, &why),
    }
}

impl Fetched {
    fn check(&self, upload: &Uploaded) -> Result<()> {
        let named = &upload.source;
        if !named.sha256.is_empty() && named.sha256 != self.sha256 {
            let message = format!("the event names the SHA-256 {}, the bytes have {}", named.sha256, self.sha256);
            return Err(Failure::rejected(code::SOURCE_MISMATCH, message));
        }
        if named.size_bytes != 0 && u64::try_from(named.size_bytes) != Ok(self.size_bytes) {
            let message =
                format!("the event names a size of {} bytes, there are {}", named.size_bytes, self.size_bytes);
            return Err(Failure::rejected(code::SOURCE_MISMATCH, message));
        }
        Ok(())
    }

    /// Puts the bytes into the blob store.
    ///
    /// # Errors
    /// As the blob store's.
    pub async fn import(self, blobs: &dyn Blobs, tenant: &str, document_id: &str) -> Result<BlobRef> {
        let blob = match &self.content {
            Content::Memory(bytes) => blobs.put(tenant, document_id, UNKNOWN_TYPE, bytes.clone()).await?,
            Content::File(copy) => blobs.put_file(tenant, document_id, UNKNOWN_TYPE, &path_of(copy)).await?,
        };
        if blob.sha256 != self.sha256 {
            return Err(Failure::transient("the copy of the source changed on its way to the blob store"));
        }
        Ok(blob)
    }
}

impl Root {
    /// Whether an address lies below this root, as this tenant sees it.
    fn holds(&self, tenant: &str, address: &Address) -> bool {
        let is_same = |(root, name): (&String, &String)| if root == TENANT { name == tenant } else { name == root };
        let root = &self.address;
        root.scheme == address.scheme
            && root.bucket == address.bucket
            && address.names.len() > root.names.len()
            && root.names.iter().zip(&address.names).all(is_same)
    }

    /// Where a file of this root lies, after [`Root::holds`] saw that its address begins with the root's names.
    fn place(&self, file: &Address) -> Place {
        let root = &self.address.names;
        let shared = root.iter().position(|name| name == TENANT).unwrap_or(root.len());
        Place {
            shared: Path::new("/").join(file.names[..shared].iter().collect::<PathBuf>()),
            own: file.names[shared..root.len()].iter().collect(),
            below: file.names[root.len()..].iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
