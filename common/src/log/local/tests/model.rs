//! Random work on a few shards, with orderly ends, drops and crashes in between, against a naive model: a list of
//! records per shard.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SHARDS: [ShardId; 4] = [A, B, C, ShardId { collection: CollectionId(u32::MAX), shard: u16::MAX }];

/// A shard by its place in [`SHARDS`] and a size.
type Sized = (usize, usize);

/// What is done to the log. Fractions are of 65536.
#[derive(Clone, Debug)]
enum Step {
    Append(Sized),
    AppendTogether(Vec<Sized>),
    Read { shard: usize, from: u16 },
    Truncate { shard: usize, below: u16 },
    Close,
    Drop,
    Crash(Crash),
}

/// A disk that dies under appends, and what the crash makes of the unacknowledged tail.
#[derive(Clone, Debug)]
struct Crash {
    first: Sized,
    rest: Vec<Sized>,
    /// Operations that still succeed.
    skip: usize,
    /// Where in the tail a bit flips, and which.
    flips: Vec<(u16, u8)>,
    /// Where the tail is cut.
    cut: Option<u16>,
}

fn sized() -> impl Strategy<Value = Sized> {
    let size = prop_oneof![2 => Just(0), 8 => 1..300usize, 1 => 1400..3000usize];
    (0..SHARDS.len(), size)
}

fn crash() -> impl Strategy<Value = Crash> {
    let rest = proptest::collection::vec(sized(), 0..12);
    let flips = proptest::collection::vec((any::<u16>(), 0..8u8), 0..4);
    let crash = (sized(), rest, 0..12usize, flips, proptest::option::of(any::<u16>()));
    crash.prop_map(|(first, rest, skip, flips, cut)| Crash { first, rest, skip, flips, cut })
}

fn step() -> impl Strategy<Value = Step> {
    let shard = 0..SHARDS.len();
    prop_oneof![
        8 => sized().prop_map(Step::Append),
        4 => proptest::collection::vec(sized(), 1..20).prop_map(Step::AppendTogether),
        3 => (shard.clone(), any::<u16>()).prop_map(|(shard, from)| Step::Read { shard, from }),
        3 => (shard, any::<u16>()).prop_map(|(shard, below)| Step::Truncate { shard, below }),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        3 => crash().prop_map(Step::Crash),
    ]
}

/// Returns the place in `0..=whole` that `fraction` stands for.
fn part(whole: u64, fraction: u16) -> u64 {
    (whole + 1) * u64::from(fraction) / 65_536
}

/// The log as it should be.
#[derive(Default)]
struct Model {
    shards: BTreeMap<ShardId, (u64, Vec<Bytes>)>,
    /// Makes every record's content another.
    made: u64,
}

impl Model {
    fn make(&mut self, (shard, size): Sized) -> (ShardId, Bytes) {
        self.made += 1;
        (SHARDS[shard], record(self.made, size))
    }

    fn shard(&mut self, shard: ShardId) -> &mut (u64, Vec<Bytes>) {
        self.shards.entry(shard).or_default()
    }

    fn push(&mut self, shard: ShardId, record: Bytes, position: LogPosition) {
        let (_, records) = self.shard(shard);
        assert_eq!(position.0, records.len() as u64, "positions are dense and in the order of the calls");
        records.push(record);
    }

    /// Compares everything there is.
    async fn check(&self, log: &LocalLog) {
        for (shard, (start, records)) in &self.shards {
            let end = records.len() as u64;
            assert_eq!((log.start(*shard).await.unwrap().0, log.end(*shard).await.unwrap().0), (*start, end));
            assert_eq!(read_all(log, *shard, *start).await.unwrap(), records[*start as usize..]);
            if *start > 0 {
                let below = log.read(*shard, LogPosition(start - 1)).await;
                assert!(matches!(below, Err(LogError::Truncated { .. })));
            }
            assert!(matches!(log.read(*shard, LogPosition(end + 1)).await, Err(LogError::PastEnd { .. })));
        }
    }

    /// Takes over what a crash kept of the appends that got no answer: of each shard, the first of them or none.
    async fn adopt(&mut self, log: &LocalLog, unanswered: &[(ShardId, Bytes)]) {
        for shard in SHARDS {
            let (start, records) = self.shard(shard);
            let begin = (*start).max(records.len() as u64);
            let kept = read_all(log, shard, begin).await.unwrap();
            let mut unanswered = unanswered.iter().filter(|(of, _)| *of == shard).map(|(_, record)| record);
            for record in kept {
                assert_eq!(Some(&record), unanswered.next(), "kept are the first of the unanswered");
                records.push(record);
            }
        }
    }
}

/// A log at work, with its model.
struct Run {
    directory: tempfile::TempDir,
    disk: Arc<TestDisk>,
    log: LocalLog,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let (directory, disk) = (tempfile::tempdir().unwrap(), TestDisk::new());
        let log = open_on(&disk, directory.path(), small()).unwrap();
        Run { directory, disk, log, model: Model::default() }
    }

    async fn step(mut self, step: Step) -> Run {
        match step {
            Step::Append(sized) => self.append_together(&[sized]).await,
            Step::AppendTogether(sized) => self.append_together(&sized).await,
            Step::Read { shard, from } => {
                let shard = SHARDS[shard];
                let (start, records) = self.model.shard(shard);
                let from = *start + part(records.len() as u64 - *start, from);
                assert_eq!(read_all(&self.log, shard, from).await.unwrap(), records[from as usize..]);
            }
            Step::Truncate { shard, below } => {
                let (start, records) = self.model.shard(SHARDS[shard]);
                let below = part(records.len() as u64, below);
                self.log.truncate(SHARDS[shard], LogPosition(below)).await.unwrap();
                *start = below.max(*start);
            }
            Step::Close => {
                self.log.close().await.unwrap();
                self = self.reopen();
            }
            Step::Drop => self = self.reopen(),
            Step::Crash(crash) => {
                let unanswered = self.crash(&crash).await;
                self = self.reopen();
                self.model.adopt(&self.log, &unanswered).await;
            }
        }
        self
    }

    async fn append_together(&mut self, sized: &[Sized]) {
        let records: Vec<_> = sized.iter().map(|sized| self.model.make(*sized)).collect();
        let positions = append_together(&self.log, records.clone()).await;
        for ((shard, record), position) in records.into_iter().zip(positions) {
            self.model.push(shard, record, position.unwrap());
        }
    }

    /// Lets the disk die under appends and damages what was not acknowledged; returns the appends without an answer.
    async fn crash(&mut self, crash: &Crash) -> Vec<(ShardId, Bytes)> {
        let first = self.model.make(crash.first);
        let mut records = vec![first.clone()];
        records.extend(crash.rest.iter().map(|sized| self.model.make(*sized)));
        let rest: Vec<_> = records[1..].iter().map(|(shard, record)| self.log.append(*shard, record.clone())).collect();
        let all = stall_and_start(&self.disk, self.log.append(first.0, first.1), rest).await;
        self.disk.die_after(crash.skip);
        self.disk.release();
        let mut unanswered = Vec::new();
        for ((shard, record), result) in records.into_iter().zip(all.await) {
            match result {
                Ok(position) => self.model.push(shard, record, position),
                Err(LogError::Poisoned { .. }) => unanswered.push((shard, record)),
                Err(error) => panic!("{error}"),
            }
        }
        let (file, durable) = self.log.shared.index().last_file().unwrap();
        let mut bytes = std::fs::read(&file.path).unwrap();
        let tail = &mut bytes[durable as usize..];
        for (place, bit) in &crash.flips {
            if let Some(last) = tail.len().checked_sub(1) {
                tail[part(last as u64, *place) as usize] ^= 1 << bit;
            }
        }
        let length = durable + crash.cut.map_or(tail.len() as u64, |cut| part(tail.len() as u64, cut));
        std::fs::write(&file.path, &bytes[..length as usize]).unwrap();
        unanswered
    }

    fn reopen(self) -> Run {
        let Run { directory, log, model, .. } = self;
        drop(log);
        let disk = TestDisk::new();
        let log = open_on(&disk, directory.path(), small()).unwrap();
        Run { directory, disk, log, model }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_a_list(steps in proptest::collection::vec(step(), 1..40)) {
        block_on(async {
            let mut run = Run::new();
            for step in steps {
                let reopens = matches!(step, Step::Close | Step::Drop | Step::Crash(_));
                run = run.step(step).await;
                if reopens {
                    run.model.check(&run.log).await;
                }
            }
            run = run.reopen();
            run.model.check(&run.log).await;
        });
    }
}
