#!/usr/bin/env bash
# A real S3-compatible object store (versitygw over a folder) on 127.0.0.1, for tests: path-style, region us-east-1.
#
#   s3 install           builds the server into the cache by Go; `up` does it too
#   s3 up DIR PORT       starts it over DIR/data, with a bucket `basalt`; waits until it answers
#   s3 down DIR          stops that server by its process id; the objects stay in DIR/data
#
# The access key is `test`, the secret `testsecret`. Needs Go, flock, a file system with user attributes.
set -euo pipefail

VERSION=${S3_VERSION:-v1.8.0}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/basalt
SERVER=$CACHE/versitygw-$VERSION/versitygw

die() {
  echo "s3: $*" >&2
  exit 1
}

install() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/versitygw-$VERSION.lock"
  flock 9
  if [ ! -x "$SERVER" ]; then
    local new
    new=$(mktemp -d "$CACHE/versitygw.XXXXXX")
    CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=$new go install -ldflags='-s -w' \
      "github.com/versity/versitygw/cmd/versitygw@$VERSION" >&2 || { rm -rf "$new" && die "go could not build $VERSION"; }
    rm -rf "${SERVER%/*}"
    mv "$new" "${SERVER%/*}"
  fi
  exec 9>&-
}

alive() { [ -f "$1/s3.pid" ] && kill -0 "$(cat "$1/s3.pid")" 2>/dev/null; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  local dir=$1 port=$2
  install
  mkdir -p "$dir/data/basalt"
  dir=$(cd "$dir" && pwd)
  alive "$dir" && die "a server runs in $dir already (pid $(cat "$dir/s3.pid"))"
  answers "$port" && die "port $port is in use"
  # A session of its own, so that a terminal's ^C leaves it to `down`.
  ROOT_ACCESS_KEY=test ROOT_SECRET_KEY=testsecret \
    setsid "$SERVER" --quiet --port "127.0.0.1:$port" posix "$dir/data" >"$dir/s3.log" 2>&1 </dev/null &
  echo $! >"$dir/s3.pid"
  for _ in $(seq 300); do
    if answers "$port"; then
      echo "versitygw $VERSION answers on 127.0.0.1:$port (pid $(cat "$dir/s3.pid"))"
      return
    fi
    alive "$dir" || { cat "$dir/s3.log" >&2 && die "the server ended while starting"; }
    sleep 0.1
  done
  cat "$dir/s3.log" >&2
  down "$dir"
  die "no answer after 30 s"
}

down() {
  local pid
  [ -f "$1/s3.pid" ] || return 0
  pid=$(cat "$1/s3.pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$1/s3.pid"
}

case "${1:-} $#" in
  "install 1") install ;;
  "up 3") up "$2" "$3" ;;
  "down 2") down "$2" ;;
  *) die "usage: s3 install | up DIR PORT | down DIR" ;;
esac
