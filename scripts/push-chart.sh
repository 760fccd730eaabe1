#!/bin/sh
# Packages the chart and pushes it to a registry, as oci://REGISTRY/charts/codegemma-serving.
#   REGISTRY   host, and the path there if it has one: registry.example.com/team. Log in to it before
set -eu
cd "$(dirname "$0")/.."
. scripts/registry.sh

rm -rf dist/chart && mkdir -p dist/chart
.helm/helm4 package helm/codegemma-serving --destination dist/chart
plain=
[ $is_tls = true ] || plain=--plain-http
.helm/helm4 push dist/chart/*.tgz "oci://$REGISTRY/charts" $plain
