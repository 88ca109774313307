//! Random operations against a log and a list at once: both must answer the same.

use std::sync::Arc;

use super::{Broker, KafkaLog, KafkaLogConfig, LogError, LogPosition, LogReader, ShardLog};
use super::{in_order, log_with, record, shard, within};
use crate::random::SeededRandom;

const SHARDS: u16 = 3;

const OPERATIONS: u32 = 400;

/// What a shard should hold: every text ever appended, and the first position that can be read.
#[derive(Default)]
struct Model {
    texts: Vec<String>,
    start: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.texts.len() as u64
    }
}

/// A reader and the position that is due.
type Reading = (u16, LogReader, u64);

struct Run {
    log: Arc<KafkaLog>,
    config: KafkaLogConfig,
    random: SeededRandom,
    models: [Model; SHARDS as usize],
    readers: Vec<Reading>,
}

impl Run {
    async fn step(&mut self) {
        let number = self.random.below(u64::from(SHARDS)) as u16;
        match self.random.below(100) {
            0..30 => self.append(number, 1).await,
            30..40 => {
                let count = 2 + self.random.below(30);
                self.append(number, count).await;
            }
            40..55 => self.open(number).await,
            55..80 => self.advance().await,
            80..90 => self.truncate(number).await,
            90..97 => self.bounds(number).await,
            97..99 if !self.readers.is_empty() => {
                let gone = self.random.below(self.readers.len() as u64) as usize;
                drop(self.readers.swap_remove(gone));
            }
            _ => {
                // Another process opens the log; readers of the first go on.
                self.log = Arc::new(within(KafkaLog::open(self.config.clone())).await.unwrap());
            }
        }
    }

    async fn append(&mut self, number: u16, count: u64) {
        let model = &mut self.models[usize::from(number)];
        let first = model.end();
        for index in 0..count {
            let length_max = if self.random.chance(1, 50) { 300_000 } else { 200 };
            let length = self.random.below(length_max) as usize;
            model.texts.push(format!("{number}/{}/{}", first + index, "x".repeat(length)));
        }
        let records = model.texts[first as usize..].iter().map(|text| record(text.clone()));
        let positions = in_order(records.map(|record| self.log.append(shard(number), record))).await;
        let positions: Vec<u64> = positions.into_iter().map(|position| position.unwrap().0).collect();
        assert_eq!(positions, (first..first + count).collect::<Vec<_>>());
    }

    async fn open(&mut self, number: u16) {
        let model = &self.models[usize::from(number)];
        let from = self.random.below(model.end() + 3).saturating_sub(1);
        match within(self.log.read(shard(number), LogPosition(from))).await {
            Ok(reader) => {
                assert!((model.start..=model.end()).contains(&from));
                self.readers.push((number, reader, from));
            }
            Err(LogError::Truncated { start, .. }) => assert!(from < model.start && start.0 == model.start),
            Err(LogError::PastEnd { end, .. }) => assert!(from > model.end() && end.0 == model.end()),
            Err(error) => panic!("{error}"),
        }
        if self.readers.len() > 6 {
            let gone = self.random.below(6) as usize;
            drop(self.readers.swap_remove(gone));
        }
    }

    async fn advance(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let chosen = self.random.below(self.readers.len() as u64) as usize;
        for _ in 0..self.random.below(40) {
            let (number, reader, due) = &mut self.readers[chosen];
            let model = &self.models[usize::from(*number)];
            // What is there may be waited for, what is not may not.
            let waits = *due < model.end() && self.random.chance(1, 2);
            let read = if waits { within(reader.next()).await } else { within(reader.try_next()).await };
            match read {
                Ok(Some((position, text))) => {
                    assert_eq!((position.0, &text[..]), (*due, model.texts[*due as usize].as_bytes()));
                    *due += 1;
                }
                Ok(None) => {
                    assert_eq!(*due, model.end());
                    return;
                }
                Err(LogError::Truncated { asked, start, .. }) => {
                    assert!(asked.0 == *due && *due < model.start && start.0 == model.start);
                    drop(self.readers.swap_remove(chosen));
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn truncate(&mut self, number: u16) {
        let model = &mut self.models[usize::from(number)];
        let below = self.random.below(model.end() + 2);
        match within(self.log.truncate(shard(number), LogPosition(below))).await {
            Ok(()) => {
                assert!(below <= model.end());
                model.start = model.start.max(below);
            }
            Err(LogError::PastEnd { end, .. }) => assert!(below > model.end() && end.0 == model.end()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn bounds(&mut self, number: u16) {
        let model = &self.models[usize::from(number)];
        assert_eq!(within(self.log.start(shard(number))).await.unwrap().0, model.start);
        assert_eq!(within(self.log.end(shard(number))).await.unwrap().0, model.end());
    }
}

async fn check(seed: u64) {
    let broker = Broker::shared();
    let config = KafkaLogConfig { reader_bytes_max: 1 << 20, ..broker.config() };
    let log = log_with(config.clone(), SHARDS).await;
    let models = Default::default();
    let mut run = Run { log, config, random: SeededRandom::new(seed), models, readers: Vec::new() };
    for _ in 0..OPERATIONS {
        run.step().await;
    }
    for number in 0..SHARDS {
        let model = &run.models[usize::from(number)];
        let mut reader = super::read(&run.log, number, model.start).await;
        let rest = super::drain(&mut reader, model.start).await;
        assert_eq!(rest, model.texts[model.start as usize..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_answers_as_a_list_does() {
    for seed in 0..2 {
        check(seed).await;
    }
}
