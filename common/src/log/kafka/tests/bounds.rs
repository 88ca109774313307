//! Where a shard begins and ends, and what is refused beyond.

use super::{
    Broker, CollectionId, KafkaLogConfig, LogError, LogPosition, ShardId, ShardLog, append, content, drain, log_with,
    read, record, shard, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_was_never_written_is_past_the_end() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    assert_eq!(within(log.start(shard(0))).await.unwrap(), LogPosition(0));
    assert_eq!(within(log.end(shard(0))).await.unwrap(), LogPosition(0));
    let error = within(log.read(shard(0), LogPosition(1))).await.unwrap_err();
    assert!(matches!(error, LogError::PastEnd { asked: LogPosition(1), end: LogPosition(0), .. }), "{error}");
    append(&log, 0, "first").await;
    assert_eq!(drain(&mut read(&log, 0, 1).await, 1).await, Vec::<String>::new());
    let error = within(log.read(shard(0), LogPosition(2))).await.unwrap_err();
    assert!(matches!(error, LogError::PastEnd { end: LogPosition(1), .. }), "{error}");
    let error = within(log.read(shard(0), LogPosition(u64::MAX))).await.unwrap_err();
    assert!(matches!(error, LogError::PastEnd { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_shard_begins_later() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 2).await;
    for turn in 0..50 {
        append(&log, 0, format!("{turn}")).await;
        append(&log, 1, format!("{turn}")).await;
    }
    let bounds = async || (log.start(shard(0)).await.unwrap().0, log.end(shard(0)).await.unwrap().0);
    within(log.truncate(shard(0), LogPosition(0))).await.unwrap();
    assert_eq!(bounds().await, (0, 50));
    within(log.truncate(shard(0), LogPosition(20))).await.unwrap();
    assert_eq!(bounds().await, (20, 50));
    within(log.truncate(shard(0), LogPosition(10))).await.unwrap();
    assert_eq!(bounds().await, (20, 50), "a start never moves back");
    let error = within(log.read(shard(0), LogPosition(19))).await.unwrap_err();
    assert!(matches!(error, LogError::Truncated { asked: LogPosition(19), start: LogPosition(20), .. }), "{error}");
    assert_eq!(drain(&mut read(&log, 0, 20).await, 20).await.len(), 30);
    let error = within(log.truncate(shard(0), LogPosition(51))).await.unwrap_err();
    assert!(matches!(error, LogError::PastEnd { asked: LogPosition(51), end: LogPosition(50), .. }), "{error}");
    within(log.truncate(shard(0), LogPosition(50))).await.unwrap();
    assert_eq!(bounds().await, (50, 50));
    assert_eq!(append(&log, 0, "after").await, 50, "positions go on behind what was dropped");
    assert_eq!(drain(&mut read(&log, 0, 50).await, 50).await, ["after"]);
    assert_eq!(content(&log, 1).await.len(), 50, "another shard keeps its records");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_the_log_was_truncated_past_is_told() {
    let broker = Broker::shared();
    // Too little is fetched ahead to know what comes after.
    let config = KafkaLogConfig { reader_bytes_max: 1 << 20, fetch_bytes_max: 1 << 20, ..broker.config() };
    let log = log_with(config, 1).await;
    for turn in 0..40 {
        append(&log, 0, format!("{turn}").repeat(200_000)).await;
    }
    for waits in [true, false] {
        let mut reader = read(&log, 0, log.start(shard(0)).await.unwrap().0).await;
        within(reader.next()).await.unwrap();
        let below = if waits { 30 } else { 40 };
        within(log.truncate(shard(0), LogPosition(below))).await.unwrap();
        let told = async {
            loop {
                let read = if waits { reader.next().await } else { reader.try_next().await };
                match read {
                    Ok(Some((position, _))) => assert!(position.0 < below, "{position} was fetched before"),
                    Ok(None) => panic!("a truncated reader is not at the end"),
                    Err(error) => return (error, reader),
                }
            }
        };
        let (error, mut reader) = within(told).await;
        assert!(matches!(error, LogError::Truncated { start, .. } if start.0 == below), "{error}");
        let again = within(reader.next()).await.unwrap_err();
        assert!(matches!(again, LogError::Truncated { .. }), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_up_to_the_largest_pass_and_larger_ones_do_not() {
    let broker = Broker::shared();
    let config = broker.config();
    let bytes_max = config.record_bytes_max;
    let log = log_with(config, 1).await;
    let largest = record("x".repeat(bytes_max as usize));
    let error = within(log.append(shard(0), [&largest[..], b"x"].concat().into())).await.unwrap_err();
    let expected = bytes_max;
    assert!(matches!(error, LogError::RecordTooLarge { bytes_max, .. } if bytes_max == expected), "{error}");
    assert_eq!(within(log.append(shard(0), largest.clone())).await.unwrap(), LogPosition(0));
    append(&log, 0, "").await;
    append(&log, 0, "small").await;
    let mut reader = read(&log, 0, 0).await;
    assert!(within(reader.next()).await.unwrap().unwrap().1 == largest, "the largest record comes back as it was");
    assert_eq!(drain(&mut reader, 1).await, ["", "small"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_named() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 2).await;
    let beyond = shard(2);
    let missing = ShardId { collection: CollectionId(8), shard: 0 };
    for (asked, name) in [(beyond, "2 shards"), (missing, "c8")] {
        let errors = [
            within(log.append(asked, record("lost"))).await.unwrap_err(),
            within(log.read(asked, LogPosition(0))).await.unwrap_err(),
            within(log.end(asked)).await.unwrap_err(),
            within(log.start(asked)).await.unwrap_err(),
            within(log.truncate(asked, LogPosition(0))).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, LogError::NoSuchShard { .. } | LogError::MissingTopic { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
