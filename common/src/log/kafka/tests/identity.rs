//! A topic that was deleted and made again is not mistaken for the first.

use std::time::Duration;

use rdkafka::admin::AdminOptions;

use super::creation::{make_topic, stranger};
use super::{Broker, COLLECTION, KafkaLog, KafkaLogConfig, LogError, LogPosition, ShardLog};
use super::{append, log_with, read, record, shard, within};

const FIT: [(&str, &str); 3] = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("max.message.bytes", "2000000")];

fn watchful(broker: &Broker) -> KafkaLogConfig {
    KafkaLogConfig { identity_check_interval: Duration::from_millis(100), ..broker.config() }
}

fn topic(config: &KafkaLogConfig) -> String {
    format!("{}.c{}", config.prefix, COLLECTION.0)
}

/// Deletes the topic, and waits until the brokers have forgotten it.
async fn delete(config: &KafkaLogConfig) {
    let admin = stranger(config);
    let options = AdminOptions::new().operation_timeout(Some(super::DEADLINE));
    let deleted = within(admin.delete_topics(&[&topic(config)], &options)).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_stops_appends_and_readers() {
    let broker = Broker::shared();
    let config = watchful(&broker);
    let log = log_with(config.clone(), 1).await;
    for turn in 0..10 {
        append(&log, 0, format!("{turn}")).await;
    }
    let mut waiting = read(&log, 0, 10).await;
    let waiting = tokio::spawn(async move { waiting.next().await });
    delete(&config).await;
    make_topic(&config, &topic(&config), 1, &FIT).await;
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, LogError::OtherIncarnation { .. }), "{error}");
    let errors = [
        within(log.append(shard(0), record("lost"))).await.unwrap_err(),
        within(log.end(shard(0))).await.unwrap_err(),
        within(log.read(shard(0), LogPosition(0))).await.unwrap_err(),
        within(log.truncate(shard(0), LogPosition(0))).await.unwrap_err(),
        within(log.create_collection(COLLECTION, 1)).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, LogError::OtherIncarnation { .. }), "{error}");
    }
    // Another process, now or later, is told too.
    let again = within(KafkaLog::open(config)).await.unwrap();
    for error in [
        within(again.append(shard(0), record("lost"))).await.unwrap_err(),
        within(again.read(shard(0), LogPosition(0))).await.unwrap_err(),
        within(again.create_collection(COLLECTION, 1)).await.unwrap_err(),
    ] {
        assert!(matches!(error, LogError::OtherIncarnation { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_into_a_topic_made_again_is_not_acknowledged() {
    let broker = Broker::shared();
    // Nobody watches, so only what is acknowledged tells.
    let config = KafkaLogConfig { identity_check_interval: Duration::from_secs(3_000), ..broker.config() };
    let log = log_with(config.clone(), 1).await;
    for turn in 0..10 {
        append(&log, 0, format!("{turn}")).await;
    }
    delete(&config).await;
    make_topic(&config, &topic(&config), 1, &FIT).await;
    let error = within(log.append(shard(0), record("lost"))).await.unwrap_err();
    assert!(matches!(error, LogError::LostRecords { .. }), "{error}");
    let error = within(log.end(shard(0))).await.unwrap_err();
    assert!(matches!(error, LogError::LostRecords { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_below_what_was_acknowledged_is_a_loss() {
    let broker = Broker::shared();
    let config = KafkaLogConfig { identity_check_interval: Duration::from_secs(3_000), ..broker.config() };
    let log = log_with(config.clone(), 1).await;
    append(&log, 0, "kept").await;
    delete(&config).await;
    make_topic(&config, &topic(&config), 1, &FIT).await;
    let error = within(log.end(shard(0))).await.unwrap_err();
    assert!(matches!(error, LogError::LostRecords { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_is_missing() {
    let broker = Broker::shared();
    let config = KafkaLogConfig {
        request_timeout: Duration::from_secs(2),
        append_timeout: Duration::from_secs(2),
        ..watchful(&broker)
    };
    let log = log_with(config.clone(), 1).await;
    append(&log, 0, "gone").await;
    delete(&config).await;
    let error = within(log.read(shard(0), LogPosition(0))).await.unwrap_err();
    assert!(matches!(error, LogError::MissingTopic { .. }), "{error}");
    let error = within(log.create_collection(COLLECTION, 1)).await.unwrap_err();
    assert!(matches!(error, LogError::MissingTopic { .. }), "a lost log is not replaced by an empty one: {error}");
    let error = within(log.append(shard(0), record("lost"))).await.unwrap_err();
    assert!(matches!(error, LogError::Unavailable { .. }), "{error}");
    let again = within(KafkaLog::open(config)).await.unwrap();
    let error = within(again.append(shard(0), record("lost"))).await.unwrap_err();
    assert!(matches!(error, LogError::MissingTopic { .. }), "{error}");
}
