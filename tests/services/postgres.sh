#!/usr/bin/env bash
# A real PostgreSQL on 127.0.0.1, for benchmarks, with its settings as they come.
#
#   postgres up DIR PORT         installs Debian's postgresql if it is not there (as root), starts it, waits until it answers
#   postgres run DIR PORT FILE   runs SQL, prints the rows
#   postgres cpu DIR             CPU seconds of all its processes so far
#   postgres down DIR            stops that server by its process id
#
# Root may not run the server: it runs as the user `postgres` then, which Debian's package makes.
set -euo pipefail

die() {
  echo "postgres: $*" >&2
  exit 1
}

tool() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -V | tail -1)
  if [ -z "$found" ]; then found=$(readlink -f "$(command -v "$1")"); fi
  [ -n "$found" ] || die "there is no $1"
  echo "$found"
}

install() {
  if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then die "install postgresql first"; fi
  apt-get update -qq >&2
  # Nobody's server is to be started: ours are started below.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
}

as_server() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

up() {
  local dir=$1 port=$2
  install
  chmod 755 "$dir"
  mkdir "$dir/data"
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir/data"; fi
  as_server "$(tool initdb)" -D "$dir/data" -A trust -U bench >"$dir/initdb.log" 2>&1 || die "$(cat "$dir/initdb.log")"
  as_server "$(tool pg_ctl)" -D "$dir/data" -l "$dir/data/server.log" -w -t 30 \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=" start >"$dir/start.log" 2>&1 ||
    die "$(cat "$dir/start.log" "$dir/data/server.log")"
}

run() {
  "$(tool psql)" -h 127.0.0.1 -p "$2" -U bench -d postgres -X -q -t -A -v ON_ERROR_STOP=1 -f "$3"
}

# Those that ended are counted where they were waited for: in the first process.
cpu() {
  local pid ticks=0 stat
  pid=$(head -1 "$1/data/postmaster.pid")
  stat=$(sed 's/.*) //' "/proc/$pid/stat")
  ticks=$(awk '{print $12 + $13 + $14 + $15}' <<<"$stat")
  for child in $(cat "/proc/$pid/task/$pid/children"); do
    stat=$(sed 's/.*) //' "/proc/$child/stat" 2>/dev/null) || continue
    ticks=$((ticks + $(awk '{print $12 + $13}' <<<"$stat")))
  done
  awk -v ticks="$ticks" -v hertz="$(getconf CLK_TCK)" 'BEGIN {print ticks / hertz}'
}

down() {
  [ -f "$1/data/postmaster.pid" ] || return 0
  as_server "$(tool pg_ctl)" -D "$1/data" -m fast -w stop >/dev/null || true
}

case "${1:-} $#" in
  "up 3") up "$2" "$3" ;;
  "run 4") run "$2" "$3" "$4" ;;
  "cpu 2") cpu "$2" ;;
  "down 2") down "$2" ;;
  *) die "usage: postgres up DIR PORT | run DIR PORT FILE | cpu DIR | down DIR" ;;
esac
