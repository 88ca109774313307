//! Records come out in the order in which they went in, once each.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;

use super::{Broker, KafkaLog, LogPosition, ShardLog, content, in_order, log_with, record, shard, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appenders_keep_their_order_in_every_shard() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 3).await;
    let appender = |number: u16| {
        let log = Arc::clone(&log);
        async move {
            let mut positions = Vec::new();
            for turn in 0..60 {
                let text = format!("{number}/{turn}");
                positions.push((log.append(shard(number % 3), record(text.clone())).await.unwrap().0, text));
            }
            (number, positions)
        }
    };
    let appenders: Vec<_> = (0..48).map(|number| tokio::spawn(appender(number))).collect();
    let mut acknowledged: [HashMap<u64, String>; 3] = Default::default();
    for appender in appenders {
        let (number, positions) = within(appender).await.unwrap();
        assert!(positions.is_sorted_by_key(|(position, _)| *position), "appender {number} is in order");
        acknowledged[usize::from(number % 3)].extend(positions);
    }
    for (number, acknowledged) in acknowledged.into_iter().enumerate() {
        let read = content(&log, number as u16).await;
        assert_eq!(read.len(), 16 * 60);
        for (position, text) in acknowledged {
            assert_eq!(read[position as usize], text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_follow_the_order_of_first_polls() {
    let broker = Broker::shared();
    let config = broker.config();
    log_with(config.clone(), 2).await;
    // The first appends of this process open the topic, and more of them come at once than a task may do in a turn.
    let log = within(KafkaLog::open(config)).await.unwrap();
    let positions = in_order((0..2_000).map(|index| log.append(shard(1), record(format!("{index}"))))).await;
    for (index, position) in positions.into_iter().enumerate() {
        assert_eq!(position.unwrap(), LogPosition(index as u64));
    }
    assert_eq!(content(&log, 1).await, (0..2_000).map(|index| format!("{index}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds_waits_and_arrives() {
    let broker = Broker::shared();
    let config = super::KafkaLogConfig { queue_bytes_max: 1 << 20, ..broker.config() };
    let log = log_with(config, 1).await;
    // One of them is larger than the whole queue.
    let sizes: Vec<usize> = (0..64).map(|index| if index == 20 { 3 << 20 } else { 200_000 + index }).collect();
    let appends = sizes.iter().map(|size| {
        let (log, record) = (Arc::clone(&log), record("x".repeat(*size)));
        async move { log.append(shard(0), record).await }
    });
    let appends: Vec<_> = appends.map(tokio::spawn).collect();
    let mut placed = Vec::new();
    for (append, size) in appends.into_iter().zip(&sizes) {
        placed.push((within(append).await.unwrap().unwrap().0, *size));
    }
    let read = content(&log, 0).await;
    assert_eq!(read.len(), sizes.len());
    assert!(placed.into_iter().all(|(position, size)| read[position as usize].len() == size));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_append_leaves_the_order_of_others() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    for turn in 0..50 {
        let mut dropped = log.append(shard(0), record(format!("dropped {turn}")));
        let polled = std::future::poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
        drop(polled);
        drop(dropped);
        within(log.append(shard(0), record(format!("kept {turn}")))).await.unwrap();
    }
    let read = content(&log, 0).await;
    let kept: Vec<_> = read.iter().filter(|text| text.starts_with("kept")).cloned().collect();
    assert_eq!(kept, (0..50).map(|turn| format!("kept {turn}")).collect::<Vec<_>>());
    for text in &read {
        assert_eq!(read.iter().filter(|other| *other == text).count(), 1, "{text} is there once");
    }
    assert_eq!(log.end(shard(0)).await.unwrap().0, read.len() as u64);
}
