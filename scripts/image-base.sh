#!/bin/sh
# Makes an image like python:3.12-slim-bookworm out of Debian's packages and this machine's CPython 3.12, for a machine
# that reaches no registry. It is to try the images, not to publish them: nobody else has it, and it lacks what Debian
# fixed since the release.
# Usage: image-base.sh NAME
set -eu
cd "$(dirname "$0")/.."

name=$1
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null || ! command -v buildah >/dev/null; then
    echo "A base image is made by root, with debootstrap and buildah: apt install buildah debootstrap" >&2 && exit 1
fi
python=$(sh scripts/find-python.sh 3.12) || {
    echo "No Python 3.12 found, which the base image is made of: pyenv install 3.12" >&2 && exit 1
}
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
if [ "$prefix" = /usr ]; then
    echo "$python is the system's own and cannot be taken out of it. The base image needs one in a directory of its" \
        "own: pyenv install 3.12" >&2 && exit 1
fi

root=$(mktemp -d)
# What debootstrap mounts there (/proc) stays when it is killed: that is never removed with the rest.
trap 'rm -rf --one-file-system "$root" "$root.log"' EXIT
trap 'exit 130' INT TERM
echo "Making $name: Debian's packages, a minute or two"
packages=ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g
debootstrap --variant=minbase --include=$packages bookworm "$root" >"$root.log" || {
    tail -n 5 "$root.log" >&2 && exit 1
}
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
echo "CPython from $prefix"
tar -C "$prefix" -c --exclude=__pycache__ --exclude='*.a' --exclude=lib/python3.12/test \
    --exclude='lib/python3.12/site-packages/*' bin/python3.12 include lib | tar -C "$root/usr/local" -x
ln -s python3.12 "$root/usr/local/bin/python3"
ln -s python3.12 "$root/usr/local/bin/python"
chroot "$root" ldconfig
chroot "$root" /usr/local/bin/python -c 'import bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib' || {
    echo "The CPython of $prefix does not run on Debian bookworm: it wants one that was built for it." >&2 && exit 1
}
chroot "$root" /usr/local/bin/python -m ensurepip >/dev/null 2>&1

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
buildah commit --quiet --rm "$container" "$name" >/dev/null
echo "Made $name"
