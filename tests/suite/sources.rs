//! What producers may send: references and bytes, through the whole program, and what becomes of those that are wrong.

use deckle::{
    app::App,
    blob::claim_check,
    contract::record::{
        self, DeadLetter, Envelope, Event, Lane, Options, PageSplit, Published, Source, Status, Uploaded, wire,
    },
    log::{NewRecord, Topic},
};
use object_store::{ObjectStoreExt, path::Path as Key};
use sha2::{Digest, Sha256};

use crate::support::{
    self, Home, Started,
    object_stores::{self, Line, Store},
};

/// What a producer sends that names neither the document nor its hash.
fn upload(name: &str, uri: &str) -> Uploaded {
    let mut envelope = Envelope::new(uuid::Uuid::now_v7().to_string(), "acme", "", Lane::Interactive);
    envelope.upload_id = name.to_owned();
    let source = Source { uri: uri.to_owned(), ..Source::unknown() };
    Uploaded { envelope, source, options: Options::default(), content: None }
}

fn inline(name: &str, content: &[u8]) -> Uploaded {
    Uploaded { content: Some(content.to_vec()), ..upload(name, "inline:note.txt") }
}

async fn send(app: &App, uploads: &[Uploaded]) {
    let record = |upload: &Uploaded| NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(upload, "test", None),
        value: wire::encode(upload).unwrap(),
    };
    app.log.append(uploads.iter().map(record).collect()).await.unwrap();
}

fn start(home: &Home, stages: &[&str]) -> Started {
    let mut arguments = vec!["run", "--listen", ""];
    let stages = stages.join(",");
    if !stages.is_empty() {
        arguments.extend(["--stage", &stages]);
    }
    Started::new(home.command(arguments).stderr(std::process::Stdio::null()))
}

/// Waits until so many documents ended, and stops the program.
async fn until_ended(app: &App, count: usize, mut run: Started) -> Vec<Published> {
    support::within("the documents end", async {
        while support::events::<Published>(app).await.len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
    let ends = support::events::<Published>(app).await;
    assert_eq!(ends.len(), count, "each ends once");
    ends
}

fn end<'a>(ends: &'a [Published], name: &str) -> &'a Published {
    ends.iter().find(|end| end.envelope.upload_id == name).unwrap_or_else(|| panic!("{name} has no end"))
}

fn configure(home: &Home, store: &Store, more: &str) {
    let toml = format!(
        "[sources]\nroots = [\"file://{}/in/{{tenant}}\", \"{}/in\"]\nmax_inline_bytes = 1000\n{}{more}",
        home.path().display(),
        store.url,
        store.toml("sources.options"),
    );
    home.configure(&toml);
}

/// A text that is like no other.
fn text(name: &str) -> String {
    format!("The {name} stands at the end of the quay.\n")
}

async fn put(store: &Store, key: &str, content: Vec<u8>) {
    store.bucket().store.put(&Key::parse(key).unwrap(), content.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_id_that_was_used_for_another_file_is_told_and_not_passed_over() {
    let home = Home::new();
    let app = home.app();
    send(&app, &[inline("one", text("quay").as_bytes()), inline("one", text("crane").as_bytes())]).await;
    let ends = until_ended(&app, 2, start(&home, &[])).await;
    let mut told: Vec<_> =
        ends.iter().map(|end| (end.status, end.reasons.first().map(|it| it.code.as_str()))).collect();
    told.sort_by_key(|(status, _)| *status == Status::Failed);
    assert_eq!(told, [(Status::Published, None), (Status::Failed, Some("upload.reused"))]);
    let letters = support::events::<DeadLetter>(&app).await;
    assert_eq!((letters.len(), letters[0].reason.code.as_str()), (1, "upload.reused"));
    let kept: Uploaded = wire::decode(&letters[0].value).unwrap();
    assert_eq!(kept.content.as_deref(), Some(text("crane").as_bytes()), "nothing of it is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_document_is_copied_and_does_not_go_with_it() {
    let home = Home::new();
    let app = home.app();
    send(&app, &[inline("first", text("lighthouse").as_bytes())]).await;
    let first = until_ended(&app, 1, start(&home, &[])).await.remove(0);
    let mut second = upload("second", &first.source.uri);
    second.envelope.document_id = "another".to_owned();
    second.source = Source { uri: first.source.uri.clone(), ..first.source.clone() };
    send(&app, &[second]).await;
    let ends = until_ended(&app, 2, start(&home, &[])).await;
    let second = end(&ends, "second");
    assert_eq!((second.status, &second.source.sha256), (Status::Published, &first.source.sha256));
    assert_ne!(second.source.uri, first.source.uri);
    home.deckle(["erase", &first.envelope.document_id, "--yes"]).await.ended(0);
    let blob = claim_check::source_blob(&second.envelope, &second.source).unwrap();
    assert_eq!(app.blobs.get(&blob).await.unwrap(), text("lighthouse").as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_objects_and_bytes_are_taken_in_and_named_by_their_content() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    configure(&home, &store, "");
    let folder = home.join("in/acme");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a lighthouse.txt"), text("lighthouse")).unwrap();
    std::fs::copy(support::samples().join("handbook.pdf"), folder.join("handbook.pdf")).unwrap();
    put(&store, "in/deep/crane.txt", text("crane").into()).await;
    put(&store, "in/shed.txt", text("shed").into()).await;
    let file = |name: &str| format!("file://{}/{name}", folder.display());
    let named = {
        let mut named = upload("named", &format!("{}/in/shed.txt", store.url));
        named.source.sha256 = hex::encode(Sha256::digest(text("shed"))).to_uppercase();
        named.source.size_bytes = i64::try_from(text("shed").len()).unwrap();
        named.envelope.document_id = "the shed".to_owned();
        named
    };
    let app = home.app();
    send(
        &app,
        &[
            upload("file", &file("a%20lighthouse.txt")),
            upload("pages", &file("handbook.pdf")),
            upload("object", &format!("{}/in/deep/crane.txt", store.url)),
            named,
            inline("inline", text("net").as_bytes()),
            // Twice the same submission: one of them is dropped.
            inline("inline", text("net").as_bytes()),
        ],
    )
    .await;
    let ends = until_ended(&app, 5, start(&home, &[])).await;
    for (name, file, filename) in [
        ("file", Some("lighthouse"), "a lighthouse.txt"),
        ("pages", None, "handbook.pdf"),
        ("object", Some("crane"), "crane.txt"),
        ("named", Some("shed"), "shed.txt"),
        ("inline", Some("net"), ""),
    ] {
        let end = end(&ends, name);
        assert_eq!(end.status, Status::Published, "{name}: {:?}", end.reasons);
        assert!(end.source.uri.starts_with("blob:acme/"), "{name}: {}", end.source.uri);
        assert_eq!(end.source.filename, filename);
        let content =
            file.map_or_else(|| std::fs::read(folder.join(filename)).unwrap(), |name| text(name).into_bytes());
        let sha256 = hex::encode(Sha256::digest(&content));
        assert_eq!((&end.source.sha256, end.source.size_bytes), (&sha256, i64::try_from(content.len()).unwrap()));
        let expected = if name == "named" { "the shed".to_owned() } else { record::document_id("acme", &sha256) };
        assert_eq!(end.envelope.document_id, expected, "{name}");
    }
    let pages = support::events::<PageSplit>(&app).await;
    assert!(pages.len() == 4 && pages.iter().all(|page| page.source.uri.starts_with("blob:acme/")));
    assert_eq!(support::events::<DeadLetter>(&app).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_upload_ends_once_with_its_reason_and_its_bytes_are_kept() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    configure(&home, &store, "[decode]\nmax_bytes = 5000\n");
    for tenant in ["acme", "other"] {
        std::fs::create_dir_all(home.join("in").join(tenant)).unwrap();
        std::fs::write(home.join("in").join(tenant).join("note.txt"), text(tenant)).unwrap();
    }
    std::fs::write(home.join("in/acme/large.txt"), vec![b'x'; 5001]).unwrap();
    std::fs::write(home.join("in/acme/binary.bin"), [0xFF, 0, 0xFE, 1, 2, 3]).unwrap();
    std::os::unix::fs::symlink("../other/note.txt", home.join("in/acme/link.txt")).unwrap();
    put(&store, "in/large.txt", vec![b'x'; 5001]).await;
    put(&store, "elsewhere.txt", text("crane").into()).await;
    let file = |name: &str| format!("file://{}/in/{name}", home.path().display());
    let object = |key: &str| format!("{}/{key}", store.url);
    let said = |name: &str, size_bytes, sha256: String| {
        let mut upload = upload(name, &file("acme/note.txt"));
        (upload.source.size_bytes, upload.source.sha256) = (size_bytes, sha256);
        upload
    };
    let mut nameless = upload("", &file("acme/none.txt"));
    nameless.envelope.event_id = "named-by-its-event".to_owned();
    let both = Uploaded { content: Some(b"x".to_vec()), ..upload("both", &file("acme/note.txt")) };
    let cases = [
        ("source.outside", upload("another tenant's", &file("other/note.txt"))),
        ("source.outside", upload("up and down", &file("acme/%2e%2e/other/note.txt"))),
        ("source.outside", upload("symlink", &file("acme/link.txt"))),
        ("source.outside", upload("system", "file:///etc/passwd")),
        ("source.outside", upload("beside the prefix", &object("elsewhere.txt"))),
        ("source.outside", upload("another bucket", "s3://another-bucket/in/note.txt")),
        ("source.outside", upload("another service", "gs://bucket/in/note.txt")),
        ("source.invalid", upload("http", "http://127.0.0.1/in/note.txt")),
        ("source.invalid", upload("nothing", "")),
        ("source.invalid", both),
        ("source.invalid", upload("another tenant's blob", "blob:other/d/0000")),
        ("source.missing", upload("missing file", &file("acme/none.txt"))),
        ("source.missing", upload("missing object", &object("in/none.txt"))),
        ("source.missing", nameless),
        ("source.mismatch", said("size", 7, String::new())),
        ("source.mismatch", said("hash", 0, "0".repeat(64))),
        ("limit.bytes", upload("large file", &file("acme/large.txt"))),
        ("limit.bytes", upload("large object", &object("in/large.txt"))),
        ("limit.bytes", inline("large bytes", &[b'x'; 1001])),
        ("empty_file", inline("empty", b"")),
        ("unsupported_type", upload("binary", &file("acme/binary.bin"))),
    ];
    let app = home.app();
    send(&app, &cases.each_ref().map(|(_, upload)| upload.clone())).await;
    let ends = until_ended(&app, cases.len(), start(&home, &["split", "publish"])).await;
    let letters = support::events::<DeadLetter>(&app).await;
    assert_eq!(letters.len(), cases.len());
    for (code, upload) in &cases {
        let name = if upload.envelope.upload_id.is_empty() { "named-by-its-event" } else { &upload.envelope.upload_id };
        let end = end(&ends, name);
        assert_eq!((end.status, end.reasons[0].code.as_str()), (Status::Failed, *code), "{name}: {:?}", end.reasons);
        let expected = match (*code, name) {
            // Known by what was read.
            ("unsupported_type", _) => {
                let sha256 = hex::encode(Sha256::digest([0xFF, 0, 0xFE, 1, 2, 3]));
                assert_eq!((&end.source.sha256, end.source.size_bytes), (&sha256, 6));
                record::document_id("acme", &sha256)
            }
            ("empty_file", _) => record::document_id("acme", &hex::encode(Sha256::digest(b""))),
            (_, "hash") => record::document_id("acme", &"0".repeat(64)),
            _ => record::unread_document_id("acme", name),
        };
        assert_eq!(end.envelope.document_id, expected, "{name}");
        let kept = |letter: &&DeadLetter| letter.value == wire::encode(upload).unwrap();
        assert_eq!(letters.iter().filter(kept).count(), 1, "{name}: its letter holds its bytes");
    }
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_says_beside_its_file_is_bounded_and_such_an_event_ends_too() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    configure(&home, &store, "");
    let app = home.app();
    let attributes = |upload: Uploaded, bytes: usize| {
        let mut upload = upload;
        upload.envelope.attributes = [("note".to_owned(), "x".repeat(bytes))].into();
        upload
    };
    let most = attributes(inline("most", b"Most."), 15_000);
    // As large as an event may be, so that nothing fits beside it.
    let plain = wire::encode(&attributes(inline("too-much", b"Too much."), 0)).unwrap().len();
    let too_much = attributes(inline("too-much", b"Too much."), wire::MAX_OWN_BYTES - plain - 8);
    let mut long_id = inline("", b"An id.");
    long_id.envelope.upload_id = "u".repeat(wire::MAX_OWN_BYTES - plain - 8);
    let with_line_feed = inline("erased\nd\n5\n5", b"A claim of ours.");
    send(&app, &[too_much, long_id, with_line_feed, most]).await;
    let run = start(&home, &[]);
    support::within("three dead letters", async {
        while support::events::<DeadLetter>(&app).await.len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let ends = until_ended(&app, 2, run).await;
    assert_eq!(end(&ends, "most").status, Status::Published);
    assert_eq!(end(&ends, "most").envelope.attributes["note"].len(), 15_000);
    let failed = end(&ends, "too-much");
    assert_eq!((failed.status, failed.reasons[0].code.as_str()), (Status::Failed, "limit.context"));
    assert!(failed.reasons[0].message.contains("sources.max_context_bytes"), "{:?}", failed.reasons);
    assert!(failed.envelope.attributes.is_empty());
    // An id that is cut would be another's: of such an event there is the dead letter alone.
    let letters = support::events::<DeadLetter>(&app).await;
    let mut codes: Vec<&str> = letters.iter().map(|letter| letter.reason.code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["limit.context", "limit.context", "record.invalid"]);
    home.deckle(["dead-letters", "list"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_the_year_2100_is_as_old_as_the_log_says() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    configure(&home, &store, "");
    let app = home.app();
    let report = |name: &str| {
        let mut upload = inline(name, text(name).as_bytes());
        upload.envelope.document_id = "the report".to_owned();
        upload
    };
    let mut early = report("draft");
    (early.envelope.run, early.envelope.version) = (4_102_444_800_000_000, 4_102_444_800_000_001);
    send(&app, &[early]).await;
    until_ended(&app, 1, start(&home, &[])).await;
    send(&app, &[report("correction")]).await;
    let ends = until_ended(&app, 2, start(&home, &[])).await;
    assert!(ends.iter().all(|end| end.status == Status::Published), "{ends:?}");
    let now = jiff::Timestamp::now().as_microsecond();
    assert!(ends.iter().all(|end| end.envelope.run == end.envelope.version && end.envelope.run <= now), "{ends:?}");
    let shown = home.deckle(["show", "the report", "--to", "md"]).await.ended(0).stdout;
    assert!(shown.contains("The correction stands"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_away_is_waited_for() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    put(&store, "in/crane.txt", text("crane").into()).await;
    let mut line = Line::to(&store).await;
    configure(&home, &store.over(&line), "");
    line.cut().await;
    let app = home.app();
    send(&app, &[upload("object", &format!("{}/in/crane.txt", store.url)), upload("other", "file:///etc/passwd")])
        .await;
    let run = start(&home, &[]);
    support::within("the other upload ends", async {
        while support::events::<Published>(&app).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    line.mend().await;
    let ends = until_ended(&app, 2, run).await;
    assert_eq!(end(&ends, "object").status, Status::Published);
    assert_eq!(support::events::<DeadLetter>(&app).await.len(), 1, "of the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_holds_up_no_other() {
    let (home, store) = (Home::new(), object_stores::s3().await);
    for name in ["broken", "crane"] {
        put(&store, &format!("in/{name}.txt"), text(name).into()).await;
    }
    let line = Line::breaking_at(&store, "in/broken.txt").await;
    configure(&home, &store.over(&line), "[worker]\nretry_s = 1\n");
    let app = home.app();
    let object = |name: &str| upload(name, &format!("{}/in/{name}.txt", store.url));
    send(&app, &[object("broken"), object("crane")]).await;
    let ends = until_ended(&app, 2, start(&home, &[])).await;
    assert_eq!(end(&ends, "crane").status, Status::Published);
    assert_eq!(end(&ends, "broken").status, Status::Failed);
    let letters = support::events::<DeadLetter>(&app).await;
    assert_eq!((letters.len(), letters[0].kind.as_str(), letters[0].reason.retryable), (1, "transient", true));
    assert!(letters[0].reason.message.contains("in/broken.txt"), "{}", letters[0].reason.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_pipeline_runs_on_an_object_store() {
    let (home, store) = (Home::new(), object_stores::azure().await);
    home.configure(&format!("[blobs]\nurl = \"{}/deckle\"\n{}", store.url, store.toml("blobs.options")));
    let sample = support::samples().join("handbook.pdf");
    let ran = home.deckle(["process".as_ref(), sample.as_os_str()]).await.ended(0);
    assert!(ran.stdout.contains("published"), "{ran:?}");
    let shown = home.deckle(["show", "handbook.pdf", "--to", "md"]).await.ended(0).stdout;
    assert!(shown.contains("Harbour House has stood at the end of the Long Quay since 1874."));
    assert!(!home.join("data/blobs").exists(), "nothing lies in the folder");
    let check = |ran: &support::Ran| {
        let lines = ran.json();
        lines.as_array().unwrap().iter().find(|line| line["name"] == "blob store").unwrap().clone()
    };
    assert_eq!(check(&home.deckle(["check", "--json"]).await)["ok"], true);
    home.configure(&format!("[blobs]\nurl = \"{}-missing\"\n{}", store.url, store.toml("blobs.options")));
    let line = check(&home.deckle(["check", "--json"]).await);
    assert!(line["ok"] == false && line["detail"].as_str().unwrap().contains("ContainerNotFound"), "{line}");
}
