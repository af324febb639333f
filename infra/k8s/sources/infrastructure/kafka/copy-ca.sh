#!/bin/sh
# Copies the certificate that Kafka's own is signed with to where tasks mount it: a Secret cannot be read from another namespace.
# The operator renews it well before its end; this runs each night. A certificate is no secret, so the copy is a ConfigMap.
# $KUBERNETES is the API's address, $ACCOUNT the folder of the account's token, $FROM and $TO are paths of Secret and ConfigMap.
set -eu
ask() {
  path=$1
  shift
  # the token comes by standard input: a command line can be read by others
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$ACCOUNT/token")" |
    curl --config - --silent --show-error --fail --max-time 30 --cacert "$ACCOUNT/ca.crt" "$@" "$KUBERNETES$path"
}
certificate=$(ask "$FROM" | tr -d ' \n' | sed -n 's/.*"ca\.crt":"\([A-Za-z0-9+/=]*\)".*/\1/p')
[ -n "$certificate" ] || { echo "no ca.crt in $FROM" >&2; exit 1; }
ask "$TO" --request PATCH --header 'Content-Type: application/merge-patch+json' \
  --data "{\"binaryData\":{\"ca.crt\":\"$certificate\"}}" >/dev/null
echo "copied"
