//! The sources that this tailer reads.
//!
//! In: the catalog's sources. Out: a run for each that does not rest, and how it goes. A source is claimed in the catalog
//! first: the newest claim reads it, an older one ends. What fails is begun again, with a new claim.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use basalt_common::calls::{SourceState, SourceStatus, Sources};
use basalt_common::catalog::{Beginning, CatalogError, CatalogState, Command, Source, SourceSettings, SourceStart};
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::{Epoch, SourceId};
use basalt_common::leaves::Leaves;
use basalt_common::position::SourcePartition;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::gauge::Gauge;
use crate::kafka::{Life, Topic};
use crate::partition::{Reading, RunError};
use crate::shared::Shared;

/// How often a topic is looked at for new partitions, and for another topic in its place.
const LIFE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a source that failed rests, at first and at most.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long whoever asks for a source waits for a change of the catalog to be carried out.
const ADJUST_PATIENCE: Duration = Duration::from_secs(5);

/// How long the brokers may take to tell the lag.
const LAG_PATIENCE: Duration = Duration::from_secs(2);

/// A source that is read; no longer, once dropped.
struct Running {
    gauge: Arc<Gauge>,
    topic: Arc<Mutex<Option<Arc<Topic>>>>,
    run: JoinSet<()>,
}

/// Reads sources.
pub struct SourceReader {
    shared: Arc<Shared>,
    leaves: Leaves,
    claimant: u64,
    running: Mutex<BTreeMap<SourceId, Running>>,
    /// The version of the catalog that is carried out.
    adjusted: watch::Sender<u64>,
}

impl SourceReader {
    /// Makes a reader of nothing; `claimant` must be a number that no other tailer has.
    pub fn new(shared: Arc<Shared>, leaves: Leaves, claimant: u64) -> Self {
        Self { shared, leaves, claimant, running: Mutex::default(), adjusted: watch::Sender::default() }
    }

    /// Reads what the catalog says, until it ends.
    pub async fn run(self: Arc<Self>) {
        let mut states = self.shared.catalog.watch();
        loop {
            let state = states.borrow_and_update().clone();
            self.adjust(&state).await;
            self.adjusted.send_replace(state.version());
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the runs of sources that rest or are gone, and begins those that are missing.
    async fn adjust(self: &Arc<Self>, state: &CatalogState) {
        let rests = |id: &SourceId| state.source(*id).is_none_or(|source| source.paused);
        let resting: Vec<Running> = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.extract_if(.., |id, _| rests(id)).map(|(_, running)| running).collect()
        };
        for mut running in resting {
            running.run.shutdown().await;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for source in state.sources().filter(|source| !source.paused) {
            running.entry(source.id).or_insert_with(|| {
                let (gauge, topic) = (Arc::new(Gauge::default()), Arc::default());
                let run = Run {
                    reader: Arc::clone(self),
                    source: Arc::clone(source),
                    gauge: Arc::clone(&gauge),
                    topic: Arc::clone(&topic),
                };
                let mut task = JoinSet::new();
                task.spawn(run.run());
                Running { gauge, topic, run: task }
            });
        }
    }
}

/// A source's runs, one after another.
struct Run {
    reader: Arc<SourceReader>,
    source: Arc<Source>,
    gauge: Arc<Gauge>,
    topic: Arc<Mutex<Option<Arc<Topic>>>>,
}

impl Run {
    async fn run(self) {
        let (id, name) = (self.source.id.0, &self.source.name);
        let mut delay = RETRY_DELAYS.0;
        loop {
            let before = self.gauge.status(Duration::ZERO).records;
            let Err(error) = self.once().await else { continue };
            self.gauge.set_failure(Some(error.to_string()));
            if matches!(error, RunError::Superseded) {
                info!(source = id, name, "another tailer reads the source");
                return;
            }
            if self.gauge.status(Duration::ZERO).records > before {
                delay = RETRY_DELAYS.0;
            }
            warn!(source = id, name, %error, ?delay, "the source is not read; trying again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAYS.1);
        }
    }

    /// Claims the source and reads it, until it fails or its topic changes.
    async fn once(&self) -> Result<(), RunError> {
        let SourceSettings::Kafka { brokers, topic, start, properties } = &self.source.settings;
        let topic = Arc::new(Topic::open(brokers, topic, properties)?);
        *self.topic.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&topic));
        let life = topic.life().await?;
        let epoch = self.claim().await?;
        let beginning = self.beginning(&topic, life, *start).await?;
        let reading = Reading {
            shared: Arc::clone(&self.reader.shared),
            leaves: self.reader.leaves.clone(),
            gauge: Arc::clone(&self.gauge),
            topic: Arc::clone(&topic),
            collection: self.source.collection,
            epoch,
        };
        self.gauge.set_failure(None);
        info!(source = self.source.id.0, name = self.source.name, epoch = epoch.0, ?life, "the source is read");
        let mut partitions = JoinSet::new();
        for number in 0..life.partitions {
            let partition =
                SourcePartition { source: self.source.id, incarnation: life.incarnation, partition: number };
            let first = beginning.offsets.get(number as usize).copied().unwrap_or_default();
            partitions.spawn(reading.clone().read(partition, first));
        }
        tokio::select! {
            Some(ended) = partitions.join_next() => match ended {
                Ok(Ok(never)) => match never {},
                Ok(Err(error)) => Err(error),
                Err(error) => Err(RunError::Failure(Failure::new(FailureKind::Internal, error.to_string()))),
            },
            () = self.superseded() => Err(RunError::Superseded),
            changed = changed(&topic, life) => changed,
        }
    }

    async fn propose(&self, command: Command) -> Result<Arc<Source>, RunError> {
        let state = match self.reader.shared.catalog.propose(command).await {
            Ok(state) => state,
            Err(CatalogError::Refused(refusal)) => return Err(Failure::invalid(refusal.to_string()).into()),
            Err(error) => return Err(Failure::new(FailureKind::Unavailable, error.to_string()).into()),
        };
        let gone = || Failure::new(FailureKind::NotFound, "the source is not there any more");
        Ok(state.source(self.source.id).cloned().ok_or_else(gone)?)
    }

    async fn claim(&self) -> Result<Epoch, RunError> {
        let claimant = self.reader.claimant;
        let source = self.propose(Command::ClaimSource { id: self.source.id.0, claimant }).await?;
        // The state may be newer than the claim, and then another tailer's.
        source.claim.filter(|claim| claim.claimant == claimant).map(|claim| claim.epoch).ok_or(RunError::Superseded)
    }

    /// Where reading of this life of the topic began, or begins now.
    async fn beginning(&self, topic: &Topic, life: Life, start: SourceStart) -> Result<Beginning, RunError> {
        let incarnation = format!("{:032x}", life.incarnation);
        let known =
            self.reader.shared.catalog.state().source(self.source.id).and_then(|source| source.beginning.clone());
        let mut offsets = Vec::new();
        match known {
            Some(beginning) if beginning.incarnation == incarnation => return Ok(beginning),
            // The topic was made again: all that is in it is new.
            Some(_) => {}
            None => {
                for partition in 0..life.partitions {
                    offsets.push(match start {
                        SourceStart::Earliest => topic.bounds(partition).await?.0,
                        SourceStart::Latest => topic.bounds(partition).await?.1,
                        SourceStart::At(micros) => topic.offset_at(partition, micros).await?,
                    });
                }
            }
        }
        let begun =
            self.propose(Command::BeginSource { id: self.source.id.0, incarnation: incarnation.clone(), offsets });
        let beginning = begun.await?.beginning.clone();
        // The state may be newer, and know of another life already.
        beginning.filter(|beginning| beginning.incarnation == incarnation).ok_or(RunError::Superseded)
    }

    /// Ready when another tailer has claimed the source.
    async fn superseded(&self) {
        let (id, claimant) = (self.source.id, self.reader.claimant);
        let taken = |state: &Arc<CatalogState>| {
            state.source(id).and_then(|source| source.claim).is_some_and(|claim| claim.claimant != claimant)
        };
        if self.reader.shared.catalog.watch().wait_for(taken).await.is_err() {
            // The process is stopping.
            std::future::pending().await
        }
    }
}

/// Ready when the topic has more partitions, or is another.
async fn changed(topic: &Topic, life: Life) -> Result<(), RunError> {
    loop {
        tokio::time::sleep(LIFE_INTERVAL).await;
        if topic.life().await? != life {
            return Ok(());
        }
    }
}

#[async_trait]
impl Sources for SourceReader {
    async fn source_status(&self, source: SourceId, catalog_version: u64) -> Result<SourceStatus, Failure> {
        let mut adjusted = self.adjusted.subscribe();
        let adjusting = adjusted.wait_for(|version| *version >= catalog_version);
        // A tailer that does not hear of the catalog tells what it knows.
        let _ = tokio::time::timeout(ADJUST_PATIENCE, adjusting).await;
        let found = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.get(&source).map(|running| (Arc::clone(&running.gauge), Arc::clone(&running.topic)))
        };
        let Some((gauge, topic)) = found else {
            let state = self.shared.catalog.state();
            let paused = state.source(source).is_none_or(|source| source.paused);
            let state = if paused { SourceState::Paused } else { SourceState::Running };
            return Ok(SourceStatus { state, ..SourceStatus::default() });
        };
        let mut status = gauge.status(self.shared.clock.monotonic());
        let topic = topic.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(topic) = topic else { return Ok(status) };
        let mut lag = 0;
        let mut oldest = None;
        let asked = async {
            for (partition, read_to) in gauge.read_to() {
                let behind = topic.bounds(partition).await?.1.saturating_sub(read_to.next);
                lag += behind;
                if behind > 0 {
                    oldest = [oldest, read_to.written_micros].into_iter().flatten().min();
                }
            }
            Ok::<_, RunError>(())
        };
        if matches!(tokio::time::timeout(LAG_PATIENCE, asked).await, Ok(Ok(()))) {
            status.lag_records = Some(lag);
            let age = oldest.map_or(0, |micros| self.shared.clock.now_micros() - micros);
            status.lag_seconds = age.max(0) as f64 / 1e6;
        }
        Ok(status)
    }
}
