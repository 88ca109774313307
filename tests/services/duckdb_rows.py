"""Runs SQL in DuckDB: reads {"setup": [...], "queries": [...]}, prints the rows of each query as JSON."""

import json
import sys

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
    rows = [[[plain(value) for value in row] for row in connection.execute(query).fetchall()] for query in asked["queries"]]
    json.dump(rows, sys.stdout)


main()
