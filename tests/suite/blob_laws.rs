//! The laws of the blob store, the same for every side of the seam.
//!
//! A law speaks to `dyn Blobs` alone, under tenants of its own. What only one side can show follows in its module.

use std::{collections::HashSet, io::Write, sync::Arc};

use bytes::Bytes;
use deckle::{
    blob::{Blobs, Folder, encode_name},
    contract::{
        document::BlobRef,
        error::{Failure, code},
    },
};
use sha2::{Digest, Sha256};

use crate::support::object_stores;

type Any = Arc<dyn Blobs>;

const PDF: &str = "application/pdf";

/// Hands every law to `$side!`, which makes tests of them.
macro_rules! for_every_law {
    ($side:ident) => {
        $side! {
            what_was_put_is_got,
            a_file_is_put_as_its_bytes,
            a_large_file_is_put_as_its_bytes,
            twice_is_once,
            a_reader_never_sees_half,
            missing_bytes_are_told,
            a_false_reference_is_refused,
            a_foreign_name_keeps_to_itself,
            a_document_is_removed_alone,
            what_was_written_later_stays,
            blobs_are_listed_and_removed_by_their_hashes,
            an_upload_beside_a_removal_is_whole_or_missing,
        }
    };
}

fn new_tenant() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn is_rejected<T>(result: Result<T, Failure>, with: &str) -> bool {
    matches!(result, Err(Failure::Rejected { code, .. }) if code == with)
}

/// Bytes that differ everywhere, so that no mixture of two could pass.
fn bytes(seed: u8, length: usize) -> Bytes {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect::<Vec<_>>().into()
}

async fn what_was_put_is_got(blobs: Any) {
    let tenant = new_tenant();
    for length in [0, 1, 4096, 3_000_000] {
        let content = bytes(1, length);
        let blob = blobs.put(&tenant, "d", PDF, content.clone()).await.unwrap();
        let sha256 = hex::encode(Sha256::digest(&content));
        let key = format!("{}/d/{sha256}", encode_name(&tenant));
        assert_eq!(blob, BlobRef { key, sha256, size_bytes: length as u64, media_type: PDF.into() });
        assert_eq!(blobs.get(&blob).await.unwrap(), content);
    }
}

async fn a_file_is_put_as_its_bytes(blobs: Any) {
    let tenant = new_tenant();
    for length in [0, 256 * 1024, 3_000_001] {
        let content = bytes(2, length);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        let blob = blobs.put_file(&tenant, "d", PDF, file.path()).await.unwrap();
        assert_eq!(blobs.get(&blob).await.unwrap(), content);
        assert_eq!(blobs.put(&tenant, "d", PDF, content).await.unwrap(), blob);
    }
    let nowhere = std::path::Path::new("/nowhere/at/all");
    assert!(is_rejected(blobs.put_file(&tenant, "d", PDF, nowhere).await, code::SOURCE_MISSING));
}

/// Larger than what goes to an object store in one request, and no whole number of parts.
const LARGE: usize = 20_000_001;

async fn a_large_file_is_put_as_its_bytes(blobs: Any) {
    let tenant = new_tenant();
    let content = bytes(9, LARGE);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&content).unwrap();
    let blob = blobs.put_file(&tenant, "d", PDF, file.path()).await.unwrap();
    assert_eq!((blob.size_bytes, &blob.sha256), (LARGE as u64, &hex::encode(Sha256::digest(&content))));
    assert_eq!(blobs.get(&blob).await.unwrap(), content);
    assert_eq!(blobs.put_file(&tenant, "d", PDF, file.path()).await.unwrap(), blob);
    assert_eq!(blobs.put(&tenant, "d", PDF, content.clone()).await.unwrap(), blob);
    assert_eq!(blobs.remove_document(&tenant, "d").await.unwrap(), 1);
    assert_eq!(blobs.put(&tenant, "d", PDF, content.clone()).await.unwrap(), blob);
    assert_eq!(blobs.get(&blob).await.unwrap(), content);
}

async fn twice_is_once(blobs: Any) {
    let tenant = new_tenant();
    let first = blobs.put(&tenant, "d", PDF, bytes(3, 1000)).await.unwrap();
    assert_eq!(blobs.put(&tenant, "d", PDF, bytes(3, 1000)).await.unwrap(), first);
    assert_eq!(blobs.remove_document(&tenant, "d").await.unwrap(), 1);
}

async fn a_reader_never_sees_half(blobs: Any) {
    let tenant = new_tenant();
    let content = bytes(4, 2_000_000);
    let sha256 = hex::encode(Sha256::digest(&content));
    let key = format!("{}/d/{sha256}", encode_name(&tenant));
    let blob = BlobRef { key, sha256, size_bytes: content.len() as u64, media_type: PDF.into() };

    let writers = (0..4).map(|_| {
        let (blobs, tenant, content) = (blobs.clone(), tenant.clone(), content.clone());
        tokio::spawn(async move { blobs.put(&tenant, "d", PDF, content).await.unwrap() })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..4).map(|_| {
        let (blobs, blob, content) = (blobs.clone(), blob.clone(), content.clone());
        tokio::spawn(async move {
            loop {
                match blobs.get(&blob).await {
                    Ok(got) => return assert_eq!(got, content),
                    Err(Failure::Rejected { code, .. }) if code == code::SOURCE_MISSING => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for writer in writers {
        assert_eq!(writer.await.unwrap(), blob);
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(blobs.remove_document(&tenant, "d").await.unwrap(), 1);
}

async fn missing_bytes_are_told(blobs: Any) {
    let tenant = new_tenant();
    let blob = blobs.put(&tenant, "d", PDF, bytes(5, 10)).await.unwrap();
    blobs.remove_document(&tenant, "d").await.unwrap();
    assert!(is_rejected(blobs.get(&blob).await, code::SOURCE_MISSING));
}

async fn a_false_reference_is_refused(blobs: Any) {
    let tenant = new_tenant();
    let blob = blobs.put(&tenant, "d", PDF, bytes(6, 10)).await.unwrap();
    let longer = BlobRef { size_bytes: 11, ..blob.clone() };
    assert!(matches!(blobs.get(&longer).await, Err(Failure::Defect { .. })));

    let (hash, place) = (&blob.sha256, encode_name(&tenant));
    let other_hash = "00".repeat(32);
    let keys = [
        String::new(),
        hash.clone(),
        format!("{place}/{hash}"),
        format!("{place}/d/e/{hash}"),
        format!("/{place}/d/{hash}"),
        format!("{place}/d/{hash}/"),
        format!("{place}//{hash}"),
        format!("{place}/../{hash}"),
        format!("../{place}/{hash}"),
        format!("{place}/d/{other_hash}"),
        format!(".tmp/d/{hash}"),
        format!("{place}/d\0/{hash}"),
        format!("{place}/d\\/{hash}"),
    ];
    for key in keys {
        let forged = BlobRef { key: key.clone(), ..blob.clone() };
        assert!(is_rejected(blobs.get(&forged).await, code::SOURCE_INVALID), "{key:?} was read");
    }
}

/// Names that a producer might choose, by accident or not.
fn foreign_names() -> Vec<String> {
    let mut names = vec![String::new(), "long".repeat(100), "long".repeat(101), "ä".repeat(80), "\u{1F600}".into()];
    let short = [
        ".",
        "..",
        "../x",
        "/",
        "/etc/passwd",
        "a/b",
        "a%2fb",
        "a%2Fb",
        "A",
        "a",
        "a ",
        " a",
        "a.",
        ".a",
        "a\0b",
        "a\\b",
        "x\n",
        "CON",
        "%",
        "%-",
        "~",
        "Ä",
        "ä",
        "a\u{308}",
        ".tmp",
        "-rf",
        "*",
        "a:b",
    ];
    names.extend(short.map(String::from));
    names
}

async fn a_foreign_name_keeps_to_itself(blobs: Any) {
    let names = foreign_names();
    let mine = new_tenant();
    let mut stored = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let content = bytes(7, index + 1);
        // Once as a document of mine, once as a tenant. That tenant may be known to other tests, the document is not.
        let as_document = blobs.put(&mine, name, PDF, content.clone()).await.unwrap();
        let as_tenant = blobs.put(name, &mine, PDF, content.clone()).await.unwrap();
        stored.push((name, content, as_document, as_tenant));
    }
    for (name, content, as_document, as_tenant) in stored {
        assert_eq!(blobs.get(&as_document).await.unwrap(), content);
        assert_eq!(blobs.get(&as_tenant).await.unwrap(), content);
        assert_eq!(blobs.remove_document(&mine, name).await.unwrap(), 1, "{name:?} holds what another name put");
        assert_eq!(blobs.remove_document(name, &mine).await.unwrap(), 1, "{name:?} holds what another name put");
    }
}

async fn a_document_is_removed_alone(blobs: Any) {
    let tenant = new_tenant();
    let mut kept = Vec::new();
    for (owner, document) in [(&tenant, "d2"), (&tenant, "D"), (&tenant, "d/"), (&new_tenant(), "d")] {
        kept.push(blobs.put(owner, document, PDF, bytes(8, 10)).await.unwrap());
    }
    for seed in 0..3 {
        blobs.put(&tenant, "d", PDF, bytes(seed, 100)).await.unwrap();
    }
    assert_eq!(blobs.remove_document(&tenant, "d").await.unwrap(), 3);
    assert_eq!(blobs.remove_document(&tenant, "d").await.unwrap(), 0);
    for blob in kept {
        assert_eq!(blobs.get(&blob).await.unwrap(), bytes(8, 10));
    }
}

async fn what_was_written_later_stays(blobs: Any) {
    let tenant = new_tenant();
    let blob = blobs.put(&tenant, "d", PDF, bytes(1, 10)).await.unwrap();
    let other = blobs.put(&tenant, "d2", PDF, bytes(1, 10)).await.unwrap();
    // Some services know whole seconds only, and each has a clock of its own.
    let (an_hour, now) = (3_600_000_000, jiff::Timestamp::now().as_microsecond());
    assert_eq!(blobs.remove_document_before(&tenant, "d", now - an_hour).await.unwrap(), 0);
    assert_eq!(blobs.get(&blob).await.unwrap(), bytes(1, 10));
    assert_eq!(blobs.remove_document_before(&tenant, "d", now + an_hour).await.unwrap(), 1);
    assert!(is_rejected(blobs.get(&blob).await, code::SOURCE_MISSING));
    assert_eq!(blobs.get(&other).await.unwrap(), bytes(1, 10));
}

async fn blobs_are_listed_and_removed_by_their_hashes(blobs: Any) {
    let tenant = new_tenant();
    assert_eq!(blobs.list_document(&tenant, "d").await.unwrap(), []);
    let mut stored = Vec::new();
    for seed in 0..3 {
        stored.push(blobs.put(&tenant, "d", PDF, bytes(seed, 10 + usize::from(seed))).await.unwrap());
    }
    blobs.put(&tenant, "d2", PDF, bytes(0, 10)).await.unwrap();
    let (an_hour, now) = (3_600_000_000, jiff::Timestamp::now().as_microsecond());
    let listed = async || {
        let mut listed = blobs.list_document(&tenant, "d").await.unwrap();
        assert!(listed.iter().all(|blob| (now - an_hour..now + an_hour).contains(&blob.put_at)), "{listed:?}");
        listed.sort_by_key(|blob| blob.size_bytes);
        listed.into_iter().map(|blob| (blob.sha256, blob.size_bytes)).collect::<Vec<_>>()
    };
    let shown = |blobs: &[BlobRef]| blobs.iter().map(|blob| (blob.sha256.clone(), blob.size_bytes)).collect::<Vec<_>>();
    assert_eq!(listed().await, shown(&stored));

    let hashes = HashSet::from([stored[0].sha256.clone(), stored[2].sha256.clone(), "0".repeat(64)]);
    assert_eq!(blobs.remove_blobs(&tenant, "d", &hashes, now - an_hour).await.unwrap(), 0, "all are younger");
    assert_eq!(blobs.remove_blobs(&tenant, "d", &HashSet::new(), now + an_hour).await.unwrap(), 0);
    assert_eq!(blobs.remove_blobs(&tenant, "d", &hashes, now + an_hour).await.unwrap(), 2);
    assert_eq!(listed().await, shown(&stored[1..2]));
    assert_eq!(blobs.list_document(&tenant, "d2").await.unwrap().len(), 1);
}

async fn an_upload_beside_a_removal_is_whole_or_missing(blobs: Any) {
    let tenant = new_tenant();
    let remover = tokio::spawn({
        let (blobs, tenant) = (blobs.clone(), tenant.clone());
        async move {
            for _ in 0..50 {
                blobs.remove_document(&tenant, "d").await.unwrap();
            }
        }
    });
    for seed in 0..50 {
        let blob = blobs.put(&tenant, "d", PDF, bytes(seed, 1000)).await.unwrap();
        let got = blobs.get(&blob).await;
        assert!(got == Ok(bytes(seed, 1000)) || is_rejected(got, code::SOURCE_MISSING));
    }
    remover.await.unwrap();
}

mod folder {
    use std::{
        fs,
        os::unix::fs::MetadataExt as _,
        path::{Path, PathBuf},
        time::Duration,
    };

    use tempfile::TempDir;

    use super::*;

    fn new() -> (TempDir, Any) {
        let root = tempfile::tempdir().unwrap();
        let blobs = Folder::open(root.path().join("blobs")).unwrap();
        (root, Arc::new(blobs))
    }

    macro_rules! tests {
        ($($law:ident,)+) => {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $law() {
                    let (_root, blobs) = new();
                    super::$law(blobs).await;
                }
            )+
        };
    }
    for_every_law!(tests);

    /// Every file below a folder.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found
    }

    #[tokio::test]
    async fn nothing_is_written_outside_the_root() {
        let (root, blobs) = new();
        for name in foreign_names() {
            blobs.put(&name, &name, PDF, bytes(1, 10)).await.unwrap();
            blobs.put(&name, &name, PDF, bytes(1, 10)).await.unwrap();
        }
        let inside = root.path().join("blobs");
        let found = files(root.path());
        assert_eq!(found.len(), foreign_names().len());
        for file in found {
            let parts: Vec<_> = file.strip_prefix(&inside).unwrap().components().collect();
            assert_eq!(parts.len(), 3, "{} lies at another depth", file.display());
        }
    }

    #[tokio::test]
    async fn tampered_bytes_are_a_defect() {
        let (root, blobs) = new();
        let blob = blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
        let path = root.path().join("blobs").join(&blob.key);
        let mut content = fs::read(&path).unwrap();
        content[500] ^= 1;
        fs::write(&path, &content).unwrap();
        assert!(matches!(blobs.get(&blob).await, Err(Failure::Defect { .. })));

        // A shorter one is a defect too, and the same upload mends it.
        fs::write(&path, &content[..10]).unwrap();
        assert!(matches!(blobs.get(&blob).await, Err(Failure::Defect { .. })));
        blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
        assert_eq!(blobs.get(&blob).await.unwrap(), bytes(1, 1000));
    }

    #[tokio::test]
    async fn the_same_bytes_are_not_written_again_but_count_as_put_now() {
        let (root, blobs) = new();
        let blob = blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
        let path = root.path().join("blobs").join(&blob.key);
        let inode = || fs::metadata(&path).unwrap().ino();
        let written = inode();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes(1, 1000)).unwrap();
        let a_day_ago = jiff::Timestamp::now().as_microsecond() - 86_400_000_000;
        for by_file in [false, true] {
            let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
            fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
            assert!(blobs.list_document("t", "d").await.unwrap()[0].put_at < a_day_ago);
            if by_file {
                blobs.put_file("t", "d", PDF, file.path()).await.unwrap();
            } else {
                blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
            }
            assert!(blobs.list_document("t", "d").await.unwrap()[0].put_at > a_day_ago);
            let hashes = HashSet::from([blob.sha256.clone()]);
            assert_eq!(blobs.remove_blobs("t", "d", &hashes, a_day_ago).await.unwrap(), 0);
        }
        assert_eq!(inode(), written);
        assert_eq!(files(root.path()), [path], "a temporary file was left");
    }

    #[test]
    fn what_a_crash_left_is_removed_after_an_hour() {
        let (root, _blobs) = new();
        let temporary = root.path().join("blobs/.tmp");
        let (old, fresh) = (temporary.join("old"), temporary.join("fresh"));
        for (path, age) in [(&old, 61), (&fresh, 59)] {
            let file = fs::File::create(path).unwrap();
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - Duration::from_secs(60 * age)).unwrap();
        }
        Folder::open(root.path().join("blobs")).unwrap();
        assert_eq!((old.exists(), fresh.exists()), (false, true));
    }
}

mod remote {
    use deckle::blob::{Config, open};
    use object_store::{ObjectStoreExt, path::Path as Key};

    use super::{
        object_stores::{Line, Store},
        *,
    };

    /// The blob store of a configuration that names a prefix in this bucket.
    pub fn below(prefix: &str, store: &Store) -> Any {
        let config = Config { url: format!("{}/{prefix}", store.url), options: store.options() };
        config.check().unwrap();
        open(&config, std::path::Path::new("/nowhere")).unwrap()
    }

    pub async fn tampered_bytes_are_a_defect(store: Store) {
        let blobs = below("p", &store);
        let blob = blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
        let key = Key::parse(format!("p/{}", blob.key)).unwrap();
        let mut content = bytes(1, 1000).to_vec();
        content[500] ^= 1;
        for content in [content.clone(), content[..10].to_vec()] {
            store.bucket().store.put(&key, content.into()).await.unwrap();
            assert!(matches!(blobs.get(&blob).await, Err(Failure::Defect { .. })));
        }
        blobs.put("t", "d", PDF, bytes(1, 1000)).await.unwrap();
        assert_eq!(blobs.get(&blob).await.unwrap(), bytes(1, 1000));
    }

    pub async fn prefixes_share_nothing(store: Store) {
        let [ours, theirs, root] = ["a", "ab", ""].map(|prefix| below(prefix, &store));
        let blob = ours.put("t", "d", PDF, bytes(1, 10)).await.unwrap();
        assert!(is_rejected(theirs.get(&blob).await, code::SOURCE_MISSING));
        assert_eq!(theirs.put("t", "d", PDF, bytes(1, 10)).await.unwrap(), blob);
        assert_eq!(root.remove_document("t", "d").await.unwrap(), 0);
        assert_eq!(ours.remove_document("t", "d").await.unwrap(), 1);
        assert_eq!(theirs.get(&blob).await.unwrap(), bytes(1, 10));
    }

    fn is_away<T: std::fmt::Debug>(result: Result<T, Failure>) {
        match &result {
            Err(failure @ Failure::Unavailable { dependency, .. }) if dependency == "blob" => {
                let said = failure.to_string();
                assert!(said.lines().count() == 1 && said.len() < 700, "{said}");
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn a_service_that_is_away_is_waited_for(store: Store) {
        let mut line = Line::to(&store).await;
        let blobs = below("p", &store.over(&line));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes(2, LARGE)).unwrap();
        let blob = blobs.put("t", "d", PDF, bytes(1, 10)).await.unwrap();
        line.cut().await;
        let (put, large, got, removed, checked) = tokio::join!(
            blobs.put("t", "d", PDF, bytes(3, 10)),
            blobs.put_file("t", "d", PDF, file.path()),
            blobs.get(&blob),
            blobs.remove_document("t", "d"),
            deckle::blob::check(&*blobs),
        );
        is_away(put);
        is_away(large);
        is_away(got);
        is_away(removed);
        is_away(checked);
        line.mend().await;
        assert_eq!(blobs.get(&blob).await.unwrap(), bytes(1, 10));
        let large = blobs.put_file("t", "d", PDF, file.path()).await.unwrap();
        assert_eq!(blobs.get(&large).await.unwrap(), bytes(2, LARGE));
        deckle::blob::check(&*blobs).await.unwrap();
        assert_eq!(blobs.remove_document("t", "d").await.unwrap(), 2, "what failed left nothing");
    }

    pub async fn a_bucket_that_is_missing_is_no_missing_blob(store: Store) {
        let blob = below("p", &store).put("t", "d", PDF, bytes(1, 10)).await.unwrap();
        let elsewhere = Store { url: format!("{}-missing", store.url), ..store };
        let blobs = below("p", &elsewhere);
        is_away(blobs.get(&blob).await);
        is_away(blobs.put("t", "d", PDF, bytes(1, 10)).await);
        is_away(blobs.put("t", "d", PDF, bytes(1, LARGE)).await);
        is_away(blobs.remove_document("t", "d").await);
    }
}

/// Makes tests of laws, and of what only an object store can show, on one of them.
macro_rules! on_object_store {
    ($side:ident: $($law:ident,)+; own: $($own:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                super::$law(remote::below("some/prefix", &object_stores::$side().await)).await;
            }
        )+
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $own() {
                remote::$own(object_stores::$side().await).await;
            }
        )+
    };
    ($side:ident: $($law:ident,)+) => {
        on_object_store! {
            $side: $($law,)+;
            own:
                tampered_bytes_are_a_defect,
                prefixes_share_nothing,
                a_service_that_is_away_is_waited_for,
                a_bucket_that_is_missing_is_no_missing_blob,
        }
    };
}

mod s3 {
    use super::*;

    macro_rules! tests {
        ($($law:ident,)+) => { on_object_store! { s3: $($law,)+ } };
    }
    for_every_law!(tests);
}

mod azure {
    use super::*;

    macro_rules! tests {
        ($($law:ident,)+) => { on_object_store! { azure: $($law,)+ } };
    }
    for_every_law!(tests);
}
