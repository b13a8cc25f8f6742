//! Laws of embedding models: their vectors beside each other, what was decided about them, and their end.

use std::sync::Arc;

use deckle::store::{DocumentKey, ModelState, Query, QueryVector, Store, VectorSpace, change_models};

use crate::support::values::*;

type Any = Arc<dyn Store>;

/// A model that no other test knows, of another dimension than [`space`].
fn new_space() -> VectorSpace {
    VectorSpace { model: format!("model-{}", uuid::Uuid::now_v7()), dimension: 2, ..space() }
}

fn question_to(space: &VectorSpace, key: &DocumentKey) -> Query {
    let vector = Some(QueryVector { model: space.model.clone(), vector: vec![1.0, 0.0] });
    Query { vector, ..question(key, 9) }
}

/// Vectors that put the highest chunk first, as the ones of [`publish`] put the lowest.
fn turned(chunks: u32) -> Vec<(u32, Vec<f32>)> {
    let at = |chunk_no: u32| ((chunks - chunk_no) as f32).to_radians().sin_cos();
    (0..chunks).map(|chunk_no| (chunk_no, vec![at(chunk_no).1, at(chunk_no).0])).collect()
}

async fn put(store: &Any, key: &DocumentKey, version: i64, space: &VectorSpace, rows: &[(u32, Vec<f32>)]) {
    store.put_vectors(&run_of(key, 5), version, space, rows).await.unwrap();
    // What has those who follow the feed look again.
    store.set_current(key, &store.header(key).await.unwrap().unwrap().current.unwrap()).await.unwrap();
}

async fn give_up(store: &Any, model: &str) {
    let changed = change_models(&**store, |models| models.give_up(model, "laws", 2)).await.unwrap().unwrap();
    assert_eq!(changed.state(model), Some(ModelState::Dropped));
}

pub async fn vectors_of_two_models_stand_beside_each_other(store: Any) {
    let (key, other) = (new_document(), new_space());
    publish(&*store, &key, 5, 5, 0, 3).await;
    put(&store, &key, 5, &other, &turned(3)).await;
    let first = found(&*store, &question(&key, 9), &[(5, 0), (5, 1), (5, 2)]).await;
    let second = found(&*store, &question_to(&other, &key), &[(5, 2), (5, 1), (5, 0)]).await;
    assert_eq!((&first[0].chunk, &second[0].chunk), (&chunk(5, 5, 0), &chunk(5, 5, 2)));
    assert_eq!(store.vectors(&run_of(&key, 5), &other.model).await.unwrap(), turned(3));
    assert_eq!(store.vectors(&run_of(&key, 5), &space().model).await.unwrap().len(), 3);

    // What ends a chunk ends all its vectors; a document that goes takes those of all models along.
    store.trim_chunks(&run_of(&key, 5), 6, 1).await.unwrap();
    store.set_current(&key, &current(5, 6, 0, 1)).await.unwrap();
    found(&*store, &question_to(&other, &key), &[(5, 0)]).await;
    store.erase(&key, 5).await.unwrap();
    found(&*store, &question_to(&other, &key), &[]).await;
    assert_eq!(store.vectors(&run_of(&key, 5), &other.model).await.unwrap(), []);
}

pub async fn a_run_has_its_vectors_when_each_chunk_has_one_of_its_version(store: Any) {
    let (key, other) = (new_document(), new_space());
    publish(&*store, &key, 5, 7, 0, 3).await;
    let has =
        async |version, model: &str, chunks| store.has_vectors(&run_of(&key, 5), version, model, chunks).await.unwrap();
    assert!(has(7, &space().model, 3).await && has(6, &space().model, 2).await);
    assert!(!has(8, &space().model, 3).await, "those are of an older text");
    assert!(!has(7, &space().model, 4).await, "the last chunk has none");
    assert!(!has(7, &other.model, 3).await, "no such model");
    assert!(has(7, &other.model, 0).await, "nothing is to be embedded");
    put(&store, &key, 7, &other, &turned(3)[..2]).await;
    assert!(has(7, &other.model, 2).await && !has(7, &other.model, 3).await);
    put(&store, &key, 7, &other, &turned(3)[2..]).await;
    assert!(has(7, &other.model, 3).await);
    assert!(!store.has_vectors(&run_of(&key, 6), 7, &other.model, 3).await.unwrap(), "another run");
}

pub async fn a_dropped_model_leaves_nothing_and_takes_nothing(store: Any) {
    let (key, other) = (new_document(), new_space());
    publish(&*store, &key, 5, 5, 0, 2).await;
    put(&store, &key, 5, &other, &turned(2)).await;
    // Both of a pair know the space.
    put(&store, &key, 5, &other, &turned(2)).await;
    found(&*store, &question_to(&other, &key), &[(5, 1), (5, 0)]).await;

    give_up(&store, &other.model).await;
    store.delete_vectors(&other.model).await.unwrap();
    for late in [false, true, true] {
        if late {
            put(&store, &key, 5, &other, &turned(2)).await;
        }
        assert_eq!(store.vectors(&run_of(&key, 5), &other.model).await.unwrap(), []);
        assert!(!store.has_vectors(&run_of(&key, 5), 5, &other.model, 2).await.unwrap());
        found(&*store, &question_to(&other, &key), &[]).await;
    }
    store.delete_vectors(&other.model).await.unwrap();

    // The rest goes on as if it had never been there, with those who still know of it too.
    for version in [6, 7] {
        publish(&*store, &key, 5, version, 0, 2).await;
    }
    found(&*store, &question(&key, 9), &[(5, 0), (5, 1)]).await;
    // And it may come back, of whatever dimension.
    let built = change_models(&*store, |models| Some(models.build(&other.model, "laws", 3))).await.unwrap().unwrap();
    assert_eq!(built.state(&other.model), Some(ModelState::Building));
    put(&store, &key, 7, &other, &turned(2)).await;
    found(&*store, &question_to(&other, &key), &[(5, 1), (5, 0)]).await;
    give_up(&store, &other.model).await;
    store.delete_vectors(&other.model).await.unwrap();
}

/// Others decide about their models at the same time.
pub async fn a_decision_about_models_replaces_only_what_it_saw(store: Any) {
    let names: Vec<_> = (0..4).map(|_| new_space().model).collect();
    let decisions = names.clone().into_iter().map(|name| {
        let store = store.clone();
        tokio::spawn(
            async move { change_models(&*store, |models| Some(models.build(&name, "laws", 1))).await.unwrap() },
        )
    });
    let decided = futures::future::join_all(decisions).await;
    let first = decided.into_iter().map(|decided| decided.unwrap().unwrap()).min_by_key(|it| it.revision).unwrap();
    let now = store.models().await.unwrap();
    for name in &names {
        assert_eq!(now.state(name), Some(ModelState::Building), "a decision was lost");
    }
    let late = first.build("too late", "laws", 1);
    assert!(!store.replace_models(&first, &late).await.unwrap(), "what it saw is no more");
    assert_eq!(store.models().await.unwrap().get("too late"), None);
    for name in &names {
        give_up(&store, name).await;
    }
    assert_eq!(store.models().await.unwrap().in_state(ModelState::Active).count(), 1);
}
