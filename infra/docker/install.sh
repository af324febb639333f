#!/bin/sh
# Inside the builder stage: makes /opt/venv with one role's locked packages, every file checked against its hash.
# A machine behind a proxy that signs its own certificates hands that authority in as the build secret `ca`.
set -eu
role=$1
if [ -s /run/secrets/ca ]; then
  export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
python3 -m venv /tmp/uv
/tmp/uv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --requirement /locks/uv.txt
/tmp/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/venv
# by hash, unchecked: times of files are all one in an image, and nothing there changes; it reads no source either
PYC_INVALIDATION_MODE=UNCHECKED_HASH UV_LINK_MODE=copy /tmp/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --no-deps --compile-bytecode \
  --requirement "/locks/$role.txt"
rm -rf /tmp/uv
