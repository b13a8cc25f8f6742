//! The frames between parent and child: fixed little-endian headers, then bytes of announced length.
//!
//! Both sides keep the same list of the files that the child holds ([`Held`]), so the parent knows what to send.

/// Opens every frame; anything else on the pipe is a broken child.
const MAGIC: u32 = u32::from_le_bytes(*b"dklS");

/// How many files a child keeps at most.
const FILES_HELD: usize = 2;

/// The file is not part of this call.
pub(super) const FILE_NONE: u8 = 0;
/// The child holds the file already.
pub(super) const FILE_HELD: u8 = 1;
/// The file's bytes follow the header.
pub(super) const FILE_SENT: u8 = 2;

/// The handler answered.
pub(super) const STATUS_OK: u8 = 0;
/// The handler panicked; the reply is its message.
pub(super) const STATUS_PANIC: u8 = 1;

/// Parent to child: the header of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallHeader {
    /// Counts the requests of this child.
    pub id: u64,
    /// One of `FILE_…`.
    pub file: u8,
    /// The file's name; empty for `FILE_NONE`.
    pub sha256: [u8; 64],
    /// Length of the file's bytes that follow.
    pub file_len: u64,
    /// Length of the request that follows those.
    pub request_len: u64,
}

impl CallHeader {
    /// Encoded length in bytes.
    pub(super) const LEN: usize = 4 + 8 + 1 + 64 + 8 + 8;

    /// Encodes the header.
    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..12].copy_from_slice(&self.id.to_le_bytes());
        out[12] = self.file;
        out[13..77].copy_from_slice(&self.sha256);
        out[77..85].copy_from_slice(&self.file_len.to_le_bytes());
        out[85..93].copy_from_slice(&self.request_len.to_le_bytes());
        out
    }

    /// Decodes a header; `None` for anything that is not one.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut sha256 = [0; 64];
        sha256.copy_from_slice(&bytes[13..77]);
        (bytes[..4] == MAGIC.to_le_bytes()).then(|| Self {
            id: u64_at(bytes, 4),
            file: bytes[12],
            sha256,
            file_len: u64_at(bytes, 77),
            request_len: u64_at(bytes, 85),
        })
    }
}

/// Child to parent: the header of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnswerHeader {
    /// The request's number.
    pub id: u64,
    /// One of `STATUS_…`.
    pub status: u8,
    /// Processor time spent, in microseconds.
    pub cpu_us: u64,
    /// Resident memory afterwards, in KiB; 0 when unknown.
    pub resident_kb: u64,
    /// Length of the reply that follows.
    pub reply_len: u64,
    /// Length of the payload that follows that.
    pub payload_len: u64,
}

impl AnswerHeader {
    /// Encoded length in bytes.
    pub(super) const LEN: usize = 4 + 8 + 1 + 8 * 4;

    /// Encodes the header.
    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..12].copy_from_slice(&self.id.to_le_bytes());
        out[12] = self.status;
        for (i, value) in [self.cpu_us, self.resident_kb, self.reply_len, self.payload_len].into_iter().enumerate() {
            out[13 + i * 8..21 + i * 8].copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// Decodes a header; `None` for anything that is not one.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        (bytes[..4] == MAGIC.to_le_bytes()).then(|| Self {
            id: u64_at(bytes, 4),
            status: bytes[12],
            cpu_us: u64_at(bytes, 13),
            resident_kb: u64_at(bytes, 21),
            reply_len: u64_at(bytes, 29),
            payload_len: u64_at(bytes, 37),
        })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// The files that a child holds, latest first. `T` is what is kept of each: nothing in the parent, bytes in the child.
#[derive(Debug)]
pub(super) struct Held<T> {
    files: Vec<(String, T)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { files: Vec::new() }
    }
}

impl<T> Held<T> {
    /// Whether the file is held.
    pub(super) fn has(&self, sha256: &str) -> bool {
        self.files.iter().any(|(name, _)| name == sha256)
    }

    /// Makes a held file the latest and returns it.
    pub(super) fn touch(&mut self, sha256: &str) -> Option<&T> {
        let at = self.files.iter().position(|(name, _)| name == sha256)?;
        self.files[..=at].rotate_right(1);
        self.files.first().map(|(_, file)| file)
    }

    /// Takes a file in as the latest; the oldest one goes when there are too many.
    pub(super) fn insert(&mut self, sha256: &str, file: T) {
        self.files.retain(|(name, _)| name != sha256);
        self.files.insert(0, (sha256.to_owned(), file));
        self.files.truncate(FILES_HELD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_pipe() {
        let call = CallHeader { id: 7, file: FILE_SENT, sha256: [b'a'; 64], file_len: 1 << 40, request_len: 3 };
        assert_eq!(CallHeader::decode(&call.encode()), Some(call));
        let answer =
            AnswerHeader { id: 7, status: STATUS_PANIC, cpu_us: 1, resident_kb: 2, reply_len: 3, payload_len: 4 };
        assert_eq!(AnswerHeader::decode(&answer.encode()), Some(answer));
        assert_eq!(AnswerHeader::decode(&[0; AnswerHeader::LEN]), None);
    }

    #[test]
    fn a_child_holds_the_latest_files() {
        let mut held = Held::default();
        held.insert("a", ());
        held.insert("b", ());
        assert!(held.touch("a").is_some());
        held.insert("c", ());
        assert!(held.has("a") && held.has("c") && !held.has("b"));
    }
}
