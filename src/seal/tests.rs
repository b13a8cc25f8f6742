use std::{fs, os::unix::fs::PermissionsExt as _};

use bytes::Bytes;

use super::*;
use deckle_contract::record::{Event as _, Lane, PageSplit, Readmitted, Source, Uploaded, wire};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const PLAIN: &str = "open-sesame";

fn keyring(lines: &str) -> Keyring {
    Keyring::new(&Config { keys: Some(lines.to_owned().into()), ..Config::default() }, None)
}

fn envelope(tenant: &str, upload_id: &str) -> Envelope {
    Envelope { upload_id: upload_id.to_owned(), ..Envelope::new("e".to_owned(), tenant, "d", Lane::Bulk) }
}

fn plain() -> Options {
    Options { password: Some(PLAIN.to_owned()), ..Options::default() }
}

fn sealed(keyring: &Keyring, envelope: &Envelope) -> Options {
    let mut options = plain();
    assert!(keyring.seal(envelope, &mut options).unwrap());
    options
}

fn opened(keyring: &Keyring, envelope: &Envelope, options: &Options) -> Result<Option<String>> {
    keyring.open(envelope, options).map(|password| password.map(|password| password.reveal().to_owned()))
}

fn assert_invalid(result: Result<Option<String>>) {
    assert!(matches!(&result, Err(Failure::Rejected { code, .. }) if code == code::PASSWORD_INVALID), "{result:?}");
}

fn assert_waits(result: Result<impl fmt::Debug>, why: &str) {
    let waits = matches!(&result, Err(Failure::Unavailable { dependency, message }) if dependency == DEPENDENCY
        && message.contains(why) && !message.contains(PLAIN));
    assert!(waits, "{result:?}");
}

#[test]
fn a_sealed_password_opens_for_its_upload_and_shows_nothing() {
    let (keyring, envelope) = (keyring(ONE), envelope("acme", "u"));
    let mut options = sealed(&keyring, &envelope);
    let text = options.password.clone().unwrap();
    assert!(text.starts_with("sealed:v1:") && !text.contains(PLAIN) && !text.contains(&hex::encode(PLAIN)), "{text}");
    assert_eq!(opened(&keyring, &envelope, &options), Ok(Some(PLAIN.to_owned())));
    assert_eq!(sealed(&keyring, &envelope).password, Some(text.clone()), "the same text when it is done again");
    assert_eq!(keyring.seal(&envelope, &mut options), Ok(false), "what is sealed stays as it is");
    assert_eq!(options.password, Some(text));
    let shown = format!("{:?} {options:?} {keyring:?}", keyring.open(&envelope, &options).unwrap());
    assert!(!shown.contains(PLAIN) && !shown.contains(ONE), "{shown}");
}

#[test]
fn one_that_was_moved_to_another_tenant_or_upload_does_not_open() {
    let keyring = keyring(ONE);
    let options = sealed(&keyring, &envelope("acme", "u1"));
    for (tenant, upload_id) in [("acme", "u2"), ("acm", "eu1"), ("acmeu", "1"), ("other", "u1"), ("", "acmeu1")] {
        assert_invalid(opened(&keyring, &envelope(tenant, upload_id), &options));
    }
}

#[test]
fn an_upload_without_an_id_is_named_by_its_event_before_and_after_split() {
    let keyring = keyring(ONE);
    let options = sealed(&keyring, &envelope("acme", ""));
    assert_eq!(opened(&keyring, &envelope("acme", "e"), &options), Ok(Some(PLAIN.to_owned())));
}

#[test]
fn one_that_was_changed_does_not_open() {
    let (keyring, envelope) = (keyring(ONE), envelope("acme", "u"));
    let text = sealed(&keyring, &envelope).password.unwrap();
    let start = text.rfind(':').unwrap() + 1;
    for at in start..text.len() {
        let mut changed = text.clone();
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        changed.replace_range(at..=at, digit);
        assert_invalid(opened(&keyring, &envelope, &Options { password: Some(changed), ..Options::default() }));
    }
    let short = Options { password: Some(text[..text.len() - 2].to_owned()), ..Options::default() };
    assert_invalid(opened(&keyring, &envelope, &short));
}

#[test]
fn the_newest_key_seals_and_each_of_them_opens() {
    let envelope = envelope("acme", "u");
    let before = sealed(&keyring(ONE), &envelope);
    let rotated = keyring(&format!("# two keys\n{ONE}\n\n  {TWO}\n"));
    let after = sealed(&rotated, &envelope);
    assert_ne!(after.password, before.password);
    assert_eq!(after.password, sealed(&keyring(TWO), &envelope).password);
    for options in [&before, &after] {
        assert_eq!(opened(&rotated, &envelope, options), Ok(Some(PLAIN.to_owned())));
    }
}

#[test]
fn an_unknown_key_is_waited_for_and_known_once_its_line_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, ONE).unwrap();
    let ours = Keyring::new(&Config { keys_file: Some(file.clone()), ..Config::default() }, None);
    let envelope = envelope("acme", "u");
    let theirs = sealed(&keyring(TWO), &envelope);
    let id = Keys::parse(TWO).unwrap().ids().remove(0);
    assert_waits(opened(&ours, &envelope, &theirs), &id);
    fs::write(&file, format!("{ONE}\n{TWO}\n")).unwrap();
    assert_eq!(opened(&ours, &envelope, &theirs), Ok(Some(PLAIN.to_owned())));
}

#[test]
fn a_key_that_nobody_adds_is_not_waited_for_for_ever_and_a_change_of_the_keys_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, ONE).unwrap();
    let ours = |wait_s| Keyring::new(&Config { keys_file: Some(file.clone()), wait_s, ..Config::default() }, None);
    let envelope = envelope("acme", "u");
    let forged = |id: u64| Options { password: Some(format!("sealed:v1:{id:016x}:{}", "00".repeat(20))), ..plain() };
    let is_given_up = |result: Result<Option<String>>| {
        matches!(&result, Err(Failure::Rejected { code, message })
        if code == code::PASSWORD_KEY_UNKNOWN && message.contains("not in the file of keys"))
    };
    assert!(is_given_up(opened(&ours(0), &envelope, &forged(1))));

    // Whatever other ids come later: the wait is the keyring's, not the id's.
    let ours = ours(600);
    assert_waits(opened(&ours, &envelope, &forged(1)), "put it back there");
    let back_dated = || ours.missing.lock().unwrap().as_mut().unwrap().1 -= Duration::from_secs(601);
    back_dated();
    assert!((1..5).all(|id| is_given_up(opened(&ours, &envelope, &forged(id)))));
    assert_eq!(opened(&ours, &envelope, &sealed(&keyring(ONE), &envelope)), Ok(Some(PLAIN.to_owned())));

    fs::write(&file, format!("{ONE}\n{TWO}\n")).unwrap();
    assert_waits(opened(&ours, &envelope, &forged(1)), "put it back there");
    back_dated();
    assert!(is_given_up(opened(&ours, &envelope, &forged(1))));
    for nowhere in [None, Some(folder.path().join("none"))] {
        let nowhere = Keyring::new(&Config { wait_s: 0, ..Config::default() }, nowhere);
        assert!(matches!(opened(&nowhere, &envelope, &forged(1)), Err(Failure::Rejected { .. })));
    }
}

#[test]
fn keys_that_are_missing_or_malformed_are_waited_for_and_not_shown() {
    let envelope = envelope("acme", "u");
    let nowhere = Keyring::new(&Config::default(), None);
    assert_waits(nowhere.seal(&envelope, &mut plain()), "passwords.keys_file");
    assert_eq!(nowhere.seal(&envelope, &mut Options::default()), Ok(false), "without a password none is needed");
    assert_eq!(nowhere.open(&envelope, &Options::default()), Ok(None));
    assert!(nowhere.describe().is_ok());
    for (lines, why) in [("", "no key"), ("# none\n", "no key"), (&format!("{ONE}\n{}", &TWO[..62]), "line 2")] {
        assert_waits(keyring(lines).seal(&envelope, &mut plain()), why);
    }
    let named = Config { keys_file: Some("/nowhere/keys".into()), ..Config::default() };
    assert_waits(Keyring::new(&named, None).seal(&envelope, &mut plain()), "/nowhere/keys");
    let both = Config { keys: Some(ONE.to_owned().into()), ..named };
    assert!(both.check().is_err_and(|why| why.contains("keys_file") && !why.contains(ONE)));
    assert!(!format!("{both:?}").contains(ONE));
}

#[test]
fn the_embedded_default_makes_one_key_for_its_owner_alone_when_it_first_seals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password.keys");
    let own = || Keyring::new(&Config::default(), Some(file.clone()));
    let envelope = envelope("acme", "u");
    let theirs = sealed(&keyring(ONE), &envelope);
    assert_waits(opened(&own(), &envelope, &theirs), "password.keys");
    assert!(own().describe().is_ok() && !file.exists(), "opening and looking make nothing");
    // Many at once, as processes that share a folder: one key.
    let texts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| sealed(&own(), &envelope).password)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn a_password_that_only_looks_sealed_is_a_password() {
    let (keyring, envelope) = (keyring(ONE), envelope("acme", "u"));
    for text in ["sealed:v1:", "sealed:v1:00:00", "sealed:v1:0123456789abcdef:00", "sealed:v1:0123456789abcdef:xyz"] {
        let mut options = Options { password: Some(text.to_owned()), ..Options::default() };
        assert_eq!(opened(&keyring, &envelope, &options), Ok(Some(text.to_owned())), "as earlier versions stored it");
        assert_eq!(keyring.seal(&envelope, &mut options), Ok(true));
        assert_eq!(opened(&keyring, &envelope, &options), Ok(Some(text.to_owned())));
    }
}

#[test]
fn records_are_kept_with_their_passwords_sealed_and_else_as_they_are() {
    let keyring = keyring(ONE);
    let upload = Uploaded {
        envelope: envelope("acme", ""),
        source: Source::unknown(),
        options: plain(),
        content: Some(b"%PDF".to_vec()),
    };
    let page = PageSplit {
        envelope: envelope("acme", "u"),
        source: Source::unknown(),
        options: plain(),
        page_no: 1,
        page_count: 1,
        facts: None,
    };
    let again = Readmitted {
        envelope: envelope("acme", "e"),
        value: wire::encode(&upload).unwrap().to_vec(),
        headers: [("ce_id".to_owned(), "e".to_owned())].into(),
        first_page_no: 1,
        page_count: 0,
        facts: None,
    };
    let kept = |topic: &str, value: Bytes| {
        let kept = keyring.seal_record(topic, &value).unwrap();
        assert_eq!(keyring.seal_record(topic, &kept).unwrap(), kept, "{topic}: once is enough");
        assert!(!String::from_utf8_lossy(&kept).contains(PLAIN), "{topic}");
        kept
    };
    let expected = Uploaded { options: sealed(&keyring, &upload.envelope), ..upload.clone() };
    let kept_upload: Uploaded = wire::decode(&kept(Uploaded::TOPIC, wire::encode(&upload).unwrap())).unwrap();
    assert_eq!(kept_upload, expected);
    let kept_page: PageSplit = wire::decode(&kept(PageSplit::TOPIC, wire::encode(&page).unwrap())).unwrap();
    assert_eq!(kept_page, PageSplit { options: sealed(&keyring, &page.envelope), ..page.clone() });
    let kept_again: Readmitted = wire::decode(&kept(Readmitted::TOPIC, wire::encode(&again).unwrap())).unwrap();
    assert_eq!(kept_again, Readmitted { value: wire::encode(&expected).unwrap().to_vec(), ..again });
    for topic in [Uploaded::TOPIC, PageSplit::TOPIC, Readmitted::TOPIC, "pages.read"] {
        let unknown = Bytes::from_static(b"from the future");
        assert_eq!(keyring.seal_record(topic, &unknown).unwrap(), unknown);
    }
    // Nothing is kept open where there is no key.
    let value = wire::encode(&upload).unwrap();
    assert_waits(Keyring::new(&Config::default(), None).seal_record(Uploaded::TOPIC, &value), "passwords.keys_file");
}
