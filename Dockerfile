# syntax=docker/dockerfile:1
# One image for each kind of machine; each runs any role (head, Gateway, replica group):
#   make image FLAVOR=cpu     (or gpu, tpu; demo is cpu with the demo's model in it: docs/image.md)
#   docker build --build-arg FLAVOR=cpu -t codegemma-serving:0.1.0-cpu .     does the same without labels
# A list of the Python packages in it (CycloneDX) is in /opt/codegemma/sbom.cdx.json, and written to a directory by
#   docker build --build-arg FLAVOR=cpu --target sbom --output DIRECTORY .
#
# The base is pinned by digest, so that equal sources give equal images. This is the index, for all platforms, of
# python:3.12.15-slim-bookworm, as other projects' public Dockerfiles pin it; it has not been pulled yet, so compare it
# with what Docker Hub says. A newer one, with Debian's newer fixes, is what this prints:
#   docker buildx imagetools inspect python:3.12-slim-bookworm --format '{{.Manifest.Digest}}'
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm@sha256:34386ef0cb081344d7ec1c103ba398e6e9f64e9ab3a1509accc92a4e24a07258
ARG FLAVOR=cpu

# Two secrets, of which nothing stays in the image, are there for networks that do not reach the public index as it is:
# pip.conf, pip's configuration, and ca, certificates that it may name as /run/secrets/ca.
FROM ${PYTHON_IMAGE} AS installer
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /src

FROM installer AS wheel
COPY docker/requirements-build.lock requirements.lock
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY config config
COPY protos protos
COPY serving serving
COPY sharding sharding
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM installer AS build
ARG FLAVOR
RUN python -m venv --without-pip /opt/codegemma
# The packages before the sources: they change seldom, and this layer then comes from the cache.
COPY docker/requirements-${FLAVOR}.lock requirements.lock
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m pip --python /opt/codegemma/bin/python install --no-compile --require-hashes \
    --requirement requirements.lock
COPY --from=wheel /wheels /wheels
# From bytecode a process starts in a third of the time, and the file system is read-only when it runs. What is
# compiled names no time of a source, for an image is unpacked with other times than it was built with.
RUN python -m pip --python /opt/codegemma/bin/python install --no-compile --no-deps --no-index --find-links /wheels \
    codegemma-serving \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/codegemma/lib

FROM build AS inventory
COPY docker/requirements-sbom.lock requirements.lock
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m pip install --require-hashes --requirement requirements.lock
# To validate takes twenty times as long as to write.
RUN cyclonedx-py environment --no-validate --output-reproducible --output-file /sbom.cdx.json /opt/codegemma/bin/python

FROM scratch AS sbom
COPY --from=inventory /sbom.cdx.json /sbom.cdx.json

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="codegemma-serving" \
    org.opencontainers.image.description="Code completion and code chat from Gemma models, by HTTP and gRPC" \
    org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/codegemma/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/home/codegemma
# Nothing is installed when it runs: what could do so goes. The day that useradd notes for a password is not today's.
RUN groupadd --gid 1000 codegemma \
    && SOURCE_DATE_EPOCH=0 useradd --uid 1000 --gid 1000 --create-home codegemma \
    && python -m pip uninstall --yes --root-user-action ignore pip \
    && rm -r /usr/local/lib/python3.*/ensurepip
COPY --from=build /opt/codegemma /opt/codegemma
COPY --from=inventory /sbom.cdx.json /opt/codegemma/sbom.cdx.json
USER 1000:1000
WORKDIR /home/codegemma
EXPOSE 8000 9000 8080
CMD ["codegemma", "--help"]

FROM base AS runtime-cpu

FROM base AS runtime-tpu

FROM base AS runtime-gpu
# NVIDIA's container runtime reads these.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS runtime-demo
COPY docker/demo.yaml /etc/codegemma/demo.yaml
CMD ["codegemma", "serve", "--config", "/etc/codegemma/demo.yaml"]

# hadolint ignore=DL3006
FROM runtime-${FLAVOR} AS runtime
