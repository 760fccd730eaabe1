#!/bin/sh
# Pushes the images that image.sh built to a registry, and writes the chart's values that name them, by digest, to
# dist/image/values.yaml.
#   REGISTRY   host, and the path there if it has one: registry.example.com/team. Log in to it before
#   FLAVOR     cpu, gpu, tpu or demo, or several with commas between; cpu if it is not set
#   ENGINE     docker, podman or buildah; the first one that works if it is not set
set -eu
cd "$(dirname "$0")/.."
. scripts/image-names.sh
. scripts/registry.sh

engine=$(sh scripts/container-engine.sh)
repository=$REGISTRY/codegemma-serving
digest_file=$(mktemp)
trap 'rm -f "$digest_file"' EXIT

has_image() {
    case $engine in
        buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
        *) "$engine" image inspect "$1" >/dev/null 2>&1 ;;
    esac
}

push() { # push IMAGE TARGET: prints the digest that the registry has it by
    case $engine in
        docker)
            docker tag "$1" "$2" && docker push "$2" >&2
            docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$2" |
                sed -n "s|^${repository#docker.io/}@||p" # docker leaves out Docker Hub's name
            ;;
        *)
            "$engine" push --tls-verify="$is_tls" --digestfile "$digest_file" "$1" "docker://$2" >&2
            cat "$digest_file"
            ;;
    esac
}

for flavor in $flavors; do
    has_image "$(image $flavor)" || {
        echo "There is no image $(image $flavor) here: make image FLAVOR=$flavor" >&2 && exit 1
    }
done
digests=
for flavor in $flavors; do
    target=$repository:$version-$flavor
    echo "Pushing $target"
    digest=$(push "$(image $flavor)" "$target")
    case ${digest#sha256:} in
        "" | *[!0-9a-f]*) # such as several, of pushes before
            echo "$engine knows no digest of $target, or several: '$digest'. Push by ENGINE=buildah or podman." >&2
            exit 1
            ;;
    esac
    echo "Pushed $target@$digest"
    digests="$digests
    $flavor: $digest"
done
mkdir -p dist/image
cat >dist/image/values.yaml <<VALUES
image:
  repository: $repository
  tag: $version
  digests:$digests
VALUES
echo "For Helm: -f dist/image/values.yaml"
