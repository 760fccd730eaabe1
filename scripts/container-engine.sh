#!/bin/sh
# Prints what builds and pushes images here: docker, podman or buildah, the first one that works, or ENGINE if it does.
# A client of docker's or podman's without its daemon or machine does not.
set -eu

works() {
    case $1 in
        docker | podman) "$1" info >/dev/null 2>&1 ;;
        buildah) buildah images >/dev/null 2>&1 ;;
        *) echo "ENGINE=$1 is not known: use docker, podman or buildah." >&2 && exit 1 ;;
    esac
}

for engine in ${ENGINE:-docker podman buildah}; do
    if works "$engine"; then
        echo "$engine"
        exit 0
    fi
done
echo "${ENGINE:-None of docker, podman and buildah} works here: install one (apt install buildah needs no daemon) or" \
    "start its daemon." >&2
exit 1
