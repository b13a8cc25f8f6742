//! Each version of a run ends once, whatever says that it does.

use deckle::{
    app::App,
    contract::record::{Enriched, Envelope, Event, Lane, Published, Source, Status, wire},
    log::{NewRecord, Topic},
    store::Header,
};

use crate::support::{self, Home};

fn end_of(header: &Header, run: i64, version: i64, event_id: &str) -> Enriched {
    let key = &header.key;
    let envelope =
        Envelope { run, version, ..Envelope::new(event_id.to_owned(), &key.tenant, &key.document_id, Lane::Bulk) };
    Enriched::without_results(envelope, Source::unknown(), Status::Failed, Vec::new())
}

/// Appends records for publish and lets it work until it is past them.
async fn publish(home: &Home, app: &App, records: Vec<Enriched>) {
    let records = records.iter().map(|event| NewRecord {
        topic: Topic::from(Enriched::TOPIC),
        key: event.order_key(),
        headers: wire::headers(event, "test", None),
        value: wire::encode(event).unwrap(),
    });
    app.log.append(records.collect()).await.unwrap();
    support::work(home, &["publish"]).await;
}

/// A document that was read twice: its header, and its older run.
async fn read_twice(home: &Home) -> (Header, i64) {
    let path = support::samples().join("plain.txt");
    let read = async || {
        home.deckle(["process".as_ref(), "--force".as_ref(), path.as_os_str()]).await.ended(0);
        support::header(&home.app(), "plain.txt").await
    };
    let older = read().await.current.unwrap().run;
    (read().await, older)
}

/// Status of each end of a version.
async fn told(app: &App, run: i64, version: i64) -> Vec<Status> {
    let ends = support::events::<Published>(app).await.into_iter();
    let of_it = |end: &Published| (end.envelope.run, end.envelope.version) == (run, version);
    ends.filter(of_it).map(|end| end.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_an_older_run_ends_once_too() {
    let home = Home::new();
    let (header, older) = read_twice(&home).await;
    let app = home.app();
    let version = older + 1;
    let two = ["page 1 failed", "page 2 failed"].map(|id| end_of(&header, older, version, id));
    publish(&home, &app, two.to_vec()).await;
    assert_eq!(told(&app, older, version).await, [Status::Superseded]);
    // However much later the next one comes.
    publish(&home, &app, vec![end_of(&header, older, version, "page 3 failed")]).await;
    assert_eq!(told(&app, older, version).await, [Status::Superseded]);
    assert_eq!(support::header(&app, "plain.txt").await.current, header.current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_after_it_claimed_the_end_still_leaves_one() {
    let home = Home::new();
    let (header, _) = read_twice(&home).await;
    let app = home.app();
    let current = header.current.as_ref().unwrap();
    let version = current.version + 1;
    // What is to be published has no content: a defect, found when the end is claimed already.
    let broken = Enriched { status: Status::Published, ..end_of(&header, current.run, version, "broken") };
    publish(&home, &app, vec![broken, end_of(&header, current.run, version, "another")]).await;
    assert_eq!(told(&app, current.run, version).await, [Status::Failed]);
    let ended = support::header(&app, "plain.txt").await.ended.unwrap();
    assert_eq!((ended.status, ended.version), (Status::Failed, version));
    assert_eq!(support::letters(&app).await.len(), 1);
}
