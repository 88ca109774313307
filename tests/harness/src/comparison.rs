//! Queries on one collection beside other engines, before and after patches: what benchmarks of queries have in common.
//!
//! In: documents and patches as lines of JSON, queries, the peers' answers. Out: times that a client sees, of answers that equal
//! the peers'; tables of them.

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::peers::{self, Answer, Peer, Round};
use crate::server::{Live, Server, TICKS_PER_SECOND, cpu_seconds};

/// Documents or patches of one request.
const BODY_ITEMS: usize = 5_000;

/// How often a query is asked for its time; once before that, unmeasured.
pub const RUNS: usize = 31;

/// While questions are asked at once after patches, some more come so often: a shard without changes for a second is at rest.
const TRICKLE: Duration = Duration::from_millis(250);

/// What other processes may take of a core before it is said.
const OTHERS_MAX: f64 = 0.1;

/// How many: some for each shard.
const TRICKLE_ITEMS: usize = 64;

/// A column of a table: its name, and its type in DuckDB and in ClickHouse.
pub type Column = (&'static str, &'static str, &'static str);

/// What a number of requests took.
#[derive(Debug, Default)]
pub struct Work {
    /// Documents or patches.
    pub items: usize,
    /// Of their bodies.
    pub bytes: usize,
    /// The time of the requests: making them is not counted.
    pub seconds: f64,
    /// The server's CPU time meanwhile.
    pub cpu_seconds: f64,
}

impl Display for Work {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        write!(
            formatter,
            "{} in {mebibytes:.0} MiB took {:.1} s and {:.1} s of CPU",
            self.items, self.seconds, self.cpu_seconds
        )
    }
}

/// How long a server took to stop, and another then until it answered.
#[derive(Debug)]
pub struct Reopened {
    stopped: Duration,
    opened: Duration,
}

impl Display for Reopened {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "stopped in {:.1} s, open {:.1} s later",
            self.stopped.as_secs_f64(),
            self.opened.as_secs_f64()
        )
    }
}

/// The median time of each query, and what else went on.
#[derive(Debug)]
pub struct Times {
    /// In milliseconds.
    pub millis: Vec<f64>,
    /// CPU time that processes other than the server and this one took, by the time that passed.
    others: f64,
}

impl Times {
    /// What there is to say of figures that others disturbed; nothing where nobody did.
    fn warning(&self, what: &str) -> String {
        let disturbed = self.others > OTHERS_MAX;
        if disturbed { format!("{what}: other processes took {:.1} cores\n", self.others) } else { String::new() }
    }
}

/// CPU time that all processes took since the machine was started.
fn machine_cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.lines().next().context("it has lines")?.split_whitespace().skip(1).take(8).map(str::parse::<f64>);
    let [user, nice, system, _idle, _waiting, interrupts, soft, stolen] =
        ticks.collect::<Result<Vec<_>, _>>()?.try_into().ok().context("eight kinds of time")?;
    Ok((user + nice + system + interrupts + soft + stolen) / TICKS_PER_SECOND)
}

/// A server with one collection, and the queries on it.
#[derive(Debug)]
pub struct Comparison<'c> {
    live: Live,
    collection: &'c str,
    queries: &'c [(&'c str, &'c str)],
}

impl<'c> Comparison<'c> {
    /// Starts a server.
    ///
    /// # Errors
    /// As [`Live::start`].
    pub fn start(collection: &'c str, queries: &'c [(&'c str, &'c str)]) -> Result<Self> {
        Ok(Self { live: Live::start(&[])?, collection, queries })
    }

    /// The folder of the server, where files may be put.
    pub fn folder(&self) -> &Path {
        self.live.data.path()
    }

    fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.live.server.pid().context("it runs")?)
    }

    fn documents(&self) -> String {
        format!("/v1/workspaces/public/collections/{}/documents", self.collection)
    }

    /// Writes documents, each a line of JSON, to the server and to a file for the peers.
    ///
    /// # Errors
    /// The server refuses one, or the file cannot be written.
    pub async fn load(&self, documents: impl Iterator<Item = String>, file: &Path) -> Result<Work> {
        let mut written = std::fs::File::create(file)?;
        self.send(documents, |lines| {
            let body = lines.join("\n") + "\n";
            written.write_all(body.as_bytes())?;
            Ok((Method::POST, "application/x-ndjson", body))
        })
        .await
    }

    /// Sends patches, each an item of a request, and waits until they are applied.
    ///
    /// # Errors
    /// The server refuses one.
    pub async fn patch(&self, items: impl Iterator<Item = String>) -> Result<Work> {
        self.send(items, |items| Ok((Method::PATCH, "application/json", format!("[{}]", items.join(","))))).await
    }

    async fn send(
        &self,
        mut items: impl Iterator<Item = String>,
        mut body: impl FnMut(&[String]) -> Result<(Method, &'static str, String)>,
    ) -> Result<Work> {
        let (clock, cpu, mut work) = (SystemClock::default(), self.cpu_seconds()?, Work::default());
        let mut fence = Json::Null;
        loop {
            let some: Vec<String> = items.by_ref().take(BODY_ITEMS).collect();
            if some.is_empty() {
                break;
            }
            let (method, content, text) = body(&some)?;
            (work.items, work.bytes) = (work.items + some.len(), work.bytes + text.len());
            let started = clock.monotonic();
            let reply = self.live.server.send(method, &self.documents(), &[("content-type", content)], text).await?;
            let (status, reply) = (reply.status(), reply.text().await?);
            work.seconds += (clock.monotonic() - started).as_secs_f64();
            ensure!(status.is_success(), "{reply}");
            let mut reply: Json = serde_json::from_str(&reply)?;
            ensure!(reply["failed"] == 0, "{reply}");
            fence = reply["fence"].take();
        }
        let started = clock.monotonic();
        let body = json!({ "fence": fence, "timeout_ms": 60_000 }).to_string();
        let (status, reply) = self.live.server.json(Method::POST, "/v1/fences/wait", body).await?;
        ensure!(status == 200, "{reply}");
        work.seconds += (clock.monotonic() - started).as_secs_f64();
        work.cpu_seconds = self.cpu_seconds()? - cpu;
        Ok(work)
    }

    /// Stops the server and starts it anew, so that all is read from files; waits until it is at rest.
    ///
    /// # Errors
    /// It does not stop, start or rest.
    pub async fn reopen(&mut self) -> Result<Reopened> {
        let (clock, sql) = (SystemClock::default(), format!("SELECT count(*) AS n FROM {}", self.collection));
        let started = clock.monotonic();
        self.live.server.stop()?;
        let stopped = clock.monotonic();
        self.live.server = Server::start(self.live.data.path(), &[])?;
        self.live.server.rows(&sql).await?;
        let opened = clock.monotonic();
        self.live.server.rest().await?;
        Ok(Reopened { stopped: stopped - started, opened: opened - stopped })
    }

    /// A peer's answers, when the statements were run: they make its table.
    ///
    /// # Errors
    /// As [`Peer::rounds`].
    pub fn answers(&self, peer: Peer, statements: Vec<String>) -> Result<Vec<Answer>> {
        Ok(peer.rounds(&[self.round(statements)])?.pop().context("an outcome for the round")?.answers)
    }

    /// Fails where two peers' answers differ.
    ///
    /// # Errors
    /// They do.
    pub fn agree(&self, expected: &[Answer], others: &[Answer]) -> Result<()> {
        for ((name, _), (expected, other)) in self.queries.iter().zip(expected.iter().zip(others)) {
            let (expected, other) = (&expected.rows, &other.rows);
            ensure!(peers::equal(other, expected), "{name}: one peer has {expected}, another {other}");
        }
        Ok(())
    }

    /// All the queries as a round of a peer's, behind statements.
    pub fn round(&self, statements: Vec<String>) -> Round {
        Round { statements, queries: self.queries.iter().map(|(_, sql)| (*sql).to_string()).collect(), runs: RUNS }
    }

    /// The times of the queries; the rows of each must be those of the peer's answer.
    ///
    /// # Errors
    /// A query fails, or has other rows.
    pub async fn times(&self, expected: &[Answer]) -> Result<Times> {
        let others = || Ok(machine_cpu_seconds()? - self.cpu_seconds()? - cpu_seconds(std::process::id())?);
        let (clock, before): (_, Result<f64>) = (SystemClock::default(), others());
        let (started, mut millis) = (clock.monotonic(), Vec::new());
        for ((name, sql), expected) in self.queries.iter().zip(expected) {
            millis.push(self.time(name, sql, &expected.rows).await?);
        }
        let passed = (clock.monotonic() - started).as_secs_f64();
        Ok(Times { millis, others: (others()? - before?) / passed })
    }

    async fn time(&self, name: &str, sql: &str, expected: &Json) -> Result<f64> {
        let (clock, mut times) = (SystemClock::default(), Vec::new());
        for run in 0..=RUNS {
            let started = clock.monotonic();
            let (status, reply) = self.live.query(json!({ "sql": sql, "rows": "arrays" })).await?;
            let took = clock.monotonic() - started;
            ensure!(status == 200, "{name}: {reply}");
            if run == 0 {
                ensure!(peers::equal(&reply["rows"], expected), "{name}: {reply}\nexpected {expected}");
            } else {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// As [`Self::times`], while a few patches go on coming, so that shards do not rest and fold what was laid over their fields.
    async fn times_at_once(&self, expected: &[Answer], items: impl Iterator<Item = String>) -> Result<Times> {
        let items: Vec<String> = items.take(TRICKLE_ITEMS).collect();
        let trickle = async {
            loop {
                tokio::time::sleep(TRICKLE).await;
                if let Err(failure) = self.patch(items.iter().cloned()).await {
                    return failure;
                }
            }
        };
        tokio::select! {
            times = self.times(expected) => times,
            failure = trickle => Err(failure),
        }
    }

    /// What is laid over all fields, as EXPLAIN ANALYZE tells of each segment.
    async fn laid(&self) -> Result<String> {
        let sql = format!("EXPLAIN ANALYZE SELECT count(*) FROM {}", self.collection);
        let text = serde_json::to_string(&self.live.server.rows(&sql).await?)?;
        let (mut segments, mut sums) = (0, [0; 3]);
        for part in text.split("passed, ").skip(1) {
            // "120 laid over in 3 runs over 2 fields"
            let numbers = part.split(' ').filter_map(|word| word.parse::<u64>().ok()).take(sums.len());
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            segments += 1;
        }
        let [laid, runs, overlays] = sums;
        let each = runs as f64 / overlays.max(1) as f64;
        Ok(format!("{laid} values in {runs} runs, {each:.1} for a field that has any, in {segments} segments"))
    }

    /// Sends patches that change no answer, and asks the queries: at once, and when the server was at rest and started anew. Returns
    /// what it took as a table, beside times before.
    ///
    /// # Errors
    /// As [`Self::patch`], [`Self::times`] and [`Self::reopen`].
    pub async fn patched<I: Iterator<Item = String>>(
        &mut self,
        items: impl Fn() -> I,
        before: &Times,
        expected: &[Answer],
    ) -> Result<String> {
        let work = self.patch(items()).await?;
        let laid = self.laid().await?;
        let at_once = self.times_at_once(expected, items()).await?;
        let cpu = self.cpu_seconds()?;
        self.live.server.rest().await?;
        let settled = self.cpu_seconds()? - cpu;
        self.reopen().await?;
        let at_rest = self.times(expected).await?;
        let table = self.after(&before.millis, &[("at once", &at_once.millis), ("at rest", &at_rest.millis)]);
        let warnings = at_once.warning("at once") + &at_rest.warning("at rest");
        Ok(format!(
            "patches: {work}; {laid}; {settled:.1} s of CPU from the questions at once until at rest\n{table}{warnings}"
        ))
    }

    /// A table: our times, those of peers, and ours as times of the better one's.
    pub fn beside(&self, ours: &Times, peers: &[(&str, &[f64])]) -> String {
        let better = |query: usize| peers.iter().map(|(_, times)| times[query]).fold(f64::INFINITY, f64::min);
        let ratios: Vec<f64> = ours.millis.iter().enumerate().map(|(query, time)| time / better(query)).collect();
        let mut table = format!("{:<20} {:>10}", "milliseconds", "Basalt");
        peers.iter().for_each(|(peer, _)| table += &format!(" {peer:>10}"));
        table += &format!(" {:>8}\n", "ratio");
        for (query, (name, _)) in self.queries.iter().enumerate() {
            let _ = write!(table, "{name:<20} {:>10.2}", ours.millis[query]);
            peers.iter().for_each(|(_, times)| table += &format!(" {:>10.2}", times[query]));
            let _ = writeln!(table, " {:>8.2}", ratios[query]);
        }
        let width = 40 + 11 * peers.len();
        table
            + &format!("{:<20} {:>2$.2}\n", "geometric mean", geometric_mean(&ratios), width - 20)
            + &self.worst(&ratios)
            + &ours.warning("Basalt")
    }

    /// A table: times, each also as times of what it was before.
    pub fn after(&self, before: &[f64], columns: &[(&str, &[f64])]) -> String {
        let ratios =
            |times: &[f64]| -> Vec<f64> { times.iter().zip(before).map(|(time, before)| time / before).collect() };
        let mut table = format!("{:<20} {:>10}", "milliseconds", "before");
        columns.iter().for_each(|(column, _)| table += &format!(" {column:>12} {:>6}", "ratio"));
        table.push('\n');
        for (query, (name, _)) in self.queries.iter().enumerate() {
            let _ = write!(table, "{name:<20} {:>10.2}", before[query]);
            columns.iter().for_each(|(_, times)| {
                table += &format!(" {:>12.2} {:>6.2}", times[query], times[query] / before[query]);
            });
            table.push('\n');
        }
        table += &format!("{:<20} {:>10}", "geometric mean", "");
        columns.iter().for_each(|(_, times)| table += &format!(" {:>19.2}", geometric_mean(&ratios(times))));
        table.push('\n');
        columns.iter().for_each(|(column, times)| table += &format!("{column}: {}", self.worst(&ratios(times))));
        table
    }

    fn worst(&self, ratios: &[f64]) -> String {
        let worst = ratios.iter().zip(self.queries).max_by(|(a, _), (b, _)| a.total_cmp(b));
        worst.map_or_else(String::new, |(ratio, (name, _))| format!("worst {ratio:.2} ({name})\n"))
    }
}

/// The median times of answers, in milliseconds.
pub fn millis(answers: &[Answer]) -> Vec<f64> {
    answers.iter().map(Answer::millis).collect()
}

/// The geometric mean of ratios.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

/// Whether a row, told by its number, is among so many of a thousand, which lie without pattern. More of a thousand include fewer.
pub fn is_drawn(row: u64, of_thousand: u64) -> bool {
    (row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 1_000 < of_thousand
}

/// The same as ClickHouse's SQL says it, of an expression without a sign.
pub fn is_drawn_sql(row: &str, of_thousand: u64) -> String {
    format!("bitShiftRight(toUInt64({row}) * toUInt64({}), 32) % 1000 < {of_thousand}", 0x9E37_79B9_7F4A_7C15_u64)
}

/// Statements that make a table of a file of JSON in DuckDB, and have it use two threads.
pub fn duckdb_table(name: &str, columns: &[Column], file: &Path) -> Vec<String> {
    let columns: Vec<String> = columns.iter().map(|(column, of, _)| format!("{column}: '{of}'")).collect();
    let read =
        format!("read_json('{}', format = 'newline_delimited', columns = {{{}}})", file.display(), columns.join(", "));
    vec!["SET threads = 2".into(), format!("CREATE TABLE {name} AS SELECT * FROM {read}"), "CHECKPOINT".into()]
}

/// Statements that make a table of a file of JSON in ClickHouse, sorted by a key, in one part, ready for patch parts; and have it use two
/// threads, and not keep of queries which granules passed their conditions.
pub fn clickhouse_table(name: &str, columns: &[Column], key: &str, file: &Path) -> Vec<String> {
    let columns: Vec<String> = columns.iter().map(|(column, _, of)| format!("{column} {of}")).collect();
    let columns = columns.join(", ");
    let settings = "enable_block_number_column = 1, enable_block_offset_column = 1";
    vec![
        "SET max_threads = 2".into(),
        "SET use_query_condition_cache = 0".into(),
        format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY ({key}) SETTINGS {settings}"),
        format!("INSERT INTO {name} SELECT * FROM file('{}', 'JSONEachRow', '{columns}')", file.display()),
        format!("OPTIMIZE TABLE {name} FINAL"),
    ]
}
