//! Whatever a producer writes and whatever a tenant puts on the disk, what is read is its own.

use std::{io::Read, os::unix::fs::symlink};

use proptest::prelude::*;

use super::*;
use deckle_contract::record::{Envelope, Lane, Options as Wishes, Source};

/// Folders `in/acme`, `in/other`, `outside` with a file `secret` in each, and what leads from one to another.
struct Disk {
    folder: tempfile::TempDir,
}

const MINE: &str = "mine";
const OTHERS: &str = "not mine";

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("in/acme/deep", MINE), ("in/other", OTHERS), ("outside", OTHERS)] {
            let at = folder.path().join(name);
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("secret"), text).unwrap();
        }
        let acme = folder.path().join("in/acme");
        std::fs::write(acme.join("a b%.txt"), MINE).unwrap();
        symlink("deep/secret", acme.join("inner")).unwrap();
        symlink(acme.join("deep"), acme.join("absolute")).unwrap();
        symlink("../../outside", acme.join("out")).unwrap();
        symlink(folder.path().join("outside/secret"), acme.join("leak")).unwrap();
        symlink("..", acme.join("up")).unwrap();
        symlink("../deep/secret", acme.join("deep/level")).unwrap();
        symlink("loop", acme.join("loop")).unwrap();
        Self { folder }
    }

    fn uri(&self, below: &str) -> String {
        format!("file://{}/{below}", self.folder.path().display())
    }

    fn sources(&self, roots: &[&str]) -> Sources {
        let roots = roots.iter().map(|root| self.uri(root)).collect();
        let config = Config { roots, ..Config::default() };
        config.check().unwrap();
        Sources::open(&config, 1_000, self.folder.path().to_owned()).unwrap()
    }
}

fn upload(tenant: &str, uri: &str) -> Uploaded {
    Uploaded {
        envelope: Envelope::new("e".to_owned(), tenant, "", Lane::Bulk),
        source: Source { uri: uri.to_owned(), ..Source::unknown() },
        options: Wishes::default(),
        content: None,
    }
}

fn text(fetched: &Fetched) -> String {
    match &fetched.content {
        Content::Memory(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Content::File(copy) => std::fs::read_to_string(path_of(copy)).unwrap(),
    }
}

fn fetch(sources: &Sources, upload: &Uploaded) -> Result<Fetched> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sources.fetch(upload))
}

fn code_of(sources: &Sources, upload: &Uploaded) -> String {
    fetch(sources, upload).err().unwrap_or_else(|| panic!("{} was read", upload.source.uri)).code().to_owned()
}

#[test]
fn what_lies_below_a_root_is_read_whatever_way_leads_there() {
    let disk = Disk::new();
    let sources = disk.sources(&["in/{tenant}"]);
    for below in ["deep/secret", "deep/../deep/./secret", "inner", "deep/level", "a%20b%25.txt"] {
        let fetched = fetch(&sources, &upload("acme", &disk.uri(&format!("in/acme/{below}"))));
        assert_eq!(text(&fetched.unwrap_or_else(|failure| panic!("{below}: {failure}"))), MINE);
    }
}

#[test]
fn nothing_outside_the_roots_is_read() {
    let disk = Disk::new();
    let sources = disk.sources(&["in/{tenant}"]);
    let cases = [
        ("acme", "outside/secret"),
        ("acme", "in/other/secret"),
        ("acme", "in/acme/../other/secret"),
        ("acme", "in/acme/%2e%2e/other/secret"),
        ("acme", "in/acme/out/secret"),
        ("acme", "in/acme/leak"),
        ("acme", "in/acme/up/other/secret"),
        // They lead back in, and on the way out: what lies outside decides where they lead.
        ("acme", "in/acme/up/acme/inner"),
        ("acme", "in/acme/absolute/secret"),
        ("acme", "in/acmes/secret"),
        ("acme", "in/acme"),
        ("ACME", "in/acme/deep/secret"),
        ("", "in/acme/deep/secret"),
        ("..", "outside/secret"),
        (".", "in/acme/deep/secret"),
        ("acme/deep", "in/acme/deep/secret"),
        ("{tenant}", "in/acme/deep/secret"),
    ];
    for (tenant, below) in cases {
        assert_eq!(code_of(&sources, &upload(tenant, &disk.uri(below))), code::SOURCE_OUTSIDE, "{tenant}: {below}");
    }
    let none = Sources::open(&Config::default(), 1_000, disk.folder.path().to_owned()).unwrap();
    for uri in [disk.uri("in/acme/inner"), "s3://bucket/key".to_owned()] {
        assert_eq!(code_of(&none, &upload("acme", &uri)), code::SOURCE_OUTSIDE);
    }
}

#[test]
fn a_tenant_leads_no_name_of_its_root_elsewhere() {
    let disk = Disk::new();
    let at = |name: &str| disk.folder.path().join(name);
    std::fs::create_dir_all(at("in/other/drop")).unwrap();
    std::fs::write(at("in/other/drop/secret"), OTHERS).unwrap();
    let sources = disk.sources(&["in/{tenant}/drop"]);
    let upload = upload("acme", &disk.uri("in/acme/drop/secret"));
    // Beside itself, outside of all tenants, and by a path that names the whole file system.
    for to in [PathBuf::from("../other/drop"), PathBuf::from("../../outside"), at("outside"), PathBuf::from("deep")] {
        symlink(&to, at("in/acme/drop")).unwrap();
        assert_eq!(code_of(&sources, &upload), code::SOURCE_OUTSIDE, "{}", to.display());
        std::fs::remove_file(at("in/acme/drop")).unwrap();
    }
    // The tenant's own name, too, where somebody may write beside the tenants' folders.
    std::fs::rename(at("in/acme"), at("in/aside")).unwrap();
    symlink("other", at("in/acme")).unwrap();
    assert_eq!(code_of(&sources, &upload), code::SOURCE_OUTSIDE);
    std::fs::remove_file(at("in/acme")).unwrap();
    std::fs::create_dir_all(at("in/acme/drop")).unwrap();
    std::fs::write(at("in/acme/drop/secret"), MINE).unwrap();
    assert_eq!(text(&fetch(&sources, &upload).unwrap()), MINE);
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other() {
    // Address 0 of a process is never mapped: reading it is an I/O error (proc(5)), and its folder answers.
    let config = Config { roots: vec!["file:///proc/self".to_owned()], ..Config::default() };
    let sources = Sources::open(&config, 1_000, std::env::temp_dir()).unwrap();
    let failure = fetch(&sources, &upload("acme", "file:///proc/self/mem")).err().unwrap();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

#[test]
fn what_is_no_file_is_told_apart() {
    let disk = Disk::new();
    let sources = disk.sources(&["in/{tenant}", "gone"]);
    let acme = disk.folder.path().join("in/acme");
    let fifo = std::ffi::CString::new(acme.join("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path is a valid string that ends in a zero.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    std::fs::write(acme.join("large"), vec![b'x'; 1_001]).unwrap();
    let cases = [
        ("in/acme/nothing", code::SOURCE_MISSING),
        ("in/acme/inner/below", code::SOURCE_MISSING),
        ("in/acme/deep", code::SOURCE_INVALID),
        ("in/acme/fifo", code::SOURCE_INVALID),
        ("in/acme/loop", code::SOURCE_INVALID),
        ("in/acme/large", code::LIMIT_BYTES),
        // A root that is not there is a disk that was not mounted, and all wait for it.
        ("gone/file", code::UNAVAILABLE),
    ];
    for (below, expected) in cases {
        assert_eq!(code_of(&sources, &upload("acme", &disk.uri(below))), expected, "{below}");
    }
    assert_eq!(code_of(&sources, &upload("nobody", &disk.uri("in/nobody/file"))), code::SOURCE_MISSING);
}

#[test]
fn a_folder_swapped_for_a_symlink_meanwhile_leads_nowhere() {
    let disk = Disk::new();
    let acme = disk.folder.path().join("in/acme");
    let place =
        Place { shared: disk.folder.path().join("in"), own: PathBuf::from("acme"), below: "door/secret".into() };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (door, aside) = (acme.join("door"), acme.join("aside"));
            std::fs::create_dir(&door).unwrap();
            std::fs::write(door.join("secret"), MINE).unwrap();
            while !stop.load(order) {
                std::fs::rename(&door, &aside).unwrap();
                symlink("../../outside", &door).unwrap();
                std::fs::remove_file(&door).unwrap();
                std::fs::rename(&aside, &door).unwrap();
            }
        });
        let mut found = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            if let Ok((mut file, _)) = open_within(std::slice::from_ref(&place), "door") {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                found.insert(read.map(|_| text).map_err(|error| error.to_string()));
            }
        }
        stop.store(true, order);
        assert_eq!(found, [Ok(MINE.to_owned())].into());
    });
}

#[test]
fn bytes_come_from_one_place_and_are_what_the_event_says() {
    let disk = Disk::new();
    let sources = Sources { max_inline_bytes: 10, ..disk.sources(&["in/{tenant}"]) };
    let inline = |uri: &str, content: &[u8]| Uploaded { content: Some(content.to_vec()), ..upload("acme", uri) };
    for uri in ["", "inline:", "inline:note.txt"] {
        assert_eq!(text(&fetch(&sources, &inline(uri, b"0123456789")).unwrap()), "0123456789");
    }
    assert_eq!(code_of(&sources, &inline("", b"0123456789x")), code::LIMIT_BYTES);
    assert_eq!(code_of(&sources, &inline(&disk.uri("in/acme/inner"), b"x")), code::SOURCE_INVALID);
    assert_eq!(code_of(&sources, &upload("acme", "")), code::SOURCE_INVALID);
    assert_eq!(code_of(&sources, &upload("acme", "inline:")), code::SOURCE_INVALID);

    let said = |size_bytes, sha256: &str| {
        let mut upload = upload("acme", &disk.uri("in/acme/inner"));
        (upload.source.size_bytes, upload.source.sha256) = (size_bytes, sha256.to_owned());
        upload
    };
    let sha256 = hex::encode(Sha256::digest(MINE));
    fetch(&sources, &said(4, &sha256)).unwrap();
    assert_eq!(code_of(&sources, &said(5, &sha256)), code::SOURCE_MISMATCH);
    assert_eq!(code_of(&sources, &said(-1, &sha256)), code::SOURCE_MISMATCH);
    assert_eq!(code_of(&sources, &said(4, &"0".repeat(64))), code::SOURCE_MISMATCH);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever path is made of the pieces that matter: what is read is the tenant's own.
    #[test]
    fn no_path_escapes(pieces in prop::collection::vec(prop::sample::select(vec![
        "/", "/", "/", "..", ".", "%2e", "%2E%2e", "%2f", "%252e", "in", "acme", "other", "outside", "secret", "deep",
        "out", "leak", "up", "inner", "absolute", "{tenant}", "%00", "?", "#", "\\", "",
    ]), 0..12)) {
        let disk = Disk::new();
        let sources = disk.sources(&["in/{tenant}"]);
        for start in ["", "in/acme/"] {
            let upload = upload("acme", &disk.uri(&format!("{start}{}", pieces.concat())));
            match fetch(&sources, &upload) {
                Ok(fetched) => prop_assert_eq!(text(&fetched), MINE),
                Err(failure) => prop_assert!(matches!(failure, Failure::Rejected { .. }), "{failure}"),
            }
        }
    }

    /// An object lies below a root exactly when its names begin with the root's.
    #[test]
    fn a_root_holds_what_begins_with_its_names(
        root in prop::collection::vec("[ab]|\\{tenant\\}", 0..4),
        key in prop::collection::vec("[ab]", 0..6),
        tenant in "[abc]",
    ) {
        let address = |names: &[String]| Address {
            scheme: Scheme::S3, bucket: "bucket".to_owned(), names: names.to_vec(),
        };
        let filled: Vec<_> = root.iter().map(|name| name.replace(TENANT, &tenant)).collect();
        let holds = Root { address: address(&root), bucket: None }.holds(&tenant, &address(&key));
        prop_assert_eq!(holds, key.len() > filled.len() && key.starts_with(&filled));
        let elsewhere = Address { bucket: "bucket2".to_owned(), ..address(&key) };
        let root = Root { address: address(&root), bucket: None };
        prop_assert!(!root.holds(&tenant, &elsewhere));
    }
}
