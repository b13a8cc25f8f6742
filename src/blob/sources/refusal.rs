//! Why a source is not read: what its record ends with, or waits for.

use std::{io, path::Path};

use deckle_contract::error::{Failure, code};

pub(super) fn invalid(message: String) -> Failure {
    Failure::rejected(code::SOURCE_INVALID, message)
}

pub(super) fn outside(uri: &str, how: &str) -> Failure {
    Failure::rejected(code::SOURCE_OUTSIDE, format!("the source `{uri}` {how}"))
}

pub(super) fn missing(uri: &str, how: &str) -> Failure {
    Failure::rejected(code::SOURCE_MISSING, format!("the source `{uri}` {how}"))
}

pub(super) fn too_large(uri: &str, max_bytes: u64) -> Failure {
    let message = format!("the source `{uri}` has more than {max_bytes} bytes (`decode.max_bytes`)");
    Failure::rejected(code::LIMIT_BYTES, message)
}

pub(super) fn away(uri: &str, why: &str) -> Failure {
    Failure::unavailable("source", format!("`{uri}`: {why}"))
}

/// The failure of the disk of copies, which every upload needs.
pub(super) fn no_room(folder: &Path, error: &io::Error) -> Failure {
    Failure::unavailable("source", format!("no copy can be made in {}: {error}", folder.display()))
}

/// The failure of reading a file below `root`, a folder. What no reading can mend is the end of its record. Else the
/// root is asked: where it answers, this file alone is broken, which holds up nothing else; where it does not, the disk
/// is away, and all wait for it.
pub(super) fn unreadable(uri: &str, error: &io::Error, root: &Path) -> Failure {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match (error.kind(), error.raw_os_error()) {
        (NotFound | NotADirectory, _) => missing(uri, "is missing"),
        (PermissionDenied, _) => missing(uri, "may not be read by deckle"),
        (_, Some(libc::ELOOP | libc::ENAMETOOLONG)) => invalid(format!("the source `{uri}`: {error}")),
        _ if std::fs::read_dir(root).is_ok_and(|mut names| names.next().is_none_or(|name| name.is_ok())) => {
            broken(uri, &error.to_string())
        }
        _ => away(uri, &error.to_string()),
    }
}

/// The failure of a source that cannot be read while its root answers.
pub(super) fn broken(uri: &str, why: &str) -> Failure {
    Failure::transient(format!("the source `{uri}` cannot be read, and others of its root can: {why}"))
}
