"""Runs SQL in a peer, DuckDB or ClickHouse, in this process: rounds of statements and queries, one after another.

Reads {"rounds": [{"statements": [...], "queries": [...], "runs": n}]}. Prints for each round
{"seconds", "cpu_seconds", "bytes_written", "answers": [{"rows", "millis"}]}: what its statements took, and of each query its rows
and the median time of `runs` (null if there are none), after the one whose rows are shown.
"""

import json
import statistics
import sys
import tempfile
import time


class DuckDb:
    """Tables in a file, compressed, which tables in memory are not; it goes with the process. What was read stays in memory."""

    def __init__(self):
        import duckdb

        self.folder = tempfile.TemporaryDirectory()
        self.connection = duckdb.connect(self.folder.name + "/peer.duckdb")

    def ask(self, sql):
        return self.connection.execute(sql).fetchall()

    def rows(self, answer):
        return [[plain(value) for value in row] for row in answer]


class ClickHouse:
    """Tables in files, in a folder that goes with the process; the system keeps them in memory."""

    def __init__(self):
        from chdb import session

        self.folder = tempfile.TemporaryDirectory()
        self.session = session.Session(self.folder.name)

    def ask(self, sql):
        return self.session.query(sql, "JSONCompactEachRow")

    def rows(self, answer):
        return [json.loads(line) for line in str(answer).split("\n") if line]


def plain(value):
    """A value as JSON has it: what JSON has no type for is text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value)


def bytes_written():
    """Bytes that this process wrote so far."""
    with open("/proc/self/io") as counters:
        return int(next(line for line in counters if line.startswith("wchar:")).split()[1])


def millis(engine, query, runs):
    """The median time of a query."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        engine.ask(query)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times) if times else None


def outcome(engine, asked):
    """What a round took and answered."""
    seconds, cpu_seconds, written = time.perf_counter(), time.process_time(), bytes_written()
    for statement in asked["statements"]:
        engine.ask(statement)
    took = {
        "seconds": time.perf_counter() - seconds,
        "cpu_seconds": time.process_time() - cpu_seconds,
        "bytes_written": bytes_written() - written,
    }
    answers = []
    for query in asked["queries"]:
        rows = engine.rows(engine.ask(query))
        answers.append({"rows": rows, "millis": millis(engine, query, asked["runs"])})
    return took | {"answers": answers}


def main():
    asked = json.load(sys.stdin)
    engine = {"duckdb": DuckDb, "clickhouse": ClickHouse}[sys.argv[1]]()
    json.dump([outcome(engine, each) for each in asked["rounds"]], sys.stdout)


main()
