//! Cassandra: what was acknowledged outlives a kill, and a ring holds every row as often as it was told to.

use std::{path::Path, time::Duration};

use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::{Consistency, Statement},
};

use crate::support::servers::{self, Cassandra};

/// A node that lacks others for an answer waits longer for them; one that lacks none has long answered.
const REFUSAL: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_comes_back_with_what_it_held() {
    let mut node = Cassandra::start(1).await;
    let session = connect(node.nodes()).await;
    create(&session, 1).await;
    write(&session, 1, Consistency::One).await.unwrap();

    let pid = node.pid(1).unwrap();
    node.kill(1).await;
    assert_eq!(node.pid(1), None);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed means gone");
    assert!(write(&session, 2, Consistency::One).await.is_err(), "a dead node answers");

    node.start_again(1).await;
    let session = connect(node.nodes()).await;
    assert_eq!(rows(&session, Consistency::One).await, [1], "what was acknowledged before is still there");
    write(&session, 2, Consistency::One).await.unwrap();
    assert_eq!(rows(&session, Consistency::One).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_two_holds_every_row_twice() {
    let mut ring = Cassandra::start(2).await;
    let session = connect(ring.nodes()).await;
    create(&session, 2).await;
    write(&session, 1, Consistency::All).await.unwrap();

    ring.kill(2).await;
    let alone = tokio::time::timeout(REFUSAL, write(&session, 2, Consistency::Quorum)).await;
    assert!(!matches!(alone, Ok(Ok(()))), "one of two is no majority");
    write(&session, 3, Consistency::One).await.unwrap();

    ring.start_again(2).await;
    let session = connect(ring.nodes()).await;
    let kept = rows(&session, Consistency::All).await;
    assert!(kept.contains(&1) && kept.contains(&3), "{kept:?}: what one node holds, a ready ring gives");
    write(&session, 4, Consistency::All).await.unwrap();
}

#[tokio::test]
async fn the_shared_node_is_a_cassandra_5() {
    let session = connect(&servers::shared_cassandra()).await;
    let answer = session.query_unpaged("SELECT release_version FROM system.local", ()).await.unwrap();
    let (version,) = answer.into_rows_result().unwrap().single_row::<(String,)>().unwrap();
    assert!(version.starts_with("5."), "{version}");
}

async fn connect(nodes: &str) -> Session {
    SessionBuilder::new().known_nodes(nodes.split(',')).build().await.unwrap()
}

async fn create(session: &Session, replicas: usize) {
    let keyspace = format!(
        "CREATE KEYSPACE kept WITH replication = {{'class': 'NetworkTopologyStrategy', 'replication_factor': {replicas}}}"
    );
    session.query_unpaged(keyspace, ()).await.unwrap();
    session.query_unpaged("CREATE TABLE kept.numbers (number int PRIMARY KEY)", ()).await.unwrap();
}

async fn write(session: &Session, number: i32, consistency: Consistency) -> Result<(), Box<dyn std::error::Error>> {
    let mut statement = Statement::new("INSERT INTO kept.numbers (number) VALUES (?)");
    statement.set_consistency(consistency);
    session.query_unpaged(statement, (number,)).await?;
    Ok(())
}

async fn rows(session: &Session, consistency: Consistency) -> Vec<i32> {
    let mut statement = Statement::new("SELECT number FROM kept.numbers");
    statement.set_consistency(consistency);
    let answer = session.query_unpaged(statement, ()).await.unwrap().into_rows_result().unwrap();
    let mut numbers: Vec<_> = answer.rows::<(i32,)>().unwrap().map(|row| row.unwrap().0).collect();
    numbers.sort_unstable();
    numbers
}
