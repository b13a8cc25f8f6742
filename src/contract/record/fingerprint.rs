//! The fingerprint of a submission: equal ones need no second run.

use sha2::{Digest, Sha256};

use super::Uploaded;

/// Bytes, options and result-changing settings in one hash; equal ones need no second run.
#[expect(clippy::expect_used, reason = "strings and lists are always JSON")]
pub fn fingerprint(upload: &Uploaded, config_hash: &str) -> String {
    let options = &upload.options;
    let facts = (&upload.source.sha256, &options.languages, options.ocr_mode, &options.password, config_hash);
    let json = serde_json::to_vec(&facts).expect("strings and lists are always JSON");
    hex::encode(Sha256::digest(json))
}
