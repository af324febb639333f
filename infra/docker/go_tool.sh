#!/bin/sh
# Prints the path of a tool of the supply chain; builds it by Go first if it was not built before. usage: go_tool.sh crane|syft|grype|cosign|actionlint
# Go checks every module against the public checksum database, so a version here names one content. Exit 3: there is no Go.
set -eu
case "${1:-}" in
crane) module=github.com/google/go-containerregistry/cmd/crane version=v0.22.1 ;;
syft) module=github.com/anchore/syft/cmd/syft version=v1.57.1 ;;
grype) module=github.com/anchore/grype/cmd/grype version=v0.121.3 ;;
cosign) module=github.com/sigstore/cosign/v3/cmd/cosign version=v3.1.3 ;;
actionlint) module=github.com/rhysd/actionlint/cmd/actionlint version=v1.7.12 ;;
*) echo "usage: go_tool.sh crane|syft|grype|cosign|actionlint" >&2; exit 2 ;;
esac
folder=${QUANTSTREAM_CACHE:-$HOME/.cache/quantstream}/$1-$version
if [ ! -x "$folder/$1" ]; then
  command -v go >/dev/null 2>&1 || { echo "$1: Go is not installed; it builds $module (go.dev/doc/install)" >&2; exit 3; }
  echo "Building $1 $version" >&2
  mkdir -p "$folder"
  unfinished=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  # outside the tree: a go.mod above would be obeyed
  (cd "$unfinished" && GOBIN=$unfinished CGO_ENABLED=0 go install "$module@$version") >"$unfinished/log" 2>&1 || { tail -5 "$unfinished/log" >&2; exit 1; }
  mv "$unfinished/$1" "$folder/$1"
fi
echo "$folder/$1"
