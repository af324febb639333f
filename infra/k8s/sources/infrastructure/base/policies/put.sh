#!/bin/sh
# Gives each bucket its policy, at every start and every five minutes: what somebody took away by hand comes back.
# It runs beside the object store and needs $OBJECTS, ROOT_ACCESS_KEY, ROOT_SECRET_KEY; $1 is the folder of the policies.
set -eu
trap 'exit 0' TERM
until curl --silent --fail --max-time 5 "$OBJECTS/healthz" >/dev/null; do sleep 1; done
while :; do
  for policy in "$1"/*.json; do
    bucket=$(basename "$policy" .json)
    # the key comes by standard input: a command line can be read by others
    printf 'user = "%s:%s"\n' "$ROOT_ACCESS_KEY" "$ROOT_SECRET_KEY" |
      curl --config - --silent --show-error --fail-with-body --max-time 30 --aws-sigv4 aws:amz:us-east-1:s3 \
        --request PUT --header 'Content-Type: application/json' --header "x-amz-content-sha256: $(sha256sum "$policy" | cut -c1-64)" \
        --data-binary "@$policy" "$OBJECTS/$bucket?policy="
    echo "the bucket $bucket has its policy"
  done
  touch "${APPLIED:-/tmp/applied}"
  [ -z "${ONCE:-}" ] || exit 0
  sleep 300 &
  wait $!
done
