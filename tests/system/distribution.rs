//! Three leaf processes behind an aggregator: every trap of distributed planning that was met, as a test that stays.
//!
//! Each answer is compared with DataFusion alone over the same rows in one place.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_harness::cluster::{Cluster, in_process, oracle};
use basalt_harness::rows::{lines, sorted_lines};
use basalt_harness::tables::{Key, Table};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

/// No query here may take longer; a hang is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

fn table(name: &str, key: Key, rows: usize, distinct: usize, shards: u32) -> Table {
    Table { name: name.into(), key, rows, distinct, pad_bytes: 20, shards }
}

/// Three shards on three leaves, and one shard on one leaf.
fn three_and_one() -> Vec<Table> {
    vec![
        table("three", Key::Int, 30_000, 20_000, 3),
        table("six", Key::Int, 12_000, 12_000, 6),
        table("one", Key::Int, 5_000, 5_000, 1),
    ]
}

async fn rows(session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let run = async { session.sql(sql).await?.collect().await };
    tokio::time::timeout(DEADLINE, run)
        .await
        .with_context(|| format!("no answer in {DEADLINE:?}: {sql}"))?
        .with_context(|| format!("failed: {sql}"))
}

async fn check(cluster: &SessionContext, oracle: &SessionContext, sql: &str) -> Result<()> {
    let (ours, theirs) = (rows(cluster, sql).await?, rows(oracle, sql).await?);
    let ordered = sql.contains("LIMIT");
    let show = |batches: &[RecordBatch]| if ordered { lines(batches) } else { sorted_lines(batches) };
    let (ours, theirs) = (show(&ours)?, show(&theirs)?);
    ensure!(!theirs.is_empty(), "the oracle has no rows, so this proves nothing: {sql}");
    ensure!(ours == theirs, "{sql}\nours ({}): {ours:#?}\noracle ({}): {theirs:#?}", ours.len(), theirs.len());
    Ok(())
}

const QUERIES: &[&str] = &[
    "SELECT count(*) FROM {t}",
    "SELECT count(*), sum(v), min(n), max(pad), avg(n) FROM {t} WHERE n > 500",
    "SELECT grp, count(*), sum(v), min(pad) FROM {t} GROUP BY grp",
    "SELECT grp, count(DISTINCT n) FROM {t} GROUP BY grp HAVING count(*) > 1",
    "SELECT k, grp, v FROM {t} ORDER BY v DESC, k, grp, n, pad LIMIT 10",
    "SELECT k, pad FROM {t} ORDER BY k, pad LIMIT 10 OFFSET 1000",
    "SELECT DISTINCT grp FROM {t}",
    "SELECT k, v FROM {t} WHERE k = 77",
    "SELECT grp, k, row_number() OVER (PARTITION BY grp ORDER BY k, pad) AS r FROM {t} WHERE k < 100",
    "SELECT count(*) FROM {t} a JOIN {t} b ON a.k = b.k WHERE b.n < 300",
    "SELECT a.grp, count(*), sum(b.v) FROM {t} a JOIN six b ON a.k = b.k GROUP BY a.grp",
    "SELECT a.grp, count(*) FROM {t} a LEFT JOIN six b ON a.k = b.k AND b.n < 100 WHERE b.k IS NULL GROUP BY a.grp",
    "SELECT count(*) FROM {t} a FULL JOIN six b ON a.k = b.k + 6000",
    "SELECT count(*) FROM {t} a JOIN six b ON a.n = b.n",
    "SELECT count(*) FROM {t} WHERE k NOT IN (SELECT k FROM six WHERE n < 900)",
    "SELECT count(*) FROM {t} WHERE EXISTS (SELECT 1 FROM six WHERE six.k = {t}.k AND six.n > 800)",
    "SELECT k FROM {t} WHERE n = 3 UNION ALL SELECT k FROM six WHERE n = 4",
    "SELECT grp, count(*) FROM (SELECT grp FROM {t} UNION ALL SELECT grp FROM six UNION ALL VALUES ('g1'), ('z')) u GROUP BY grp",
    "SELECT k FROM {t} WHERE k < 20 UNION SELECT k FROM six WHERE k < 30",
    "SELECT count(*) FROM {t} WHERE v > (SELECT avg(v) FROM six)",
    "SELECT grp, (SELECT max(n) FROM six) - max(n) FROM {t} GROUP BY grp",
    "SELECT t.grp, x.label, count(*) FROM {t} t JOIN (VALUES ('g1', 'eins'), ('g3', 'drei')) x(grp, label) ON t.grp = x.grp GROUP BY 1, 2",
    "SELECT x.grp, count(t.k) FROM (VALUES ('g1'), ('none')) x(grp) LEFT JOIN {t} t ON t.grp = x.grp GROUP BY x.grp",
    "SELECT count(*) FROM {t}, (VALUES (1), (2)) two(x)",
    "WITH top AS (SELECT grp, sum(v) AS s FROM {t} GROUP BY grp ORDER BY s DESC, grp LIMIT 3) SELECT count(*) FROM {t} JOIN top USING (grp)",
    "SELECT approx_distinct(k) > 0, median(n) FROM {t}",
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_one_machine() -> Result<()> {
    let tables = three_and_one();
    let (cluster, oracle) = (Cluster::start(&tables, 3)?, oracle(&tables)?);
    let local = in_process(&tables)?;
    for tasks_max in [0, 1, 2] {
        // With fewer tasks than nodes, scans stream shards that they do not hold; with none given, there are three.
        rows(&cluster.session, &format!("SET distributed.max_tasks_per_stage = {tasks_max}")).await?;
        for sql in QUERIES {
            for table in ["three", "six", "one"] {
                let sql = sql.replace("{t}", table);
                let place = || format!("three processes, at most {tasks_max} tasks a stage");
                check(&cluster.session, &oracle, &sql).await.with_context(place)?;
                if tasks_max == 0 {
                    check(&local, &oracle, &sql).await.context("one process")?;
                }
            }
        }
    }
    Ok(())
}

/// What is no query, or cannot be sent to a leaf, runs all the same.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_stay_here_read_from_the_leaves() -> Result<()> {
    let cluster = Cluster::start(&three_and_one(), 3)?;
    for table in ["one", "three"] {
        let count = format!("SELECT count(*) FROM {table} WHERE n < 500");
        let expected = lines(&rows(&cluster.session, &count).await?)?;
        rows(&cluster.session, &format!("CREATE TABLE kept_{table} AS SELECT k, n FROM {table} WHERE n < 500")).await?;
        ensure!(lines(&rows(&cluster.session, &format!("SELECT count(*) FROM kept_{table}")).await?)? == expected);
        rows(&cluster.session, &format!("INSERT INTO kept_{table} SELECT k, n FROM {table} WHERE n < 500")).await?;
        let twice = rows(&cluster.session, &format!("SELECT count(*) / 2 FROM kept_{table}")).await?;
        ensure!(lines(&twice)? == expected, "an INSERT from {table} was lost");
        let analysed = lines(&rows(&cluster.session, &format!("EXPLAIN ANALYZE {count}")).await?)?.join("\n");
        ensure!(analysed.contains("ShardScanExec"), "{analysed}");
        let failed = rows(&cluster.session, &format!("SELECT 1 / (n - n) FROM {table}")).await;
        let message = format!("{:#}", failed.err().context("a division by zero must fail")?);
        ensure!(message.contains("Divide by zero") && !message.contains("did not answer"), "{message}");
    }
    Ok(())
}

/// What makes ingest and query scale apart: the work is where the shards are, and what comes back is small.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_work_and_send_partials() -> Result<()> {
    let tables = vec![
        Table { pad_bytes: 1_000, ..table("wide", Key::Int, 6_000, 6_000, 3) },
        Table { pad_bytes: 1_000, ..table("single", Key::Int, 6_000, 6_000, 1) },
    ];
    let mut cluster = Cluster::start(&tables, 3)?;
    let aggregates = [
        "SELECT count(*) FROM {t}",
        "SELECT count(*), max(pad) FROM {t}",
        "SELECT grp, count(pad), sum(v) FROM {t} GROUP BY grp",
        "SELECT grp, max(pad) FROM {t} GROUP BY grp ORDER BY grp LIMIT 3",
        "SELECT k, v FROM {t} ORDER BY v DESC LIMIT 10",
        "SELECT count(pad) FROM (SELECT pad FROM {t} UNION ALL SELECT pad FROM {t}) u",
        "SELECT count(pad) FROM (SELECT pad FROM {t} UNION ALL VALUES ('z')) u",
        "SELECT count(t.pad) FROM {t} t JOIN (VALUES ('g1'), ('g2')) x(grp) ON t.grp = x.grp",
        "SELECT count(pad) FROM {t} WHERE v > (SELECT avg(v) FROM {t})",
        "SELECT count(a.pad), count(b.pad) FROM {t} a JOIN {t} b ON a.k = b.k",
    ];
    for (name, owners) in [("wide", 3), ("single", 1)] {
        for sql in aggregates {
            let sql = sql.replace("{t}", name);
            let before = cluster.totals()?;
            rows(&cluster.session, &sql).await?;
            let after = cluster.totals()?;
            let scanned = |(now, then): (&_, &basalt_harness::leaf::Totals)| {
                let now: &basalt_harness::leaf::Totals = now;
                (now.rows_scanned - then.rows_scanned, now.bytes_sent - then.bytes_sent)
            };
            let moved: Vec<(u64, u64)> = after.iter().zip(&before).map(scanned).collect();
            ensure!(moved.iter().filter(|(rows, _)| *rows > 0).count() == owners, "{sql}: (rows, bytes) {moved:?}");
            let sent: u64 = moved.iter().map(|(_, bytes)| bytes).sum();
            ensure!(sent < 100_000, "{sql}: {sent} bytes came back from 6 MB: documents, not partials");
        }
    }
    Ok(())
}

async fn plan(session: &SessionContext, sql: &str) -> Result<String> {
    Ok(lines(&rows(session, &format!("EXPLAIN {sql}")).await?)?.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_a_task_on_every_leaf() -> Result<()> {
    let cluster = Cluster::start(&three_and_one(), 3)?;
    for sql in ["SELECT count(*) FROM three", "SELECT k FROM three ORDER BY v LIMIT 3", "SELECT k FROM six"] {
        let plan = plan(&cluster.session, sql).await?;
        for leaf in &cluster.leaves {
            let node = leaf.url();
            let address = format!("@127.0.0.1:{}", node.port().context("a leaf has a port")?);
            ensure!(plan.contains(&address), "{sql} has no task on {address}:\n{plan}");
        }
        ensure!(plan.contains("tasks=3"), "{sql}:\n{plan}");
    }
    let plan = plan(&cluster.session, "SELECT grp, count(*) FROM one GROUP BY grp").await?;
    ensure!(plan.contains("RemotePlanExec") && !plan.contains("Network"), "one owner, so one round trip:\n{plan}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn colocated_joins_need_no_shuffle() -> Result<()> {
    let mut tables = Vec::new();
    for (kind, key) in [("int", Key::Int), ("text", Key::Text), ("null", Key::NullableInt)] {
        tables.push(table(&format!("left_{kind}"), key, 30_000, 9_000, 6));
        tables.push(table(&format!("right_{kind}"), key, 12_000, 12_000, 6));
        tables.push(table(&format!("third_{kind}"), key, 10_000, 7_000, 6));
        tables.push(table(&format!("other_{kind}"), key, 12_000, 12_000, 3));
    }
    let (cluster, oracle) = (Cluster::start(&tables, 3)?, oracle(&tables)?);
    let joins = [
        "SELECT count(*), sum(l.v), sum(r.n) FROM left_{k} l JOIN right_{k} r ON l.k = r.k",
        "SELECT l.grp, count(*) FROM left_{k} l JOIN right_{k} r ON l.k = r.k WHERE r.n > 100 AND l.v > 10 GROUP BY l.grp",
        "SELECT count(*), count(r.k) FROM left_{k} l LEFT JOIN right_{k} r ON l.k = r.k AND r.n > 500",
        "SELECT count(*), count(l.k) FROM (SELECT v, k FROM left_{k} WHERE k IS NULL OR n > 5) l RIGHT JOIN right_{k} r ON l.k = r.k",
        "SELECT count(*), count(l.k), count(r.k) FROM left_{k} l FULL JOIN right_{k} r ON l.k = r.k AND l.grp = r.grp",
        "SELECT count(*) FROM left_{k} l JOIN right_{k} r ON l.k IS NOT DISTINCT FROM r.k WHERE l.n < 9 AND r.n < 9",
        "SELECT l.k, r.v, l.n FROM left_{k} l JOIN right_{k} r ON l.k = r.k",
        "SELECT count(*) FROM left_{k} l JOIN right_{k} r ON l.k = r.k JOIN third_{k} t ON l.k = t.k",
        "SELECT count(*) FROM left_{k} l LEFT JOIN right_{k} r ON l.k = r.k LEFT JOIN third_{k} t ON l.k = t.k AND t.n > 9",
        "SELECT count(*) FROM left_{k} l WHERE EXISTS (SELECT 1 FROM right_{k} r WHERE r.k = l.k)",
        "SELECT count(*) FROM left_{k} l WHERE NOT EXISTS (SELECT 1 FROM right_{k} r WHERE r.k = l.k AND r.n > 3)",
    ];
    // What is not all in place: above these, or beside them, rows have to move.
    let mixed = [
        "SELECT count(*) FROM left_{k} l FULL JOIN right_{k} r ON l.k = r.k JOIN third_{k} t ON l.k = t.k",
        "SELECT count(*) FROM left_{k} l JOIN right_{k} r ON l.k = r.k JOIN other_{k} t ON l.k = t.k",
        "SELECT count(*) FROM (SELECT l.k, count(*) AS c FROM left_{k} l JOIN right_{k} r ON l.k = r.k GROUP BY l.k) x JOIN other_{k} t ON x.k = t.k",
        "SELECT k, count(*) FROM (SELECT l.k FROM left_{k} l JOIN right_{k} r ON l.k = r.k UNION ALL SELECT l.k FROM left_{k} l JOIN third_{k} r ON l.k = r.k) u WHERE k < 9 GROUP BY k",
    ];
    for broadcast in [true, false] {
        if !broadcast {
            // As with tables too large to broadcast: joins then begin with shuffles on both sides.
            for threshold in ["hash_join_single_partition_threshold", "hash_join_single_partition_threshold_rows"] {
                rows(&cluster.session, &format!("SET datafusion.optimizer.{threshold} = 0")).await?;
            }
        }
        for kind in ["int", "text", "null"] {
            for sql in mixed {
                let sql = if kind == "text" { sql.replace("k < 9", "k < 'key-3'") } else { sql.to_string() };
                check(&cluster.session, &oracle, &sql.replace("{k}", kind)).await?;
            }
            for sql in joins {
                let sql = sql.replace("{k}", kind);
                check(&cluster.session, &oracle, &sql).await?;
                let plan = plan(&cluster.session, &sql).await?;
                let below_join = plan.split("HashJoinExec").nth(1).with_context(|| format!("no hash join: {plan}"))?;
                let moves = below_join.contains("Network") || below_join.contains("Hash(");
                ensure!(!moves, "{sql} moves rows that lie together:\n{plan}");
            }
        }
        for sql in [
            "SELECT count(*) FROM left_int l JOIN right_int r ON l.k = r.n",
            "SELECT count(*) FROM left_int l JOIN other_int r ON l.k = r.k",
            "SELECT count(*) FROM left_int l JOIN right_int r ON l.k = r.k + 1",
        ] {
            check(&cluster.session, &oracle, sql).await?;
            let plan = plan(&cluster.session, sql).await?;
            let below_join = plan.split("HashJoinExec").nth(1).with_context(|| format!("no hash join: {plan}"))?;
            ensure!(below_join.contains("Network"), "{sql} must move rows, they do not lie together:\n{plan}");
        }
    }
    Ok(())
}

/// A leaf killed in the middle of an answer: an error or the right answer, never a short one.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leaf_never_shortens_an_answer() -> Result<()> {
    const ROUNDS: usize = 20;
    let big = Table { pad_bytes: 2_000, ..table("big", Key::Int, 40_000, 40_000, 3) };
    let (mut cluster, oracle) = (Cluster::start(std::slice::from_ref(&big), 3)?, oracle(&[big])?);
    rows(&cluster.session, "SET distributed.worker_connection_buffer_budget_bytes = 1000000").await?;
    let queries = ["SELECT k, pad FROM big", "SELECT a.k, b.pad FROM big a JOIN big b ON a.n = b.n WHERE a.k < 2000"];
    let mut expected = Vec::new();
    for sql in queries {
        expected.push(rows(&oracle, sql).await?.iter().map(RecordBatch::num_rows).sum::<usize>());
    }
    let (mut failed, mut whole) = (0, 0);
    for round in 0..ROUNDS {
        let (sql, expected) = (queries[round % 2], expected[round % 2]);
        let mut stream = cluster.session.sql(sql).await?.execute_stream().await?;
        let read = async {
            let mut rows = stream.next().await.context("the stream ended before its first batch")??.num_rows();
            cluster.leaves[round % 3].kill()?;
            while let Some(batch) = stream.next().await {
                match batch {
                    Ok(batch) => rows += batch.num_rows(),
                    Err(_) => return anyhow::Ok(None),
                }
            }
            Ok(Some(rows))
        };
        match tokio::time::timeout(DEADLINE, read).await.context("a killed leaf made a query hang")?? {
            None => failed += 1,
            Some(rows) if rows == expected => whole += 1,
            Some(rows) => anyhow::bail!("round {round}: {rows} rows instead of {expected}, and no error"),
        }
        cluster.leaves[round % 3].restart()?;
        let after = lines(&rows_once_back(&cluster.session).await?)?;
        ensure!(after == ["40000"], "round {round}: after the restart count(*) is {after:?}");
    }
    println!("{ROUNDS} kills: {failed} answers failed, {whole} were whole");
    ensure!(failed >= ROUNDS / 4, "only {failed} of {ROUNDS} kills met a running query: the test proves nothing");
    Ok(())
}

/// The count after a restart: one query may find the old connection closed, the next must succeed.
async fn rows_once_back(session: &SessionContext) -> Result<Vec<RecordBatch>> {
    match rows(session, "SELECT count(*) FROM big").await {
        Ok(rows) => Ok(rows),
        Err(_) => rows(session, "SELECT count(*) FROM big").await.context("the cluster did not come back"),
    }
}
