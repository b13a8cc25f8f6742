//! The laws of dead letters: written once, taken out of `open` once, listed in order.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use deckle::{
    contract::error::Reason,
    store::{
        Claim, Claimed, DeadLetterFilter, DeadLetterKey, DeadLetterRow, DeadLetterState, DocumentKey, FailedRecord,
        ListedDeadLetter, StateName, Store,
    },
};

use crate::support::values::*;

type Any = Arc<dyn Store>;

fn letter(tenant: &str, number: i64) -> DeadLetterRow {
    let page_no = u32::try_from(number).ok();
    DeadLetterRow {
        key: DeadLetterKey { tenant: tenant.to_owned(), letter_id: format!("{number:02}-letter") },
        failed_at: 1_000 + number,
        stage: ["ocr", "vision"][number as usize % 2].into(),
        kind: ["rejected", "transient", "defect"][number as usize % 3].into(),
        reason: Reason {
            code: ["limit.time", "limit.pixels"][number as usize % 2].into(),
            message: "it's 'late'\0".into(),
            stage: "ocr".into(),
            page_no,
            retryable: number % 2 == 0,
        },
        attempts: 3,
        document_id: format!("document-{}", number / 10),
        run: 5,
        version: 5 + number,
        page_no,
        topic: "pages.split".into(),
        partition: 2,
        offset: number,
        appended_at: 900 + number,
    }
}

fn record(number: u8) -> FailedRecord {
    FailedRecord {
        headers: BTreeMap::from([("tenant".to_owned(), "Ünï".to_owned())]),
        value: vec![0, 255, number].into(),
    }
}

/// Writes a letter of a tenant of its own.
pub(super) async fn new_letter(store: &Any) -> DeadLetterRow {
    let letter = letter(&new_document().tenant, 1);
    store.put_dead_letter(&letter, &record(1)).await.unwrap();
    letter
}

async fn state(store: &Any, letter: &DeadLetterRow) -> DeadLetterState {
    let filter = DeadLetterFilter { tenant: Some(letter.key.tenant.clone()), ..DeadLetterFilter::default() };
    let rows = store.dead_letters(&filter).await.unwrap().letters;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].letter, *letter);
    rows[0].state
}

async fn claim(store: &Any, letter: &DeadLetterRow, version: i64, now: i64, until: i64) -> Claimed {
    store.claim_redrive(&letter.key, Claim { id: Uuid::now_v7(), version, now, until }).await.unwrap()
}

pub async fn a_letter_is_written_once_and_keeps_its_state(store: Any) {
    let letter = new_letter(&store).await;
    assert_eq!(state(&store, &letter).await, DeadLetterState::Open);
    assert_eq!(store.failed_record(&letter.key).await.unwrap(), Some(record(1)));
    store.drop_dead_letter(&letter.key, 70).await.unwrap();
    store.put_dead_letter(&letter, &record(1)).await.unwrap();
    assert_eq!(state(&store, &letter).await, DeadLetterState::Dropped { at: 70 });
    let nobody = DeadLetterKey { tenant: letter.key.tenant.clone(), letter_id: "nobody".into() };
    assert_eq!(store.failed_record(&nobody).await.unwrap(), None);
    assert_eq!(store.drop_dead_letter(&nobody, 1).await.unwrap(), None);
    let none = store.claim_redrive(&nobody, Claim { id: Uuid::now_v7(), version: 1, now: 1, until: 2 }).await.unwrap();
    assert_eq!(none, Claimed::Not(None));
}

pub async fn a_letter_leaves_open_once(store: Any) {
    let letter = new_letter(&store).await;
    store.confirm_redrive(&letter.key, 5).await.unwrap();
    assert_eq!(state(&store, &letter).await, DeadLetterState::Open, "nobody claimed it");
    assert_eq!(claim(&store, &letter, 20, 100, 200).await, Claimed::Ours { version: 20 });
    let claimed = DeadLetterState::Redriving { version: 20, until: 200 };
    assert_eq!(store.drop_dead_letter(&letter.key, 120).await.unwrap(), Some(claimed), "it is on its way");
    store.confirm_redrive(&letter.key, 150).await.unwrap();
    store.confirm_redrive(&letter.key, 160).await.unwrap();
    let redriven = DeadLetterState::Redriven { version: 20, at: 150 };
    assert_eq!(state(&store, &letter).await, redriven);
    assert_eq!(claim(&store, &letter, 30, 900, 999).await, Claimed::Not(Some(redriven)));
    assert_eq!(store.drop_dead_letter(&letter.key, 170).await.unwrap(), Some(redriven));

    let letter = new_letter(&store).await;
    assert_eq!(store.drop_dead_letter(&letter.key, 70).await.unwrap(), Some(DeadLetterState::Dropped { at: 70 }));
    assert_eq!(store.drop_dead_letter(&letter.key, 80).await.unwrap(), Some(DeadLetterState::Dropped { at: 70 }));
    assert_eq!(claim(&store, &letter, 20, 100, 200).await, Claimed::Not(Some(DeadLetterState::Dropped { at: 70 })));
}

pub async fn a_claim_that_ran_out_is_taken_over_with_its_version(store: Any) {
    let letter = new_letter(&store).await;
    let first = Claim { id: Uuid::now_v7(), version: 20, now: 100, until: 200 };
    for _ in 0..2 {
        let ours = store.claim_redrive(&letter.key, first).await.unwrap();
        assert_eq!(ours, Claimed::Ours { version: 20 }, "made again, still ours");
    }
    let held = Claimed::Not(Some(DeadLetterState::Redriving { version: 20, until: 200 }));
    assert_eq!(claim(&store, &letter, 20, 100, 200).await, held, "another's, of the same microsecond");
    assert_eq!(claim(&store, &letter, 30, 200, 300).await, held, "it holds until then");
    let second = Claim { id: Uuid::now_v7(), version: 30, now: 201, until: 300 };
    for _ in 0..2 {
        assert_eq!(store.claim_redrive(&letter.key, second).await.unwrap(), Claimed::Ours { version: 20 });
    }
    assert_eq!(state(&store, &letter).await, DeadLetterState::Redriving { version: 20, until: 300 });
}

pub async fn of_many_claims_at_once_one_wins(store: Any) {
    let letter = new_letter(&store).await;
    let claims = (1..=20).map(|_| {
        let (store, letter) = (Arc::clone(&store), letter.clone());
        tokio::spawn(async move { claim(&store, &letter, 20, 100, 200).await })
    });
    let answers = futures::future::join_all(claims.collect::<Vec<_>>()).await;
    let ours: Vec<i64> = answers
        .into_iter()
        .filter_map(|answer| match answer.unwrap() {
            Claimed::Ours { version } => Some(version),
            Claimed::Not(_) => None,
        })
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(state(&store, &letter).await, DeadLetterState::Redriving { version: ours[0], until: 200 });
}

pub async fn letters_are_listed_by_what_they_say(store: Any) {
    let tenant = new_document().tenant;
    let letters: Vec<DeadLetterRow> = (0..24).map(|number| letter(&tenant, number)).collect();
    for (number, letter) in letters.iter().enumerate().rev() {
        store.put_dead_letter(letter, &record(number as u8)).await.unwrap();
        match number % 4 {
            1 => drop(store.drop_dead_letter(&letter.key, 1).await.unwrap()),
            2 => drop(claim(&store, letter, 99, 1, 2).await),
            _ => {}
        }
    }
    let any = || DeadLetterFilter { tenant: Some(tenant.clone()), limit: 5, ..DeadLetterFilter::default() };
    assert_eq!(numbers(&store, any()).await, (0..24).collect::<Vec<_>>(), "in order of failure");
    type Holds = fn(&ListedDeadLetter) -> bool;
    let cases: [(DeadLetterFilter, Holds); 9] = [
        (DeadLetterFilter { stage: Some("ocr".into()), ..any() }, |row| row.letter.stage == "ocr"),
        (DeadLetterFilter { kind: Some("defect".into()), ..any() }, |row| row.letter.kind == "defect"),
        (DeadLetterFilter { code: Some("limit.time".into()), ..any() }, |row| row.letter.reason.code == "limit.time"),
        (DeadLetterFilter { document_id: Some("document-1".into()), ..any() }, |row| row.letter.offset / 10 == 1),
        (DeadLetterFilter { letter_id: Some("07".into()), ..any() }, |row| row.letter.offset == 7),
        (DeadLetterFilter { since: Some(1_010), ..any() }, |row| row.letter.failed_at >= 1_010),
        (DeadLetterFilter { until: Some(1_010), ..any() }, |row| row.letter.failed_at < 1_010),
        (DeadLetterFilter { states: vec![StateName::Open], ..any() }, |row| row.letter.offset % 4 % 3 == 0),
        (DeadLetterFilter { states: vec![StateName::Dropped, StateName::Redriving], ..any() }, |row| {
            matches!(row.letter.offset % 4, 1 | 2)
        }),
    ];
    for (filter, holds) in cases {
        let as_row = |letter: &DeadLetterRow| ListedDeadLetter { letter: letter.clone(), state: DeadLetterState::Open };
        let wanted: Vec<i64> =
            letters.iter().filter(|letter| holds(&as_row(letter))).map(|letter| letter.offset).collect();
        assert!(!wanted.is_empty() && wanted.len() < 24);
        assert_eq!(numbers(&store, filter.clone()).await, wanted, "{filter:?}");
    }
    let both = DeadLetterFilter { stage: Some("ocr".into()), since: Some(1_020), ..any() };
    assert_eq!(numbers(&store, both).await, [20, 22]);
    let foreign = DeadLetterFilter { after: Some("no token".into()), ..any() };
    assert!(store.dead_letters(&foreign).await.is_err());
    let percent = DeadLetterFilter { document_id: Some("%".into()), ..any() };
    assert_eq!(numbers(&store, percent).await, [0; 0], "no pattern");
}

pub async fn letters_are_listed_from_tenant_to_tenant(store: Any) {
    let (first, second) = (new_document().tenant, new_document().tenant);
    for tenant in [&first, &second] {
        for number in [1, 2] {
            store.put_dead_letter(&letter(tenant, number), &record(1)).await.unwrap();
        }
    }
    let of_first = DeadLetterFilter { tenant: Some(first.clone()), limit: 1, ..DeadLetterFilter::default() };
    let after = store.dead_letters(&of_first).await.unwrap().next;
    assert!(after.is_some());
    let mut filter = DeadLetterFilter { limit: 3, after, ..DeadLetterFilter::default() };
    let mut listed = Vec::new();
    loop {
        let listing = store.dead_letters(&filter).await.unwrap();
        let mine = listing.letters.into_iter().map(|row| (row.letter.key.tenant, row.letter.offset));
        listed.extend(mine.filter(|(tenant, _)| *tenant == first || *tenant == second));
        filter.after = listing.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, [(first, 2), (second.clone(), 1), (second, 2)]);
}

pub async fn a_letter_of_which_nothing_is_known_is_kept(store: Any) {
    let mut nobodys = letter("", 1);
    nobodys.key.letter_id = new_document().tenant;
    nobodys.document_id = String::new();
    store.put_dead_letter(&nobodys, &record(1)).await.unwrap();
    let filter = DeadLetterFilter {
        tenant: Some(String::new()),
        letter_id: Some(nobodys.key.letter_id.clone()),
        ..DeadLetterFilter::default()
    };
    let listed = store.dead_letters(&filter).await.unwrap().letters;
    assert_eq!(listed, [ListedDeadLetter { letter: nobodys.clone(), state: DeadLetterState::Open }]);
    assert_eq!(store.failed_record(&nobodys.key).await.unwrap(), Some(record(1)));
}

/// The numbers of all letters of a filter, a page after the other.
async fn numbers(store: &Any, mut filter: DeadLetterFilter) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        let listing = store.dead_letters(&filter).await.unwrap();
        assert!(listing.letters.len() <= filter.limit);
        all.extend(listing.letters.iter().map(|row| row.letter.offset));
        filter.after = listing.next;
        if filter.after.is_none() {
            return all;
        }
    }
}

pub async fn letters_of_an_erased_run_go_and_do_not_come_back(store: Any) {
    let tenant = new_document().tenant;
    let (erased, mut later) = (letter(&tenant, 1), letter(&tenant, 2));
    later.run = 9;
    let key = DocumentKey { tenant: tenant.clone(), document_id: erased.document_id.clone() };
    store.put_dead_letter(&erased, &record(1)).await.unwrap();
    store.erase(&key, 5).await.unwrap();
    store.put_dead_letter(&erased, &record(1)).await.unwrap();
    store.put_dead_letter(&later, &record(2)).await.unwrap();
    let filter = DeadLetterFilter { tenant: Some(tenant), limit: 9, ..DeadLetterFilter::default() };
    assert_eq!(numbers(&store, filter).await, [2]);
    assert_eq!(store.failed_record(&erased.key).await.unwrap(), None, "its bytes are gone too");
}

pub async fn the_highest_version_awaited_of_a_page_stays(store: Any) {
    let key = new_document();
    let (run, other) = (run_of(&key, 5), run_of(&key, 6));
    assert_eq!(store.awaited_pages(&run).await.unwrap(), BTreeMap::new());
    store.await_pages(&run, &BTreeMap::from([(1, 20), (2, 10)])).await.unwrap();
    store.await_pages(&run, &BTreeMap::from([(1, 10), (2, 20), (3, 5)])).await.unwrap();
    assert_eq!(store.awaited_pages(&run).await.unwrap(), BTreeMap::from([(1, 20), (2, 20), (3, 5)]));
    assert_eq!(store.awaited_pages(&other).await.unwrap(), BTreeMap::new());
    assert_eq!(store.header(&key).await.unwrap(), None, "no document comes of it");
    store.erase(&key, 5).await.unwrap();
    store.await_pages(&run, &BTreeMap::from([(1, 30)])).await.unwrap();
    assert_eq!(store.awaited_pages(&run).await.unwrap(), BTreeMap::new());
}
