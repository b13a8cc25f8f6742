//! Large values travel by reference: these put them into the blob store as JSON and take them out again.

use serde::{Serialize, de::DeserializeOwned};

use crate::{self as blob, Blobs};
use deckle_contract::{
    document::BlobRef,
    error::{Failure, Result, code},
    record::{Envelope, Source},
};

const JSON: &str = "application/json";
/// The prefix of the address of a source in the blob store.
const BLOB: &str = "blob:";

/// Stores a value as JSON.
pub async fn put_json<T: Serialize>(blobs: &dyn Blobs, envelope: &Envelope, value: &T) -> Result<BlobRef> {
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::defect(format!("a value is no JSON: {error}")))?;
    blobs.put(&envelope.tenant, &envelope.document_id, JSON, bytes.into()).await
}

/// Reads a value back.
pub async fn get_json<T: DeserializeOwned>(blobs: &dyn Blobs, blob: &BlobRef) -> Result<T> {
    let bytes = blobs.get(blob).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::defect(format!("the blob {} is not what was written: {error}", blob.key)))
}

/// Whether a source lies in the blob store.
pub fn is_blob(source: &Source) -> bool {
    source.uri.starts_with(BLOB)
}

/// A blob as a source names it.
pub fn blob_uri(blob: &BlobRef) -> String {
    format!("{BLOB}{}", blob.key)
}

/// Whether a blob lies among those of the document, and not among those of another one of its tenant.
pub fn is_of_document(envelope: &Envelope, blob: &BlobRef) -> bool {
    let [tenant, document] = [&envelope.tenant, &envelope.document_id].map(|name| blob::encode_name(name));
    blob.key.starts_with(&format!("{tenant}/{document}/"))
}

/// The blob that a source names; only a tenant's own blobs can be named.
pub fn source_blob(envelope: &Envelope, source: &Source) -> Result<BlobRef> {
    let invalid = |why: String| Failure::rejected(code::SOURCE_INVALID, why);
    let key = source.uri.strip_prefix(BLOB);
    let key = key.ok_or_else(|| invalid(format!("the source `{}` is not in the blob store", source.uri)))?;
    if !key.starts_with(&format!("{}/", blob::encode_name(&envelope.tenant))) {
        return Err(invalid(format!("the source `{key}` does not belong to tenant `{}`", envelope.tenant)));
    }
    Ok(BlobRef {
        key: key.to_owned(),
        sha256: source.sha256.clone(),
        size_bytes: u64::try_from(source.size_bytes)
            .map_err(|_| invalid(format!("the source has a size of {} bytes", source.size_bytes)))?,
        media_type: source.media_type.clone(),
    })
}
