#!/bin/sh
# Builds the images codegemma-serving:VERSION-FLAVOR, and writes what is in each to dist/image/.
#   FLAVOR     cpu, gpu, tpu or demo, or several with commas between; cpu if it is not set
#   ENGINE     docker, podman or buildah; the first one that works if it is not set
#   BASE       debootstrap: on a base made on this machine instead of the pinned one, where no registry can be reached
#   SOURCE     where the sources are published, for a label; the URL of the remote origin if that is one
#   PIP_CONF   a configuration of pip's, such as for a mirror of the public index
#   CA         certificates in PEM that pip trusts instead of the public ones
set -eu
cd "$(dirname "$0")/.."
. scripts/image-names.sh

engine=$(sh scripts/container-engine.sh)
case "${BASE:-}" in
    "") base=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile) ;;
    debootstrap)
        if [ "$engine" = docker ]; then
            echo "BASE=debootstrap is made by buildah, whose images docker does not see: add ENGINE=buildah." >&2 && exit 1
        fi
        base=localhost/codegemma-python:3.12-bookworm
        buildah inspect --type image "$base" >/dev/null 2>&1 || sh scripts/image-base.sh "$base"
        ;;
    *) echo "BASE=$BASE is not known: leave it out for the pinned base, or use debootstrap." >&2 && exit 1 ;;
esac

committed=$(git log -1 --format=%ct)
created=$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision=$revision-modified
source=${SOURCE:-$(git config remote.origin.url | sed -n 's|^https://\([^/@]*@\)\{0,1\}|https://|p')}

set -- build --build-arg "PYTHON_IMAGE=$base"
case $engine in
    docker) set -- "$@" --build-arg "SOURCE_DATE_EPOCH=$committed" ;;
    podman) set -- "$@" --timestamp "$committed" ;;
    buildah) # chroot needs neither a runtime for containers nor control groups
        set -- "$@" --timestamp "$committed" --layers --isolation "${BUILDAH_ISOLATION:-chroot}"
        ;;
esac
if [ "${CA:-}" ]; then
    set -- "$@" --secret "id=ca,src=$CA"
    if [ -z "${PIP_CONF:-}" ]; then
        PIP_CONF=$(mktemp)
        trap 'rm -f "$PIP_CONF"' EXIT
        printf '[global]\ncert = /run/secrets/ca\n' >"$PIP_CONF"
    fi
fi
[ -z "${PIP_CONF:-}" ] || set -- "$@" --secret "id=pip.conf,src=$PIP_CONF"

for flavor in $flavors; do
    echo "Building $(image $flavor) with $engine on $base"
    "$engine" "$@" --build-arg "FLAVOR=$flavor" --target runtime --tag "$(image $flavor)" \
        --label "org.opencontainers.image.version=$version" \
        --label "org.opencontainers.image.revision=$revision" \
        --label "org.opencontainers.image.created=$created" \
        --label "org.opencontainers.image.base.name=${base%@*}" \
        ${source:+--label "org.opencontainers.image.source=$source"} .
    mkdir -p dist/image
    "$engine" "$@" --build-arg "FLAVOR=$flavor" --target sbom --output "type=local,dest=dist/image/$flavor" .
    echo "Built $(image $flavor). What is in it: dist/image/$flavor/sbom.cdx.json"
done
