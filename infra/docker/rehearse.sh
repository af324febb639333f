#!/bin/sh
# A release on this machine alone: a registry, a key of one hour's use, images that build.sh made. usage: rehearse.sh ROLE…
# Shows that what is published verifies, and that what was altered, or published as an older version's, is refused.
set -eu
cd "$(dirname "$0")/../.."
version=${VERSION:-0.1.0}
say() { printf 'rehearse: %s\n' "$*" >&2; }
crane=$(infra/docker/go_tool.sh crane) cosign=$(infra/docker/go_tool.sh cosign)
work=$(mktemp -d)
"$crane" registry serve --address 127.0.0.1:0 --disk "$work" 2>"$work/registry.log" &
server=$!
trap 'kill "$server"; rm -rf "$work"' EXIT
until registry=$(sed -n 's/.*serving on port \([0-9]*\).*/127.0.0.1:\1/p' "$work/registry.log" | grep .); do
  kill -0 "$server" 2>/dev/null || { cat "$work/registry.log" >&2; exit 1; }
done
export COSIGN_PASSWORD='' # the key lives as long as this script
(cd "$work" && "$cosign" generate-key-pair 2>/dev/null)

verify() { # image
  "$cosign" verify --key "$work/cosign.pub" --insecure-ignore-tlog=true --allow-http-registry "$1" >"$work/said" 2>&1 &&
    "$cosign" verify-attestation --key "$work/cosign.pub" --insecure-ignore-tlog=true --allow-http-registry --type cyclonedx "$1" >"$work/said" 2>&1
}
refused() { # what command…
  what=$1
  shift
  if "$@" >"$work/said" 2>&1; then say "$what WAS TAKEN"; exit 1; fi
  say "refused, as it must be: $what"
}

for role in "$@"; do
  image=$registry/quantstream/$role
  KEY=$work/cosign.key SCAN=no INSECURE=1 VERSION=$version infra/docker/publish.sh "$registry/quantstream" "$role"
  verify "$image:$version" || { cat "$work/said" >&2; exit 1; }
  say "$image:$version verifies, and its SBOM; $(grep -o '"purl"' "build/release/$role.cdx.json" | wc -l) packages in it"
  "$crane" mutate --label altered=yes --tag "$image:altered" "$image:$version" >"$work/said" 2>&1
  refused "an altered image" verify "$image:altered"
  "$crane" tag "$image:altered" "$version" >"$work/said" 2>&1
  refused "another content for a version that is published" env KEY="$work/cosign.key" SCAN=no INSECURE=1 VERSION="$version" \
    infra/docker/publish.sh "$registry/quantstream" "$role"
done
