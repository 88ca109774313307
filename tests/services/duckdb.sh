#!/usr/bin/env bash
# DuckDB, the peer whose answers ours must equal, in a Python environment of its own.
#
#   duckdb install       fetches it from PyPI into the cache; `run` does it too
#   duckdb run           reads {"setup": [SQL…], "queries": [SQL…]} from the standard input, prints the rows of each query
#
# Needs Python 3 with venv, flock. From the environment: DUCKDB_VERSION.
set -euo pipefail

VERSION=${DUCKDB_VERSION:-2.0.0}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/basalt
HOME_=$CACHE/duckdb-$VERSION

install() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/duckdb-$VERSION.lock"
  flock 9
  if [ ! -f "$HOME_/complete" ]; then
    rm -rf "$HOME_"
    python3 -m venv "$HOME_" >&2
    "$HOME_/bin/pip" install --quiet --disable-pip-version-check "duckdb==$VERSION" >&2
    touch "$HOME_/complete"
  fi
  exec 9>&-
}

case "${1:-} $#" in
  "install 1") install ;;
  "run 1") install && exec "$HOME_/bin/python" "$(dirname "$0")/duckdb_rows.py" ;;
  *) echo "usage: duckdb install | run" >&2 && exit 1 ;;
esac
