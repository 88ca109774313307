#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft, one node, broker and controller in one) on 127.0.0.1, for tests.
#
#   kafka install        fetches the jars by Maven into the cache; `up` does it too
#   kafka up DIR PORT    formats DIR if it is new, starts the broker, waits until it answers
#   kafka down DIR       stops that broker by its process id; its data stays in DIR
#
# The controller listens on PORT+1. Needs Java 17, Maven, flock. From the environment: KAFKA_VERSION, KAFKA_HEAP, and
# KAFKA_EXTRA, more lines of server.properties.
set -euo pipefail

VERSION=${KAFKA_VERSION:-4.3.1}
LOG4J_VERSION=2.25.4 # the log4j that this Kafka brings; binds slf4j to it
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/basalt
JARS=$CACHE/kafka-$VERSION
HEAP=${KAFKA_HEAP:-512m}

die() {
  echo "kafka: $*" >&2
  exit 1
}

install() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/kafka-$VERSION.lock"
  flock 9
  if [ ! -f "$JARS/complete" ]; then
    local new
    new=$(mktemp -d "$CACHE/kafka.XXXXXX")
    cat >"$new/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-runtime</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$new/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new/libs" >&2 ||
      { rm -rf "$new" && die "maven could not fetch Kafka $VERSION"; }
    cat >"$new/log4j2.properties" <<'LOG'
rootLogger.level = ${sys:kafka.level:-info}
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
LOG
    touch "$new/complete"
    rm -rf "$JARS"
    mv "$new" "$JARS"
  fi
  exec 9>&-
}

# The class path is spelled out and sorted: an archive of loaded classes holds for one class path only.
java_() { # options... -- class arguments...
  local options=()
  while [ "$1" != -- ]; do options+=("$1") && shift; done
  shift
  exec java "${options[@]}" -Xshare:auto -Dlog4j2.configurationFile="$JARS/log4j2.properties" \
    -cp "$(printf '%s\n' "$JARS"/libs/*.jar | LC_ALL=C sort | paste -sd:)" "$@"
}

alive() { [ -f "$1/kafka.pid" ] && kill -0 "$(cat "$1/kafka.pid")" 2>/dev/null; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

up() {
  local dir=$1 port=$2 controller=$(($2 + 1)) classes
  install
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  alive "$dir" && die "a broker runs in $dir already (pid $(cat "$dir/kafka.pid"))"
  for taken in "$port" "$controller"; do answers "$taken" && die "port $taken is in use"; done
  cat >"$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
log.cleaner.dedupe.buffer.size=16777216
${KAFKA_EXTRA:-}
CONF
  if [ ! -f "$dir/data/meta.properties" ]; then
    (java_ -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dkafka.level=warn -- kafka.tools.StorageTool format \
      --cluster-id "$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=')" \
      --config "$dir/server.properties") >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2 && die "format failed"; }
  fi
  # The first broker that ends in good order leaves an archive of its classes; a start with it takes half the time.
  classes=-XX:ArchiveClassesAtExit=$dir/kafka.jsa
  if [ -f "$JARS/kafka.jsa" ]; then classes=-XX:SharedArchiveFile=$JARS/kafka.jsa; fi
  # A session of its own, so that a terminal's ^C leaves it to `down`.
  export -f java_
  export JARS
  setsid bash -c 'java_ "$@"' kafka -Xms"$HEAP" -Xmx"$HEAP" -XX:+ExitOnOutOfMemoryError "$classes" -- \
    kafka.Kafka "$dir/server.properties" >"$dir/kafka.log" 2>&1 </dev/null &
  echo $! >"$dir/kafka.pid"
  for _ in $(seq 600); do
    if grep -q 'Kafka Server started' "$dir/kafka.log" && answers "$port"; then
      echo "kafka $VERSION answers on 127.0.0.1:$port (pid $(cat "$dir/kafka.pid"))"
      return
    fi
    alive "$dir" || { tail -40 "$dir/kafka.log" >&2 && die "the broker ended while starting"; }
    sleep 0.1
  done
  tail -40 "$dir/kafka.log" >&2
  down "$dir"
  die "no answer after 60 s"
}

down() {
  local pid
  [ -f "$1/kafka.pid" ] || die "no broker is recorded in $1"
  pid=$(cat "$1/kafka.pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 200); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -9 "$pid" 2>/dev/null; then rm -f "$1/kafka.jsa"; fi # an archive cut short is none
  if [ -f "$1/kafka.jsa" ]; then mv -f "$1/kafka.jsa" "$JARS/kafka.jsa"; fi
  rm -f "$1/kafka.pid"
}

case "${1:-} $#" in
  "install 1") install ;;
  "up 3") up "$2" "$3" ;;
  "down 2") down "$2" ;;
  *) die "usage: kafka install | up DIR PORT | down DIR" ;;
esac
