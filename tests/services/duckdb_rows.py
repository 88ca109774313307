"""Runs SQL in DuckDB: reads {"setup": [...], "queries": [...]}, prints the rows of each query as JSON.

With "runs": how often each query is asked; prints {"rows", "millis"} of each, the median time.
"""

import json
import statistics
import sys
import time

import duckdb


def plain(value):
    """A value as JSON has it: what JSON has no type for is text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value)


def main():
    asked = json.load(sys.stdin)
    connection = duckdb.connect()
    for statement in asked["setup"]:
        connection.execute(statement)
    ask = lambda query: connection.execute(query).fetchall()
    rows = [[[plain(value) for value in row] for row in ask(query)] for query in asked["queries"]]
    if "runs" in asked:
        rows = [{"rows": rows[i], "millis": millis(ask, query, asked["runs"])} for i, query in enumerate(asked["queries"])]
    json.dump(rows, sys.stdout)


def millis(ask, query, runs):
    """The median time of a query."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        ask(query)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


main()
