//! The servers that other tests rely on do what those tests rely on.

mod cassandra;

use std::{net::TcpStream, path::Path, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
    producer::{FutureProducer, FutureRecord},
};

use crate::support::servers::{self, Broker};

const DEADLINE: Duration = Duration::from_secs(60);
const TOPIC: &str = "kept";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_killed_comes_back_with_what_it_held() {
    let mut broker = Broker::start(1).await;
    create(&broker).await;
    write(&broker).await;

    let pid = broker.pid(1).unwrap();
    broker.kill(1).await;
    assert_eq!(broker.pid(1), None);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed means gone");
    assert!(nodes(&broker, Duration::from_secs(1)).await.is_err(), "a dead broker answers");

    broker.start_again(1).await;
    assert_eq!(nodes(&broker, DEADLINE).await.unwrap(), 1);
    assert_eq!(records(&broker).await, 1, "what was acknowledged before is still there");
    write(&broker).await;
    assert_eq!(records(&broker).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_outlive_the_loss_of_one() {
    let mut broker = Broker::start(3).await;
    create(&broker).await;
    write(&broker).await;
    assert_eq!(nodes(&broker, DEADLINE).await.unwrap(), 3);

    broker.kill(2).await;
    write(&broker).await;
    assert_eq!(records(&broker).await, 2, "two of three are a majority");

    broker.start_again(2).await;
    assert_eq!(nodes(&broker, DEADLINE).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_silent_until_it_goes_on() {
    let mut broker = Broker::start(1).await;
    broker.pause(1).await;
    assert!(nodes(&broker, Duration::from_secs(1)).await.is_err());
    assert!(TcpStream::connect(broker.brokers()).is_ok(), "its port stays open");
    broker.resume(1).await;
    assert_eq!(nodes(&broker, DEADLINE).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_ends_with_its_test() {
    let mut broker = Broker::start(1).await;
    let (pid, address) = (broker.pid(1).unwrap(), broker.brokers().to_owned());
    assert!(broker.log(1).contains("Kafka Server started"));
    broker.pause(1).await;
    drop(broker);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn the_shared_servers_answer() {
    let broker = servers::shared_kafka();
    let metadata = tokio::task::spawn_blocking(move || client::<BaseConsumer>(&broker).fetch_metadata(None, DEADLINE));
    assert_eq!(metadata.await.unwrap().unwrap().brokers().len(), 1);

    let subjects = reqwest::get(format!("{}/subjects", servers::shared_registry())).await.unwrap();
    assert!(subjects.error_for_status().unwrap().json::<Vec<String>>().await.is_ok());

    let buckets = reqwest::get(servers::shared_s3()).await.unwrap();
    assert!(buckets.error_for_status().unwrap().text().await.unwrap().contains("<ListAllMyBucketsResult"));

    // Without a signature it refuses, in the words of the service.
    let containers = reqwest::get(format!("{}?comp=list", servers::shared_azure())).await.unwrap();
    assert_eq!(containers.status(), 403);
    assert!(containers.headers().contains_key("x-ms-request-id"));
}

fn client<C: FromClientConfig>(brokers: &str) -> C {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// How many brokers the cluster says it has.
async fn nodes(broker: &Broker, patience: Duration) -> KafkaResult<usize> {
    let consumer: BaseConsumer = client(broker.brokers());
    let ask = move || consumer.fetch_metadata(None, patience).map(|metadata| metadata.brokers().len());
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// Makes a topic of one partition with the broker's own replication factor.
async fn create(broker: &Broker) {
    let admin: AdminClient<DefaultClientContext> = client(broker.brokers());
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(-1));
    let made = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(DEADLINE))).await.unwrap();
    assert_eq!(made, [Ok(TOPIC.to_owned())]);
}

/// Writes one record, which every replica in sync acknowledges.
async fn write(broker: &Broker) {
    let producer: FutureProducer = client(broker.brokers());
    producer.send(FutureRecord::<(), _>::to(TOPIC).payload("x"), DEADLINE).await.unwrap();
}

/// How many records the topic holds.
async fn records(broker: &Broker) -> i64 {
    let consumer: BaseConsumer = client(broker.brokers());
    let ask = move || consumer.fetch_watermarks(TOPIC, 0, DEADLINE).unwrap().1;
    tokio::task::spawn_blocking(ask).await.unwrap()
}
