# syntax=docker/dockerfile:1
# One image for each kind of machine; all run any role (head, Gateway, replica group):
#   docker build --build-arg ACCELERATOR=cpu -t REGISTRY/codegemma-serving:0.1.0-cpu .      (or gpu, tpu)
# A list of everything that is in it (CycloneDX), written to sbom/:
#   docker build --build-arg ACCELERATOR=cpu --target sbom --output sbom .
#
# The base is pinned by digest, so that equal sources give equal images. To take a newer one, put what
# `docker buildx imagetools inspect python:3.12-slim-bookworm --format '{{.Manifest.Digest}}'` prints behind the @:
#   --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
# The tag alone is only the default because this repository cannot know which digest you have verified.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG ACCELERATOR=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/codegemma
ENV PATH=/opt/codegemma/bin:$PATH
# The packages before the sources: they change seldom, and this layer then comes from the cache.
COPY docker/requirements-${ACCELERATOR}.lock requirements.lock
RUN python -m pip install --no-compile --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY config config
COPY protos protos
COPY serving serving
COPY sharding sharding
RUN python -m pip install --no-compile --no-deps --no-build-isolation .
# From bytecode a process starts in a third of the time, and the file system is read-only when it runs.
RUN python -m compileall -q -j 0 /opt/codegemma/lib \
    && python -m pip uninstall --yes hatchling

FROM build AS inventory
RUN python -m venv /opt/inventory \
    && /opt/inventory/bin/python -m pip install cyclonedx-bom==7.5.0 \
    && /opt/inventory/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.json /opt/codegemma/bin/python

FROM scratch AS sbom
COPY --from=inventory /sbom.json /sbom.json

FROM ${PYTHON_IMAGE} AS runtime
# NVIDIA's container runtime reads these; without it they mean nothing.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV PATH=/opt/codegemma/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/home/codegemma
RUN groupadd --gid 1000 codegemma \
    && useradd --uid 1000 --gid 1000 --create-home codegemma
COPY --from=build /opt/codegemma /opt/codegemma
USER 1000:1000
WORKDIR /home/codegemma
EXPOSE 8000 9000 8080
CMD ["codegemma", "--help"]
