#!/bin/sh
# Builds images without a daemon and without rights beyond this user's. usage: build.sh [ROLE…]   (default: streaming dashboard)
#   BASE     image with Python to build on; unset: the official one, and where no registry answers one made by debootstrap
#   VERSION  their tag, 0.1.0 if unset
#   FORMAT   docker if unset, which keeps the health checks; oci for a release: docker's names the builder's containers, so no two builds are equal
#   CA       certificate bundle of a proxy that signs its own certificates; SSL_CERT_FILE if unset
set -eu
cd "$(dirname "$0")/../.."
version=${VERSION:-0.1.0}
own=localhost/quantstream/base:bookworm
say() { printf '%s\n' "$*" >&2; }

make_base() {
  buildah inspect --type image "$own" >/dev/null 2>&1 && return
  say "No registry answers: making a base of Debian bookworm with debootstrap"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/root" >"$folder/log" 2>&1 || {
    tail -5 "$folder/log" >&2
    exit 1
  }
  rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/* "$folder"/root/usr/share/doc/* "$folder"/root/usr/share/locale/*
  tar -C "$folder/root" -c . | podman import --quiet - "$own" >&2
}

if [ -z "${BASE:-}" ]; then
  official=$(infra/docker/pin.sh --base 2>/dev/null || sed -n 's/^ARG BASE=//p' infra/docker/Dockerfile)
  if timeout 20 buildah pull --quiet "$official" >/dev/null 2>&1; then BASE=$official; else make_base && BASE=$own; fi
fi
epoch=315532800 # 1980: the same sources on the same base are the same image, whenever it is built; its label REVISION says of which commit
CA=${CA:-${SSL_CERT_FILE:-}}
secret=
[ -n "$CA" ] && secret="--secret id=ca,src=$CA"
[ $# -gt 0 ] || set -- streaming dashboard
for role in "$@"; do
  say "Building quantstream/$role:$version on $BASE"
  # shellcheck disable=SC2086  # an option and its value
  buildah build --quiet --isolation chroot --format "${FORMAT:-docker}" --layers ${NO_CACHE:+--no-cache} --timestamp "$epoch" $secret --build-arg "BASE=$BASE" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --target "$role" --file infra/docker/Dockerfile --tag "localhost/quantstream/$role:$version" . >/dev/null
done
podman images --filter reference='localhost/quantstream/*' --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
