# Copies a checkpoint from a bucket to a directory, which appears complete or not at all, and once: sh copy-bucket.sh
# gs://BUCKET/PATH DIRECTORY, or s3://. Only files that the bucket's SHA256SUMS names are copied, and each must have its
# hash; those that match a third argument are left out. For rclone's image, whose sh is busybox's.
set -eu
source=$1
target=$2
without=${3-}
origin=$source${without:+, without $without}
partial=$(dirname "$target")/.$(basename "$target").copy
sums=$partial/SHA256SUMS
lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT

fail() {
    echo "error: $1" >&2
    exit 1
}

copy() {
    # In the background, for a shell that waits for a command passes no signal on.
    rclone copy --config /notfound --stats 30s --stats-one-line --stats-log-level NOTICE "$@" &
    copying=$!
    trap 'kill $copying; exit 143' TERM INT
    wait $copying
}

if [ -e "$target" ]; then
    there=$(sed -n '1s/^# //p' "$target/SHA256SUMS" 2>/dev/null || true)
    [ "$there" = "$origin" ] ||
        fail "$target is ${there:-of unknown origin}, and not $origin. Name another target; groups may be reading this one."
    echo "$target is $origin already."
    exit 0
fi

mkdir -p "$partial"
remote=$(echo "$source" | sed 's,^gs://,:gcs:,; s,^s3://,:s3:,')

rm -f "$sums"
copy --include /SHA256SUMS "$remote" "$partial"
[ -f "$sums" ] || fail "$source has no SHA256SUMS, by which to check what is copied. In the directory that you uploaded: \
sha256sum * >SHA256SUMS, and upload that."
# Not itself: made a second time by the command above, it has the hash of an empty file for that.
grep -v -e '^#' -e '^[0-9a-fA-F]* [ *]SHA256SUMS$' "$sums" >"$lists/sums" || fail "$source: its SHA256SUMS names no file."
# sha256sum passes over other lines, and their files would be missing.
! grep -v -E '^[0-9a-fA-F]{64} [ *].' "$lists/sums" >&2 || fail "$source: its SHA256SUMS has lines that sha256sum does not \
write, above. Make it by that."
if [ -n "$without" ]; then
    while read -r line; do
        # shellcheck disable=SC2254 # it is a pattern
        case ${line#* [ *]} in $without) ;; *) echo "$line" ;; esac
    done <"$lists/sums" >"$lists/kept"
    mv "$lists/kept" "$lists/sums"
fi
sed 's/^[0-9a-fA-F]\{64\} [ *]//' "$lists/sums" >"$lists/files"
! grep -E '^/|(^|/)\.\.(/|$)' "$lists/files" || fail "$source: its SHA256SUMS names a path outside."

copy --files-from-raw "$lists/files" "$remote" "$partial"
if ! (cd "$partial" && sha256sum -c "$lists/sums") >"$lists/checked"; then
    sed -n 's/: FAILED.*$//p' "$lists/checked" | while read -r name; do rm -f "$partial/$name"; done
    fail "$source: not all files came with the hashes of its SHA256SUMS: $(grep FAILED "$lists/checked"). Upload it anew if \
that stays so."
fi
{
    echo "# $origin"
    cat "$lists/sums"
} >"$sums"
mv "$partial" "$target"
echo "Wrote $target. In a configuration: checkpoint: $target"
