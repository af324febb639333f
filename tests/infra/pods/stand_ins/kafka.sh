#!/bin/sh
# Does what the image of Apache Kafka does at its start: a configuration of the variables KAFKA_…, a formatted storage, the broker.
set -eu
heap=${KAFKA_HEAP_OPTS:--Xms512m -Xmx512m}
export CLUSTER_ID="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}"
java="java -cp /opt/kafka/libs/* -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
set -f # the JVM reads the star itself
result=$($java kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
  --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) || {
  echo "$result"
  echo "$result" | grep -qi "already formatted" || exit 1
}
# shellcheck disable=SC2086  # options
exec $java $heap kafka.Kafka /opt/kafka/config/server.properties
