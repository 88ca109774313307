//! Collections are created once, whoever asks, and topics that are no logs are refused.

use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use super::{Broker, COLLECTION, CollectionId, KafkaLog, KafkaLogConfig, LogError, append, content, log_with, within};
use crate::log::ShardLog;
use crate::log::kafka::registry::REGISTRY;

/// A client beside the log's, for what others may do to its topics.
pub(super) fn stranger(config: &KafkaLogConfig) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap()
}

/// Makes a topic as others would.
pub(super) async fn make_topic(config: &KafkaLogConfig, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let new = NewTopic { config: settings.to_vec(), ..NewTopic::new(name, partitions, TopicReplication::Fixed(1)) };
    let options = AdminOptions::new().operation_timeout(Some(super::DEADLINE));
    let made = within(stranger(config).create_topics([&new], &options)).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_created_once_whoever_asks() {
    let broker = Broker::shared();
    let config = broker.config();
    let opening: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move {
                let log = KafkaLog::open(config).await.unwrap();
                log.create_collection(COLLECTION, 3).await.unwrap();
                log
            })
        })
        .collect();
    let mut logs = Vec::new();
    for log in opening {
        logs.push(within(log).await.unwrap());
    }
    for (number, log) in logs.iter().enumerate() {
        assert_eq!(log.incarnation(), logs[0].incarnation());
        assert_ne!(log.incarnation().0, 0);
        within(log.create_collection(COLLECTION, 3)).await.unwrap();
        let error = within(log.create_collection(COLLECTION, 4)).await.unwrap_err();
        assert!(matches!(error, LogError::TopicSetting { .. }), "{error}");
        assert_eq!(append(log, 2, format!("{number}")).await, number as u64);
    }
    assert_eq!(content(&logs[0], 2).await, ["0", "1", "2", "3"]);
    let again = within(KafkaLog::open(config)).await.unwrap();
    assert_eq!(again.incarnation(), logs[0].incarnation());
    assert_eq!(content(&again, 2).await.len(), 4);
    let other = within(KafkaLog::open(broker.config())).await.unwrap();
    assert_ne!(other.incarnation(), again.incarnation());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_finds_collections_that_others_create() {
    let broker = Broker::shared();
    let config = broker.config();
    let reading = within(KafkaLog::open(config.clone())).await.unwrap();
    let missing = within(reading.end(super::shard(0))).await.unwrap_err();
    assert!(matches!(missing, LogError::MissingTopic { .. }), "{missing}");
    let writing = Arc::clone(&log_with(config, 1).await);
    append(&writing, 0, "found").await;
    assert_eq!(content(&reading, 0).await, ["found"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_no_logs_are_refused() {
    let broker = Broker::shared();
    let config = broker.config();
    let log = within(KafkaLog::open(config.clone())).await.unwrap();
    let keeping = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "2000000")];
    let cases = [
        (1, "retention.ms", vec![("retention.ms", "604800000")], 2),
        (2, "cleanup.policy", vec![("cleanup.policy", "compact")], 2),
        (3, "max.message.bytes", [&keeping[..2], &[("max.message.bytes", "1000")]].concat(), 2),
        (4, "partitions", keeping.to_vec(), 3),
    ];
    for (collection, name, settings, partitions) in cases {
        let topic = format!("{}.c{collection}", config.prefix);
        make_topic(&config, &topic, partitions, &settings).await;
        let error = within(log.create_collection(CollectionId(collection), 2)).await.unwrap_err();
        assert!(matches!(&error, LogError::TopicSetting { setting, .. } if *setting == name), "{error}");
        assert!(error.to_string().contains(&topic), "{error}");
    }
    let topic = format!("{}.c5", config.prefix);
    make_topic(&config, &topic, 2, &keeping).await;
    within(log.create_collection(CollectionId(5), 2)).await.unwrap();
    let shard = super::ShardId { collection: CollectionId(5), shard: 0 };
    let error = within(log.append(shard, vec![0; 2_000_000].into())).await.unwrap_err();
    assert!(matches!(error, LogError::RecordTooLarge { .. }), "a topic may take less than the log: {error}");
    within(log.append(shard, vec![0; 1_900_000].into())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused() {
    let broker = Broker::shared();
    let log = within(KafkaLog::open(broker.config())).await.unwrap();
    for (collection, shards) in [(REGISTRY, 1), (COLLECTION, 0)] {
        let error = within(log.create_collection(collection, shards)).await.unwrap_err();
        assert!(matches!(error, LogError::Setting { .. }), "{error}");
    }
    let mut config = broker.config();
    config.properties.insert("no.such.property".to_owned(), "1".to_owned());
    let error = within(KafkaLog::open(config)).await.unwrap_err();
    assert!(matches!(error, LogError::Refused { .. }) && error.to_string().contains("no.such.property"), "{error}");
}
