#!/usr/bin/env bash
# Lints protos/codegemma/v1/*.proto and rebuilds the Python stubs next to them.
#   scripts/protos.sh           rebuilds in place
#   scripts/protos.sh --check   rebuilds into a temporary directory and fails if the committed stubs differ
# PYTHON names the interpreter with the dev extra; by default that of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in "" | --check) ;; *) echo "usage: scripts/protos.sh [--check]" >&2; exit 2 ;; esac

python=${PYTHON:-.venv/bin/python}
package=codegemma/v1
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

"$(dirname "$python")/buf" lint protos
"$python" -m grpc_tools.protoc --proto_path=protos --python_out="$built" --pyi_out="$built" protos/$package/*.proto
"$python" -m grpc_tools.protoc --proto_path=protos --grpc_python_out="$built" protos/$package/*_service.proto

if [ "${1:-}" = --check ]; then
  if ! diff -r --exclude='*.proto' --exclude=__init__.py --exclude=__pycache__ "protos/$package" "$built/$package"; then
    echo "The stubs in protos/$package are not what the .proto files give: run 'make protos' and commit them." >&2
    exit 1
  fi
else
  rm -f protos/$package/*_pb2*.py*
  cp "$built/$package"/* "protos/$package"
fi
