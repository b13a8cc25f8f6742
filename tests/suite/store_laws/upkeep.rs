//! The laws of claims, sweeps and their progress.

use std::sync::Arc;

use deckle::store::{Claim, DeadLetterFilter, Store};
use uuid::Uuid;

use super::dead_letters::new_letter;
use crate::support::values::*;

type Any = Arc<dyn Store>;

pub async fn the_first_record_claims_the_end_of_a_version(store: Any) {
    let run = run_of(&new_document(), 5);
    for (claim, winner) in [(70, 70), (70, 70), (90, 70), (60, 60), (70, 60)] {
        assert_eq!(store.claim_end(&run, 6, claim).await.unwrap(), winner, "{claim}");
    }
    assert_eq!(store.claim_end(&run, 7, 80).await.unwrap(), 80, "another version");
    assert_eq!(store.claim_end(&run_of(&run.document, 6), 6, 81).await.unwrap(), 81, "another run");
    assert_eq!(store.claim_end(&run_of(&new_document(), 5), 6, 82).await.unwrap(), 82, "another document");

    let claims = (1..=20).rev().map(|claim| {
        let (store, run) = (Arc::clone(&store), run.clone());
        tokio::spawn(async move { store.claim_end(&run, 9, claim).await.unwrap() })
    });
    let winners = futures::future::join_all(claims.collect::<Vec<_>>()).await;
    assert!(winners.into_iter().any(|winner| winner.unwrap() == 1));
    assert_eq!(store.claim_end(&run, 9, 50).await.unwrap(), 1);
}

pub async fn claims_are_kept_as_long_as_their_runs_are_not_below(store: Any) {
    // Of a time long before that of any other test, which may share the database.
    let run = run_of(&new_document(), -5);
    let tenant = &run.document.tenant;
    assert_eq!(store.claim_end(&run, -5, 70).await.unwrap(), 70);
    assert_eq!(store.claim_upload(tenant, "u", -5, "a").await.unwrap().run, -5);
    store.forget_claims_below(-5).await.unwrap();
    assert_eq!(store.claim_end(&run, -5, 80).await.unwrap(), 70);
    assert_eq!(store.claim_upload(tenant, "u", 9, "a").await.unwrap().run, -5);
}

pub async fn rows_below_a_run_are_counted_until_they_are_removed(store: Any) {
    let key = new_document();
    assert_eq!(store.rows_below(&key, 9).await.unwrap(), 0);
    for run in [5, 7] {
        publish(&*store, &key, run, run, 2, 2).await;
    }
    assert_eq!(store.rows_below(&key, 5).await.unwrap(), 0);
    assert!(store.rows_below(&key, 7).await.unwrap() >= 2 + 2 + 2, "pages, chunks and vectors");
    assert_eq!(store.header(&key).await.unwrap().unwrap().removed_below, None);
    store.remove_runs_below(&key, 7).await.unwrap();
    assert_eq!(store.rows_below(&key, 7).await.unwrap(), 0);
    let header = store.header(&key).await.unwrap().unwrap();
    assert_eq!(header.removed_below, Some(7));
    assert!(header.hides(6) && !header.hides(7) && !header.erases(6));
}

pub async fn progress_moves_only_from_what_was_seen(store: Any) {
    let sweep = Uuid::now_v7().to_string();
    assert_eq!(store.progress(&sweep).await.unwrap(), None);
    assert!(!store.advance(&sweep, Some("a"), "b").await.unwrap());
    assert!(store.advance(&sweep, None, "a").await.unwrap());
    assert!(!store.advance(&sweep, None, "b").await.unwrap());
    assert!(!store.advance(&sweep, Some("b"), "c").await.unwrap());
    assert_eq!(store.progress(&sweep).await.unwrap().as_deref(), Some("a"));
    assert!(store.advance(&sweep, Some("a"), "b").await.unwrap());
    assert_eq!(store.progress(&sweep).await.unwrap().as_deref(), Some("b"));
}

pub async fn only_a_settled_letter_is_removed(store: Any) {
    let letter = new_letter(&store).await;
    let filter = DeadLetterFilter { tenant: Some(letter.key.tenant.clone()), ..DeadLetterFilter::default() };
    let listed = async || store.dead_letters(&filter).await.unwrap().letters.len();
    store.remove_dead_letter(&letter).await.unwrap();
    assert_eq!(listed().await, 1, "open");
    let claim = Claim { id: Uuid::now_v7(), version: 20, now: 1, until: 2 };
    store.claim_redrive(&letter.key, claim).await.unwrap();
    store.remove_dead_letter(&letter).await.unwrap();
    assert_eq!(listed().await, 1, "on its way");
    store.confirm_redrive(&letter.key, 3).await.unwrap();
    for _ in 0..2 {
        store.remove_dead_letter(&letter).await.unwrap();
        assert_eq!(listed().await, 0);
    }
    assert_eq!(store.failed_record(&letter.key).await.unwrap(), None);

    let letter = new_letter(&store).await;
    store.drop_dead_letter(&letter.key, 5).await.unwrap();
    store.remove_dead_letter(&letter).await.unwrap();
    assert_eq!(store.failed_record(&letter.key).await.unwrap(), None);
}
