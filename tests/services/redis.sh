#!/usr/bin/env bash
# A real Redis on 127.0.0.1 without persistence, for benchmarks.
#
#   redis up DIR PORT    installs Debian's redis-server if it is not there (as root), starts it, waits until it answers
#   redis down DIR       stops that server by its process id
set -euo pipefail

die() {
  echo "redis: $*" >&2
  exit 1
}

install() {
  command -v redis-server >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then die "install redis-server first"; fi
  apt-get update -qq >&2
  # Nobody's server is to be started: ours are started below.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >&2
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  local dir=$1 port=$2
  install
  mkdir -p "$dir"
  answers "$port" && die "port $port is in use"
  setsid redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir" \
    >"$dir/redis.log" 2>&1 </dev/null &
  echo $! >"$dir/redis.pid"
  for _ in $(seq 100); do
    if answers "$port"; then
      echo "redis answers on 127.0.0.1:$port (pid $(cat "$dir/redis.pid"))"
      return
    fi
    sleep 0.1
  done
  cat "$dir/redis.log" >&2
  die "no answer after 10 s"
}

down() {
  [ -f "$1/redis.pid" ] || return 0
  kill "$(cat "$1/redis.pid")" 2>/dev/null || true
  rm -f "$1/redis.pid"
}

case "${1:-} $#" in
  "up 3") up "$2" "$3" ;;
  "down 2") down "$2" ;;
  *) die "usage: redis up DIR PORT | down DIR" ;;
esac
