#!/usr/bin/env bash
# DuckDB and ClickHouse, the peers whose answers ours must equal, each in a Python environment of its own.
#
#   peers duckdb|clickhouse install       fetches it from PyPI into the cache; `run` does it too
#   peers duckdb|clickhouse run           runs SQL: what it reads and prints, peers.py says
#
# ClickHouse is chDB: the same engine in the process that asks it. Needs Python 3 with venv, flock. From the environment:
# DUCKDB_VERSION, CHDB_VERSION.
set -euo pipefail

case "${1:-}" in
  duckdb) PACKAGE=duckdb VERSION=${DUCKDB_VERSION:-2.0.0} ;;
  clickhouse) PACKAGE=chdb VERSION=${CHDB_VERSION:-4.4.0} ;;
esac
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/basalt
HOME_=$CACHE/${PACKAGE:-}-${VERSION:-}

install() {
  mkdir -p "$CACHE"
  exec 9>"$HOME_.lock"
  flock 9
  if [ ! -f "$HOME_/complete" ]; then
    rm -rf "$HOME_"
    python3 -m venv "$HOME_" >&2
    "$HOME_/bin/pip" install --quiet --disable-pip-version-check "$PACKAGE==$VERSION" >&2
    touch "$HOME_/complete"
  fi
  exec 9>&-
}

case "${1:-} ${2:-} $#" in
  "duckdb install 2" | "clickhouse install 2") install ;;
  "duckdb run 2" | "clickhouse run 2") install && exec "$HOME_/bin/python" "$(dirname "$0")/peers.py" "$1" ;;
  *) echo "usage: peers duckdb|clickhouse install|run" >&2 && exit 1 ;;
esac
