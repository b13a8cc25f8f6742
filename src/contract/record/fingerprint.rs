//! The fingerprint of a submission: equal ones need no second run.

use sha2::{Digest, Sha256};

use super::Uploaded;

/// Bytes, options and result-changing settings in one hash; equal ones need no second run.
///
/// A password is not in it: whoever knows the rest could try passwords on the hash. `needed_password` is, which says
/// whether the file opens by a password alone: only a submission that opened it, too, can be equal to one that did.
#[expect(clippy::expect_used, reason = "strings and lists are always JSON")]
pub fn fingerprint(upload: &Uploaded, needed_password: bool, config_hash: &str) -> String {
    let options = &upload.options;
    // Null where none was needed, as it was when the password itself stood here: what was read without one stays read.
    let password = needed_password.then_some("needed");
    let facts = (&upload.source.sha256, &options.languages, options.ocr_mode, password, config_hash);
    let json = serde_json::to_vec(&facts).expect("strings and lists are always JSON");
    hex::encode(Sha256::digest(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Envelope, Lane, Options, Source};

    #[test]
    fn a_password_is_no_part_of_it_and_whether_one_was_needed_is() {
        let of = |password: Option<&str>, needed| {
            let upload = Uploaded {
                envelope: Envelope::new("e".to_owned(), "acme", "d", Lane::Bulk),
                source: Source { sha256: "ab".to_owned(), ..Source::unknown() },
                options: Options { password: password.map(str::to_owned), ..Options::default() },
                content: None,
            };
            fingerprint(&upload, needed, "settings")
        };
        assert_eq!(of(None, false), of(Some("open-sesame"), false));
        assert_eq!(of(Some("open-sesame"), true), of(Some("another"), true));
        assert_ne!(of(Some("open-sesame"), true), of(Some("open-sesame"), false));
        // That of version 0.1.0 for a file without a password, so that nothing is read again for this.
        let before = hex::encode(Sha256::digest(r#"["ab",[],"auto",null,"settings"]"#));
        assert_eq!(of(None, false), before);
    }
}
