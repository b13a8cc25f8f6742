//! A cluster, looked at and changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
        TopicReplication, TopicResult,
    },
    client::DefaultClientContext,
    error::KafkaError,
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};

use super::{
    alter::{self, Settings},
    backlog,
    plan::{Action, Difference, Found, FoundTopic, Plan, plan},
};
use crate::kafka::{Config, client};
use deckle_contract::{
    error::{Failure, Result},
    record::topics::TopicConfig,
};

/// A cluster that does not list its brokers for so long is away.
const ANSWER: Duration = Duration::from_secs(10);
/// A change, or a look at many records, may take so long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Brokers learn of a change from the controller one after the other; nobody announces when all have.
const LOOK: Duration = Duration::from_millis(50);

/// An administrator's connection.
pub struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    config: Config,
}

/// The outcome of applying a difference.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// The difference that was to be removed.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether it was removed.
    pub done: bool,
    /// The answer of the cluster when it was not removed.
    pub error: Option<String>,
}

impl Cluster {
    /// Prepares the connection; brokers are asked later.
    ///
    /// # Errors
    /// When librdkafka does not take the settings.
    pub fn connect(config: &Config) -> Result<Self> {
        let admin = client::admin(config).create().map_err(|error| Failure::defect(format!("log.kafka: {error}")))?;
        Ok(Self { admin: Arc::new(admin), config: config.clone() })
    }

    /// Looks at the wanted topics.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn inspect(&self, wanted: &[TopicConfig]) -> Result<Found> {
        let mut found = self.metadata(wanted).await?;
        self.read_settings(&mut found).await?;
        for topic in wanted {
            if let Some(there) = found.topics.get_mut(&topic.name).filter(|there| there.partitions < topic.partitions) {
                there.behind = self.behind(topic, there.partitions).await?;
            }
        }
        Ok(found)
    }

    /// Carries out what a plan decided, looks again whether groups are through where partitions are added, and
    /// returns when the cluster shows all of it.
    ///
    /// # Errors
    /// When the cluster does not answer. What it refused is in [`Applied::error`], difference by difference.
    pub async fn apply(&self, wanted: &[TopicConfig], plan: &Plan) -> Result<Vec<Applied>> {
        let mut refused = self.create(plan).await?;
        refused.extend(self.add_partitions(wanted, plan).await?);
        refused.extend(self.alter(plan).await?);
        let applied = |difference: &Difference| {
            let error = refused.get(&key(difference)).cloned();
            Applied { difference: difference.clone(), done: error.is_none(), error }
        };
        let applied: Vec<_> =
            plan.differences.iter().filter(|difference| difference.is_applied()).map(applied).collect();
        self.until_shown(wanted, &applied).await?;
        Ok(applied)
    }

    /// Brokers, and partitions and replicas of the wanted topics.
    async fn metadata(&self, wanted: &[TopicConfig]) -> Result<Found> {
        let admin = Arc::clone(&self.admin);
        // All topics: asking for one by name makes it, where brokers make topics by themselves.
        let fetch = move || admin.inner().fetch_metadata(None, ANSWER);
        let metadata = blocking(fetch).await?.map_err(|error| self.away(&error))?;
        let names: BTreeSet<_> = wanted.iter().map(|topic| topic.name.as_str()).collect();
        let exists = |topic: &&MetadataTopic| names.contains(topic.name()) && !topic.partitions().is_empty();
        let topics = metadata.topics().iter().filter(exists).map(|topic| {
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            let there = FoundTopic {
                partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
                replicas: u16::try_from(replicas).unwrap_or(u16::MAX),
                ..FoundTopic::default()
            };
            (topic.name().to_owned(), there)
        });
        Ok(Found { brokers: metadata.brokers().len(), topics: topics.collect() })
    }

    async fn read_settings(&self, found: &mut Found) -> Result<()> {
        if found.topics.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = found.topics.keys().cloned().collect();
        let asked: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let resources = self.admin.describe_configs(&asked, &options()).await.map_err(|error| self.away(&error))?;
        for resource in resources {
            let ConfigResource { specifier, entries } =
                resource.map_err(|code| self.away(&KafkaError::AdminOp(code)))?;
            let OwnedResourceSpecifier::Topic(name) = specifier else { continue };
            // rdkafka does not tell why a broker gives no settings of a topic; a topic always has some.
            if entries.is_empty() {
                return Err(Failure::unavailable(
                    client::DEPENDENCY,
                    format!(
                        "the broker does not tell the settings of {name}: the user needs the right to describe its \
                     configuration, or the topic was made this moment"
                    ),
                ));
            }
            if let Some(there) = found.topics.get_mut(&name) {
                there.settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
            }
        }
        Ok(())
    }

    /// The groups that have records of the topic to complete.
    async fn behind(&self, topic: &TopicConfig, partitions: u32) -> Result<BTreeSet<String>> {
        let mut behind = BTreeSet::new();
        for group in topic.consumers.iter().map(|consumer| self.config.name(consumer)) {
            let (config, name, topic) = (self.config.clone(), group.clone(), topic.name.clone());
            let look = move || backlog::is_behind(&config, &name, &topic, partitions, TIMEOUT);
            if blocking(look).await?.map_err(|error| self.away(&error))? {
                behind.insert(group);
            }
        }
        Ok(behind)
    }

    async fn create(&self, plan: &Plan) -> Result<Refused> {
        let topics: Vec<_> = plan
            .differences
            .iter()
            .filter_map(|difference| match &difference.action {
                Action::Create { partitions, replication, settings } => {
                    let partitions = i32::try_from(*partitions).unwrap_or(i32::MAX);
                    let replication = TopicReplication::Fixed(i32::from(*replication));
                    let topic = NewTopic::new(&difference.topic, partitions, replication);
                    Some(settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value)))
                }
                _ => None,
            })
            .collect();
        if topics.is_empty() {
            return Ok(Refused::new());
        }
        let results = self.admin.create_topics(&topics, &options()).await.map_err(|error| self.away(&error))?;
        Ok(refused(results, None))
    }

    async fn add_partitions(&self, wanted: &[TopicConfig], plan: &Plan) -> Result<Refused> {
        let mut refusals = Refused::new();
        let mut grown = Vec::new();
        for difference in &plan.differences {
            let Action::AddPartitions { from, to } = difference.action else { continue };
            let Some(topic) = wanted.iter().find(|topic| topic.name == difference.topic) else { continue };
            let behind = self.behind(topic, from).await?;
            if behind.is_empty() {
                grown.push(NewPartitions::new(&difference.topic, usize::try_from(to).unwrap_or(usize::MAX)));
            } else {
                let groups = behind.into_iter().collect::<Vec<_>>().join(", ");
                refusals.insert(key(difference), format!("{groups} has got records to complete since it was planned"));
            }
        }
        if !grown.is_empty() {
            let results = self.admin.create_partitions(&grown, &options()).await.map_err(|error| self.away(&error))?;
            refusals.extend(refused(results, Some("partitions")));
        }
        Ok(refusals)
    }

    /// All settings of one topic change at once: there is no moment at which a work topic is deleted from by age
    /// because only its policy has changed.
    async fn alter(&self, plan: &Plan) -> Result<Refused> {
        let mut changes: BTreeMap<String, Settings> = BTreeMap::new();
        for difference in &plan.differences {
            if let Action::Alter { setting, to, .. } = &difference.action {
                changes.entry(difference.topic.clone()).or_default().insert(setting, to.clone());
            }
        }
        if changes.is_empty() {
            return Ok(Refused::new());
        }
        let (admin, asked) = (Arc::clone(&self.admin), changes.clone());
        let failed = blocking(move || alter::alter(&admin, &asked)).await?;
        let failed = failed.map_err(|said| Failure::unavailable(client::DEPENDENCY, said))?;
        let every = |(topic, said): (String, String)| {
            let settings = changes.get(&topic).into_iter().flat_map(|settings| settings.keys()).copied();
            settings.map(|setting| ((topic.clone(), Some(setting)), said.clone())).collect::<Vec<_>>()
        };
        Ok(failed.into_iter().flat_map(every).collect())
    }

    /// Waits until nothing of what was done is still planned.
    async fn until_shown(&self, wanted: &[TopicConfig], applied: &[Applied]) -> Result<()> {
        let done: BTreeSet<_> = applied.iter().filter(|one| one.done).map(|one| key(&one.difference)).collect();
        let deadline = Instant::now() + TIMEOUT;
        while !done.is_empty() {
            // A broker that has not heard of a new topic yet gives no settings of it, which is an error otherwise.
            let late = match self.inspect(wanted).await.map(|found| plan(wanted, &found)) {
                Ok(now) => {
                    now.differences.into_iter().find(|one| one.is_applied() && done.contains(&key(one))).map(|late| {
                        Failure::transient(format!("the cluster took a change of {} and does not show it", late.topic))
                    })
                }
                Err(failure) => Some(failure),
            };
            match late {
                None => break,
                Some(failure) if Instant::now() > deadline => return Err(failure),
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
        Ok(())
    }

    fn away(&self, error: &KafkaError) -> Failure {
        let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        Failure::unavailable(
            client::DEPENDENCY,
            format!("no broker at {} answers as it should: {code}", self.config.brokers),
        )
    }
}

/// The key of a difference in a plan: its topic and its setting, if it is one of a setting.
type Key = (String, Option<&'static str>);
/// The changes that the cluster refused, with its words.
type Refused = BTreeMap<Key, String>;

fn key(difference: &Difference) -> Key {
    (difference.topic.clone(), difference.setting())
}

fn refused(results: Vec<TopicResult>, setting: Option<&'static str>) -> Refused {
    let refusal = |result: TopicResult| match result {
        // Another process applies the same; whether it made the same topic is seen when the cluster shows it.
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
        Err((topic, code)) => Some(((topic, setting), code.to_string())),
    };
    results.into_iter().filter_map(refusal).collect()
}

/// The request ends when the cluster has done it, not when it has begun.
fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

/// Runs a call of librdkafka that blocks.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(call).await.map_err(|error| Failure::defect(format!("a call of Kafka: {error}")))
}
