//! Passwords of files on the whole program: one opens its file, is stored nowhere as it was typed, and changes nothing
//! where it is wrong.

use std::{collections::BTreeSet, path::Path};

use deckle::{
    app::App,
    contract::{
        error::{Failure, code},
        record::{Envelope, Event, Lane, Options, Published, Source, Status, Uploaded, topics, wire},
    },
    log::{NewRecord, Topic},
    seal::{Config, Keyring},
    store::Header,
};

use crate::support::{self, Home, Started};

const PASSWORD: &str = "open-sesame";
const WRONG: &str = "wrong-horse";
const FILE: &str = "encrypted.pdf";

/// How often a state that nobody announces is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);

async fn process(home: &Home, password: Option<&str>, code: i32) -> support::Ran {
    let path = support::bad().join(FILE);
    let mut command = home.command(["process".as_ref(), path.as_os_str(), "--json".as_ref()]);
    command.args(password.map(|password| ["--password", password]).iter().flatten());
    support::run(&mut command).await.ended(code)
}

/// Files below a folder that hold a text, as it is or in hexadecimal digits.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let forms = [text.to_owned(), hex_of(text)];
    let files = support::files(folder).into_iter();
    let holding = files.filter(|(_, bytes)| {
        forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
    });
    holding.map(|(path, _)| path.display().to_string()).collect()
}

fn hex_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The topics of which a record holds a text.
async fn topics_with(app: &App, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for topic in topics::all() {
        for record in support::records(app, &topic.name).await {
            if record.value.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.insert(topic.name.clone());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_its_file_and_is_told_and_stored_nowhere() {
    let home = Home::new();
    let path = support::bad().join(FILE);
    let mut told = String::new();
    for (password, code) in [(WRONG, 1), (PASSWORD, 0)] {
        let mut command =
            home.command(["process".as_ref(), path.as_os_str(), "--password".as_ref(), password.as_ref()]);
        command.args(["--out", "out"]).env("RUST_LOG", "trace");
        let ran = support::run(&mut command).await.ended(code);
        told += &format!("{}\n{}\n", ran.stdout, ran.stderr);
    }
    assert_eq!(support::header(&home.app(), FILE).await.status(), Status::Published);
    let letters = home.deckle(["dead-letters", "list", "--json"]).await.ended(0);
    let id = letters.json()["dead_letters"][0]["id"].as_str().unwrap().to_owned();
    for arguments in [
        vec!["show", FILE, "--json"],
        vec!["show", FILE],
        vec!["show", FILE, "--to", "json"],
        vec!["list", "--json"],
        vec!["topics", "read", "documents.uploaded"],
        vec!["topics", "read", "pages.split"],
        vec!["topics", "read", "dead-letters"],
        vec!["dead-letters", "list"],
        vec!["dead-letters", "show", &id],
        vec!["dead-letters", "show", &id, "--json"],
    ] {
        let ran = home.deckle(arguments).await.ended(0);
        told += &format!("{}\n{}\n", ran.stdout, ran.stderr);
    }
    told += &letters.stdout;
    for bytes in support::files(&home.join("out")).values() {
        told += &String::from_utf8_lossy(bytes);
    }
    for secret in [PASSWORD, WRONG, "sealed:v1:"] {
        let place = told.find(secret).map(|at| told[..at].lines().next_back().unwrap_or_default());
        assert_eq!(place, None, "{secret} is told");
    }
    for secret in [PASSWORD, WRONG] {
        assert_eq!(files_with(&home.join("data"), secret), [""; 0], "{secret} is stored");
    }
    assert!(!files_with(&home.join("data"), "sealed:v1:").is_empty(), "what is stored is sealed");
    assert!(home.deckle(["check"]).await.stdout.contains("password.keys, sealing with "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_come_by_the_environment() {
    let home = Home::new();
    let path = support::bad().join(FILE);
    let mut command = home.command(["process".as_ref(), path.as_os_str()]);
    support::run(command.env("DECKLE_PASSWORD", PASSWORD)).await.ended(0);
}

/// What readers see, and the blobs.
async fn visible(home: &Home) -> (Header, Vec<std::path::PathBuf>) {
    let app = home.app();
    let header = support::header(&app, FILE).await;
    (header, support::files(&home.join("data/blobs")).into_keys().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_does_not_open_the_file_is_not_unchanged_and_changes_nothing() {
    let home = Home::new();
    let outcome = |ran: &support::Ran| ran.json()["documents"][0]["outcome"].as_str().unwrap().to_owned();
    assert_eq!(outcome(&process(&home, Some(PASSWORD), 0).await), "published");
    let (published, blobs) = visible(&home).await;
    for password in [Some(WRONG), None, None] {
        let ran = process(&home, password, 1).await;
        assert_eq!(outcome(&ran), "failed", "{password:?}");
        let (header, now) = visible(&home).await;
        assert_eq!((&header.current, &header.intake), (&published.current, &published.intake), "{password:?}");
        assert_eq!(header.ended.unwrap().reasons[0].code, code::PDF_ENCRYPTED);
        assert_eq!(now, blobs);
    }
    assert_eq!(outcome(&process(&home, Some(PASSWORD), 0).await), "unchanged");
    let (header, _) = visible(&home).await;
    assert_eq!((header.current, header.ended.unwrap().status), (published.current, Status::Unchanged));

    // Each submission with a password is one of its own.
    let app = home.app();
    let uploads = support::events::<Uploaded>(&app).await;
    let with_password = uploads.iter().filter(|upload| upload.options.password.is_some());
    let ids: BTreeSet<_> =
        with_password.map(|upload| uuid::Uuid::parse_str(&upload.envelope.upload_id).unwrap()).collect();
    assert_eq!(ids.iter().map(uuid::Uuid::get_version_num).collect::<Vec<_>>(), [7; 3]);
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_a_file_does_not_need_goes_no_further_and_is_no_change() {
    let home = Home::new();
    let path = support::samples().join("letter.png");
    let outcome = async |password: &[&str]| {
        let mut command = home.command(["process".as_ref(), path.as_os_str(), "--json".as_ref()]);
        let ran = support::run(command.args(password)).await.ended(0);
        ran.json()["documents"][0]["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome(&["--password", PASSWORD]).await, "published");
    assert_eq!(outcome(&["--password", WRONG]).await, "unchanged");
    assert_eq!(outcome(&[]).await, "unchanged");
    assert_eq!(topics_with(&home.app(), "sealed:v1:").await, [Uploaded::TOPIC.to_owned()].into());
}

/// What another producer sends: the encrypted file itself.
fn upload(upload_id: &str, password: &str) -> Uploaded {
    let envelope = Envelope {
        upload_id: upload_id.to_owned(),
        ..Envelope::new(uuid::Uuid::now_v7().to_string(), "acme", upload_id, Lane::Interactive)
    };
    Uploaded {
        envelope,
        source: Source { uri: format!("inline:{FILE}"), filename: FILE.to_owned(), ..Source::unknown() },
        options: Options { password: Some(password.to_owned()), ..Options::default() },
        content: Some(std::fs::read(support::bad().join(FILE)).unwrap()),
    }
}

async fn send(app: &App, upload: &Uploaded) {
    let record = NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(upload, "test", None),
        value: wire::encode(upload).unwrap(),
    };
    app.log.append(vec![record]).await.unwrap();
}

/// The ends of these uploads, as they come.
async fn ends(app: &App, uploads: &[&str]) -> Vec<(Status, Option<String>)> {
    let found = async {
        loop {
            let events = support::events::<Published>(app).await;
            let end_of = |upload: &&str| events.iter().find(|end| end.envelope.upload_id == **upload);
            let ends: Option<Vec<_>> = uploads.iter().map(end_of).collect();
            if let Some(ends) = ends {
                return ends.iter().map(|end| (end.status, end.reasons.first().map(|it| it.code.clone()))).collect();
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    support::within("the ends of uploads", found).await
}

async fn stop(mut run: Started) {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_producer_sends_open_is_sealed_before_it_is_stored() {
    let home = Home::new();
    let app = home.app();
    send(&app, &upload("right", PASSWORD)).await;
    send(&app, &upload("wrong", WRONG)).await;
    let (run, _) = support::working(&home, &[]).await;
    let failed = (Status::Failed, Some(code::PDF_ENCRYPTED.to_owned()));
    assert_eq!(ends(&app, &["right", "wrong"]).await, [(Status::Published, None), failed.clone()]);
    let listed = async {
        while home.deckle(["dead-letters", "list", "--json"]).await.json()["dead_letters"][0].is_null() {
            tokio::time::sleep(LOOK).await;
        }
    };
    support::within("the dead letter", listed).await;
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    let twice = async {
        while support::events::<Published>(&app).await.len() < 3 {
            tokio::time::sleep(LOOK).await;
        }
    };
    support::within("the end of the redrive", twice).await;
    stop(run).await;
    let ends: Vec<_> = support::events::<Published>(&app).await.into_iter().map(|end| end.reasons).collect();
    assert!(ends.iter().all(|reasons| reasons.iter().all(|it| it.code == code::PDF_ENCRYPTED)), "{ends:?}");
    for secret in [PASSWORD, WRONG] {
        // Its own record keeps it until it is trimmed.
        assert_eq!(topics_with(&app, secret).await, [Uploaded::TOPIC.to_owned()].into());
        let files = files_with(&home.join("data"), secret);
        assert!(files.iter().all(|file| file.starts_with("log.sqlite")), "{files:?}");
    }
    let groups = topics::get(Uploaded::TOPIC).unwrap().consumers.clone();
    app.log.trim(&[(Topic::from(Uploaded::TOPIC), groups)], i64::MAX).await.unwrap();
    app.log.scrub().await.unwrap();
    for secret in [PASSWORD, WRONG] {
        assert_eq!(files_with(&home.join("data"), secret), [""; 0], "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_password_opens_for_its_upload_alone_and_an_unknown_key_is_waited_for() {
    let home = Home::new();
    let app = home.app();
    let keys = "ab".repeat(32);
    let theirs = Keyring::new(&Config { keys: Some(keys.clone().into()), ..Config::default() }, None);
    let seal = |keyring: &Keyring, mut upload: Uploaded| {
        assert!(keyring.seal(&upload.envelope, &mut upload.options).unwrap());
        upload
    };
    let stolen = Options { ..seal(&app.keyring, upload("theirs", PASSWORD)).options };
    send(&app, &Uploaded { options: stolen, ..upload("moved", PASSWORD) }).await;
    send(&app, &seal(&theirs, upload("unknown", PASSWORD))).await;
    send(&app, &seal(&app.keyring, upload("known", PASSWORD))).await;
    let (run, address) = support::working(&home, &[]).await;
    let invalid = (Status::Failed, Some(code::PASSWORD_INVALID.to_owned()));
    assert_eq!(ends(&app, &["moved", "known"]).await, [invalid, (Status::Published, None)]);
    let waits = async {
        loop {
            let (status, body) = support::get(&address, "/readyz").await;
            if status == 503 && body.contains("password keys") {
                return body;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let body = support::within("readiness that names the keys", waits).await;
    assert!(!body.contains(PASSWORD) && !body.contains(&keys), "{body}");
    // Known again: the older key beside the one that seals now.
    let file = home.join("data/password.keys");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{keys}\n{own}")).unwrap();
    assert_eq!(ends(&app, &["unknown"]).await, [(Status::Published, None)]);
    stop(run).await;
    support::assert_each_end_is_told_once(&app).await;
}

#[test]
fn on_kafka_the_keys_are_named_before_the_first_password_comes() {
    let home = Home::new();
    home.configure("[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"localhost:1\"\n");
    let keyring = home.app().keyring;
    let Uploaded { envelope, mut options, .. } = upload("u", PASSWORD);
    assert_eq!(keyring.open(&envelope, &Options::default()), Ok(None), "whoever meets none needs no key");
    let refused = keyring.seal(&envelope, &mut options).unwrap_err();
    assert!(
        matches!(&refused, Failure::Unavailable { message, .. } if message.contains("passwords.keys_file")),
        "{refused:?}"
    );
    assert!(!home.join("data/password.keys").exists());
}
