//! Who is let in by a real Cassandra that wants TLS with certificates on both sides and a login.

use deckle::{
    contract::error::{Failure, Result},
    store::{
        Store,
        cql::{Config, CqlStore, Password, migrations},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{servers::Cassandra, values::*};

/// Writes and reads one page in a keyspace of its own.
async fn try_out(config: Config) -> Result<()> {
    migrations::apply(&config, migrations::ALL).await?;
    let store = CqlStore::open(config)?;
    let run = run_of(&new_document(), 5);
    store.put_page(&run, &page(1, 5)).await?;
    assert_eq!(store.pages(&run).await?, [page(1, 5)]);
    Ok(())
}

async fn assert_kept_out(what: &str, config: Config) {
    let answer = try_out(Config { retry_ms: 0, connect_ms: 3_000, request_ms: 3_000, ..config }).await;
    assert!(
        matches!(&answer, Err(Failure::Unavailable { dependency, .. }) if dependency == "scylla"),
        "{what}: {answer:?}"
    );
    assert_eq!(answer.unwrap_err().to_string().lines().count(), 1, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_is_trusted_and_known_gets_in_and_only_to_the_right_node() {
    let node = Cassandra::start_secured().await;
    let file = |name: &str| Some(node.certificates().join(name));
    let known = Config {
        nodes: node.nodes().to_owned(),
        replication_factor: 1,
        user: Some("cassandra".to_owned()),
        password: Some(Password::from("cassandra".to_owned())),
        tls: true,
        ca: file("ca.pem"),
        certificate: file("client.pem"),
        key: file("client.key"),
        ..Config::default()
    };
    try_out(known.clone()).await.unwrap();

    let plain = Config { tls: false, ca: None, certificate: None, key: None, ..known.clone() };
    assert_kept_out("no encryption", plain).await;
    assert_kept_out("no certificate", Config { certificate: None, key: None, ..known.clone() }).await;
    assert_kept_out("a node of an unknown authority", Config { ca: file("other-ca.pem"), ..known.clone() }).await;
    let password = Some(Password::from("guessed".to_owned()));
    assert_kept_out("a wrong password", Config { password, ..known.clone() }).await;
    assert_kept_out("no login", Config { user: None, password: None, ..known.clone() }).await;
    // The same node where its certificate does not say that it is.
    let elsewhere = forward("127.0.0.2:0", known.nodes.clone()).await;
    assert_kept_out("a node at an address that is not in its certificate", Config { nodes: elsewhere, ..known }).await;
}

/// Hands connections on; returns where they are taken.
async fn forward(from: &str, to: String) -> String {
    let listener = TcpListener::bind(from).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(&to).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    address
}
