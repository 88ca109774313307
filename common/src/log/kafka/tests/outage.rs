//! A broker that goes away delays and doubles nothing, and what fails says so in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{Broker, KafkaLog, KafkaLogConfig, LogError, LogPosition, LogReader, ShardLog};
use super::{append, content, drain, log_with, next, read, record, shard, within};

/// Runs what waits for a process.
async fn blocking(call: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(call).await.unwrap();
}

fn impatient(broker: &Broker) -> KafkaLogConfig {
    let (request_timeout, append_timeout) = (Duration::from_secs(2), Duration::from_secs(3));
    KafkaLogConfig { request_timeout, append_timeout, ..broker.config() }
}

/// Checks that every acknowledged record is where it was said to be, and that none is there twice.
fn check_content(content: &[String], acknowledged: &HashMap<u64, String>) {
    let mut seen = HashMap::new();
    for (position, text) in content.iter().enumerate() {
        let before = seen.insert(text, position);
        assert_eq!(before, None, "{text} is there twice");
    }
    for (position, text) in acknowledged {
        assert_eq!(content.get(*position as usize), Some(text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_unavailable_in_time() {
    let broker = Arc::new(Broker::start());
    let log = log_with(impatient(&broker), 2).await;
    append(&log, 0, "before").await;
    let mut tail = read(&log, 0, 1).await;
    let tail = tokio::spawn(async move { (next(&mut tail).await.unwrap(), tail) });
    let mut behind = read(&log, 0, 0).await;
    assert!(within(behind.try_next()).await.unwrap().is_some());
    let down = Arc::clone(&broker);
    blocking(move || down.down()).await;

    let started = tokio::time::Instant::now();
    let errors = within(async {
        tokio::join!(
            async { log.append(shard(0), record("unknown")).await.err() },
            async { log.end(shard(0)).await.err() },
            async { log.start(shard(0)).await.err() },
            async { log.read(shard(0), LogPosition(0)).await.err() },
            async { log.truncate(shard(0), LogPosition(0)).await.err() },
            async { behind.try_next().await.err() },
            async { log.create_collection(super::CollectionId(9), 1).await.err() },
            async { KafkaLog::open(impatient(&broker)).await.err() },
        )
    })
    .await;
    let (append, end, start, read, truncate, try_next, create, open) = errors;
    for error in [append, end, start, read, truncate, try_next, create, open] {
        assert!(matches!(error, Some(LogError::Unavailable { .. })), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());

    let up = Arc::clone(&broker);
    blocking(move || up.up()).await;
    let appended = async {
        loop {
            match log.append(shard(0), record("after")).await {
                Ok(position) => return position,
                Err(error) => assert!(matches!(error, LogError::Unavailable { .. }), "{error}"),
            }
        }
    };
    let position = within(appended).await;
    let (first, mut tail) = within(tail).await.unwrap();
    assert_eq!(first.0, LogPosition(1), "a reader goes on where it was");
    let mut tailed = vec![String::from_utf8(first.1.to_vec()).unwrap()];
    tailed.extend(drain(&mut tail, 2).await);
    assert_eq!(drain(&mut behind, 1).await, tailed);
    assert_eq!(tailed[position.0 as usize - 1], "after");
    assert!(tailed.iter().filter(|text| *text == "unknown").count() <= 1);
}

/// What happens to a broker.
enum Mishap {
    Restart,
    Kill,
    /// It takes requests, and answers them much later.
    Freeze,
}

/// Appenders and readers that go on whatever happens, until they are told to end.
#[derive(Clone)]
struct Load {
    log: Arc<KafkaLog>,
    ended: Arc<AtomicBool>,
    /// How many appends were not acknowledged in time.
    unknown: watch::Sender<u64>,
}

impl Load {
    /// Appends texts of its own, one by one, and returns those acknowledged.
    async fn append(self, number: u16) -> (u16, HashMap<u64, String>) {
        let mut acknowledged = HashMap::new();
        for turn in 0.. {
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            let text = format!("{number}/{turn}/{}", "x".repeat(usize::from(number) * 300));
            match self.log.append(shard(number % 2), record(text.clone())).await {
                Ok(position) => drop(acknowledged.insert(position.0, text)),
                Err(LogError::Unavailable { .. }) => self.unknown.send_modify(|count| *count += 1),
                Err(error) => panic!("{error}"),
            }
        }
        (number % 2, acknowledged)
    }

    /// Reads until the log is closed, and returns what it read.
    async fn tail(mut reader: LogReader) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some((position, text)) = next(&mut reader).await {
            assert_eq!(position.0, texts.len() as u64);
            texts.push(String::from_utf8(text.to_vec()).unwrap());
        }
        texts
    }

    /// Lets something happen to the broker, once there is load on it, and waits until it answers again.
    async fn suffer(&self, broker: &Arc<Broker>, mishap: Mishap) {
        let end = within(self.end()).await;
        within(async { while self.end().await < end + 1_000 {} }).await;
        let sufferer = Arc::clone(broker);
        let again = |stop: fn(&Broker)| {
            blocking(move || {
                stop(&sufferer);
                sufferer.up();
            })
        };
        match mishap {
            Mishap::Restart => again(Broker::down).await,
            Mishap::Kill => again(|broker| (broker.signal("-KILL"), broker.down()).1).await,
            Mishap::Freeze => {
                broker.signal("-STOP");
                // Every appender waits in vain, twice.
                let vain = *self.unknown.borrow() + 32;
                within(self.unknown.subscribe().wait_for(|count| *count >= vain)).await.unwrap();
                broker.signal("-CONT");
            }
        }
        within(self.end()).await;
    }

    /// The end of a shard, however often the log is not available.
    async fn end(&self) -> u64 {
        loop {
            match self.log.end(shard(0)).await {
                Ok(end) => return end.0,
                Err(LogError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Appends to a shard until that is acknowledged: all that was sent before it is settled then.
    async fn settle(&self, number: u16) -> (u64, String) {
        for turn in 0.. {
            let text = format!("settled {number}/{turn}");
            match self.log.append(shard(number), record(text.clone())).await {
                Ok(position) => return (position.0, text),
                Err(LogError::Unavailable { .. }) => self.unknown.send_modify(|count| *count += 1),
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!("the loop ends when it is acknowledged")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_doubled() {
    let broker = Arc::new(Broker::start());
    let log = log_with(impatient(&broker), 2).await;
    let load = Load { log: Arc::clone(&log), ended: Arc::default(), unknown: watch::Sender::new(0) };
    let appenders: Vec<_> = (0..16).map(|number| tokio::spawn(load.clone().append(number))).collect();
    let tails = [read(&log, 0, 0).await, read(&log, 1, 0).await];
    let tails = tails.map(|reader| tokio::spawn(Load::tail(reader)));
    for mishap in [Mishap::Restart, Mishap::Freeze, Mishap::Kill] {
        load.suffer(&broker, mishap).await;
    }
    load.ended.store(true, Ordering::Release);
    let mut acknowledged: [HashMap<u64, String>; 2] = Default::default();
    for appender in appenders {
        let (number, positions) = within(appender).await.unwrap();
        acknowledged[usize::from(number)].extend(positions);
    }
    // What was not acknowledged in time may be on its way still.
    for number in 0..2 {
        let (position, text) = within(load.settle(number)).await;
        acknowledged[usize::from(number)].insert(position, text);
    }
    within(log.close()).await.unwrap();
    let unknown = *load.unknown.borrow();
    for (number, (tail, acknowledged)) in tails.into_iter().zip(acknowledged).enumerate() {
        let texts = within(tail).await.unwrap();
        assert!(texts == content(&log, number as u16).await, "a tail saw the same");
        assert!(acknowledged.len() > 1_000 && texts.len() as u64 <= acknowledged.len() as u64 + unknown);
        check_content(&texts, &acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_gave_up_is_replaced() {
    let broker = Broker::shared();
    let log = log_with(impatient(&broker), 1).await;
    let mut acknowledged = HashMap::new();
    for turn in 0..30 {
        if turn % 10 == 5 {
            log.shared.producer.fail();
        }
        let text = format!("{turn}");
        // librdkafka tells of its failure through the same queue as of deliveries, so one append may meet it.
        match within(log.append(shard(0), record(text.clone()))).await {
            Ok(position) => drop(acknowledged.insert(position.0, text)),
            Err(error) => assert!(matches!(error, LogError::Unavailable { .. }), "{error}"),
        }
    }
    assert!(acknowledged.len() >= 27, "{} of 30", acknowledged.len());
    check_content(&content(&log, 0).await, &acknowledged);
}
