//! Readers wait for what is to come, start where they are told, and lose nothing when they are not waited for.

use std::sync::Arc;
use std::task::Poll;

use super::{Broker, LogError, LogPosition, ShardLog, append, content, drain, log_with, read, record, shard, within};
use crate::log::LogRecord;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_what_is_to_come() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 2).await;
    let mut reader = read(&log, 1, 0).await;
    assert_eq!(within(reader.try_next()).await.unwrap(), None);
    let tail = tokio::spawn(async move {
        for turn in 0..100 {
            let (position, text) = reader.next().await.unwrap().unwrap();
            assert_eq!((position.0, text), (turn, record(format!("{turn}"))));
        }
    });
    for turn in 0..100 {
        append(&log, 0, "elsewhere").await;
        assert_eq!(append(&log, 1, format!("{turn}")).await, turn);
    }
    within(tail).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_there_at_once() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    let mut reader = read(&log, 0, 0).await;
    for turn in 0..200 {
        let position = append(&log, 0, format!("{turn}")).await;
        let (found, _) = within(reader.try_next()).await.unwrap().expect("an acknowledged record is there");
        assert_eq!(found.0, position);
        assert_eq!(log.end(shard(0)).await.unwrap().0, position + 1);
        if turn % 10 == 0 {
            assert_eq!(within(reader.try_next()).await.unwrap(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_wait_loses_nothing() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    let mut reader = read(&log, 0, 0).await;
    let mut dropped = 0;
    for turn in 0..200 {
        // Dropped with nothing there, then again and again while the record is on its way.
        assert_eq!(polled_once(reader.next()).await, None);
        assert_eq!(polled_once(reader.try_next()).await, None);
        append(&log, 0, format!("{turn}")).await;
        let (position, text) = loop {
            let read =
                if dropped % 2 == 0 { polled_once(reader.next()).await } else { polled_once(reader.try_next()).await };
            match read {
                Some(record) => break record,
                None => dropped += 1,
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((position.0, text), (turn, record(format!("{turn}"))));
    }
    assert!(dropped > 0, "some waits were dropped");
    assert_eq!(within(reader.try_next()).await.unwrap(), None);
}

/// Polls a reader's wait once, and drops it.
async fn polled_once(wait: impl Future<Output = Result<Option<LogRecord>, LogError>>) -> Option<LogRecord> {
    let mut wait = std::pin::pin!(wait);
    std::future::poll_fn(|context| match wait.as_mut().poll(context) {
        Poll::Ready(read) => Poll::Ready(read.unwrap()),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_starts_again_where_it_left_off() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    for turn in 0..300 {
        append(&log, 0, format!("{turn}")).await;
    }
    let mut due = 0;
    while due < 300 {
        let mut reader = read(&log, 0, due).await;
        for _ in 0..37.min(300 - due) {
            let (position, text) = within(reader.next()).await.unwrap().unwrap();
            assert_eq!((position.0, text), (due, record(format!("{due}"))));
            due += 1;
        }
    }
    assert_eq!(log.shared.readers.clients(), 1, "a reader that has gone leaves its place to the next");
    let mut last = read(&log, 0, 300).await;
    assert_eq!(within(last.try_next()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_many_shards_share_a_client_and_two_of_one_do_not() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 16).await;
    for number in 0..16 {
        for turn in 0..20 {
            append(&log, number, format!("{number}/{turn}")).await;
        }
    }
    let opening: Vec<_> = (0..16)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { (number, log.read(shard(number), LogPosition(5)).await.unwrap()) })
        })
        .collect();
    let mut readers = Vec::new();
    for reader in opening {
        readers.push(within(reader).await.unwrap());
    }
    assert_eq!(log.shared.readers.clients(), 1);
    let mut second = read(&log, 3, 0).await;
    assert_eq!(log.shared.readers.clients(), 2);
    for (number, reader) in &mut readers {
        let expected: Vec<_> = (5..20).map(|turn| format!("{number}/{turn}")).collect();
        assert_eq!(drain(reader, 5).await, expected);
    }
    assert_eq!(drain(&mut second, 0).await.len(), 20);
    append(&log, 3, "for both").await;
    assert_eq!(within(second.next()).await.unwrap().unwrap().1, record("for both"));
    assert_eq!(within(readers[3].1.next()).await.unwrap().unwrap().1, record("for both"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_is_read_to_its_end_and_takes_nothing() {
    let broker = Broker::shared();
    let log = log_with(broker.config(), 1).await;
    let mut reader = read(&log, 0, 0).await;
    let mut waiting = read(&log, 0, 0).await;
    let waiting = tokio::spawn(async move {
        let mut count = 0;
        while waiting.next().await.unwrap().is_some() {
            count += 1;
        }
        count
    });
    let appends: Vec<_> = (0..100)
        .map(|turn| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(shard(0), record(format!("{turn}"))).await })
        })
        .collect();
    within(log.close()).await.unwrap();
    within(log.close()).await.unwrap();
    let mut acknowledged = 0;
    for append in appends {
        match within(append).await.unwrap() {
            Ok(_) => acknowledged += 1,
            Err(error) => assert!(matches!(error, LogError::Closed), "{error}"),
        }
    }
    assert_eq!(within(waiting).await.unwrap(), acknowledged);
    for _ in 0..acknowledged {
        assert!(within(reader.next()).await.unwrap().is_some());
    }
    assert_eq!(within(reader.next()).await.unwrap(), None);
    assert_eq!(content(&log, 0).await.len(), acknowledged);
    let refused = within(log.append(shard(0), record("late"))).await;
    assert!(matches!(refused, Err(LogError::Closed)));
}

#[test]
fn a_log_and_its_readers_may_outlive_the_runtime() {
    let broker = Broker::shared();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let (log, reader) = first.block_on(async {
        let log = log_with(broker.config(), 1).await;
        append(&log, 0, "kept").await;
        let mut reader = read(&log, 0, 0).await;
        assert!(within(reader.next()).await.unwrap().is_some());
        (log, reader)
    });
    drop(first);
    drop(log);
    drop(reader);
}
