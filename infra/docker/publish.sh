#!/bin/sh
# Gives images that build.sh made to a registry, so that whoever pulls them can tell what is in them and who made them.
# usage: publish.sh REGISTRY ROLE…     logged in before, where the registry asks for it (docker login, buildah login)
#   VERSION   their tag, 0.1.0 if unset
#   KEY       a private key of cosign's to sign with; unset: keyless, as the workflow or person who runs this
#   SCAN=no   does not ask which flaws are known: for a rehearsal, where no database of them can be reached
#   INSECURE  1: the registry speaks plain HTTP, for a rehearsal
# The version's tag comes last: what has it was looked through for known flaws and signed, and its SBOM attested.
# Leaves in build/release: ROLE.cdx.json (SBOM), ROLE.lock (image and digest, a line for images.lock).
set -eu
cd "$(dirname "$0")/../.."
version=${VERSION:-0.1.0}
registry=$1
shift
say() { printf 'publish: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
tool() { infra/docker/go_tool.sh "$1"; }
crane=$(tool crane) syft=$(tool syft) cosign=$(tool cosign)
[ "${SCAN:-}" = no ] || grype=$(tool grype)
mkdir -p build/release
export SYFT_CHECK_FOR_APP_UPDATE=false SYFT_FILE_METADATA_SELECTION=none GRYPE_CHECK_FOR_APP_UPDATE=false
if [ -n "${KEY:-}" ]; then "$cosign" signing-config create --out build/release/unlogged.json; fi
[ -z "${INSECURE:-}" ] || export SYFT_REGISTRY_INSECURE_USE_HTTP=true

# sign VERB OPTION… IMAGE: by the key, which leaves no entry in the public log, or keyless, which does
sign() {
  verb=$1
  shift
  if [ -n "${KEY:-}" ]; then set -- --key "$KEY" --signing-config build/release/unlogged.json "$@"; fi
  if [ -n "${INSECURE:-}" ]; then set -- --allow-http-registry "$@"; fi
  "$cosign" "$verb" --yes "$@"
}

# described ROLE SBOM: an SBOM that lacks a package of the lock describes something else
described() {
  packages=$(sed -n 's/^\([^ ;]*==[^ ;]*\) *\\$/\1/p' "infra/docker/locks/$1.txt")
  for package in $packages; do
    grep -q "pkg:pypi/${package%%==*}@${package##*==}\"" "$2" || stop "the SBOM of $1 does not name $package, which its lock has"
  done
}

for role in "$@"; do
  image=$registry/$role sbom=build/release/$role.cdx.json
  buildah push --quiet --digestfile "build/release/$role.digest" ${INSECURE:+--tls-verify=false} \
    "localhost/quantstream/$role:$version" "docker://$image:$version-candidate"
  digest=$(cat "build/release/$role.digest")
  published=$("$crane" digest "$image:$version" 2>/dev/null || true)
  case $published in '' | "$digest") ;; *) stop "$image:$version is published with another content, $published; a version never changes: take a new one" ;; esac

  "$syft" scan --quiet "registry:$image@$digest" --source-name "quantstream-$role" --source-version "$version" --output "cyclonedx-json=$sbom"
  described "$role" "$sbom"
  if [ "${SCAN:-}" != no ]; then
    "$grype" --quiet --only-fixed --fail-on high "sbom:$sbom" || stop "$role has known flaws that are mended elsewhere, or nobody who knows could be asked; it is not published"
  fi
  sign sign "$image@$digest"
  sign attest --type cyclonedx --predicate "$sbom" "$image@$digest"
  "$crane" tag "$image@$digest" "$version"
  echo "$image:$version $digest" >"build/release/$role.lock"
  say "$image:$version is $digest"
done
