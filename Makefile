# Every target works from a clean clone: it makes .venv first when that is missing or out of date.
.DEFAULT_GOAL := help
.PHONY: help setup serve test test-parts test-service image push push-chart helm bubblewrap chart-schema manifests manifests-check chaos chaos-memory soak pods abuse clients damage fuzz lint style-check types-check imports-check format protos protos-check playground playground-check playground-setup playground-screenshots oracle forms peers tpu-check gpu-check lock clean

BIN := .venv/bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## find Python 3.12 or 3.13, make .venv, install what the lock pins (ACCELERATOR=gpu or tpu for those)
	@sh scripts/setup.sh

serve: setup ## set up and start the service with Gemma 3 270M, or with CONFIG=YOUR.yaml
	@$(BIN)/codegemma serve $(if $(CONFIG),--config $(CONFIG))

test: test-parts test-service ## set up and run all the tests

test-parts: setup helm bubblewrap playground-setup ## the tests of everything but the whole service
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/service

test-service: setup ## the tests of the whole service: one Ray cluster, which has the machine for itself
	$(BIN)/pytest tests/service

image: ## build the container image (FLAVOR=cpu, gpu, tpu or demo, or several: cpu,gpu); docs/image.md
	@sh scripts/image.sh

push: ## push the images to REGISTRY=HOST/PATH, and write the chart's values that name them by digest
	@sh scripts/push.sh

push-chart: helm ## package the chart and push it to REGISTRY=HOST/PATH
	@sh scripts/push-chart.sh

helm: setup ## put Helm 3, Helm 4, kubectl and rclone into .helm, for the chart's tests
	@sh scripts/helm.sh

bubblewrap: setup ## put bubblewrap into .bubblewrap where the system has none, for the tests of codegemma eval
	@sh scripts/bubblewrap.sh

chart-schema: setup ## rebuild what of the chart is derived: schema, Ray's environment, VALUES.md, ci/
	$(BIN)/python helm/derived.py

manifests: helm chart-schema ## rebuild k8s/ from the chart
	$(BIN)/python helm/manifests.py
	$(BIN)/python helm/sizes.py

manifests-check: helm ## fail if the chart's schema or k8s/ are out of date
	$(BIN)/python helm/derived.py --check
	$(BIN)/python helm/manifests.py --check
	$(BIN)/python helm/sizes.py --check

chaos: setup ## kill parts of a running service under load, 20 times
	$(BIN)/python -m tests.chaos --rounds 20

soak: setup ## hours of load on a group of one host and one of two: whether their memory grows
	$(BIN)/python -m bench.soak_group --minutes 240

chaos-memory: setup ## take memory until Ray ends parts of a running service (needs a machine that is quiet otherwise)
	$(BIN)/python -m tests.chaos.memory

pods: setup helm ## run the demo's pods from its image as a cluster would, and change them under load (needs root)
	$(BIN)/python -m tests.pods

abuse: setup ## send 25,000 hostile inputs to a running service (SEED=N for others, INPUTS=N for fewer)
	$(BIN)/python -m tests.abuse --seed $(or $(SEED),1) --inputs $(or $(INPUTS),25000)

clients: setup ## ask a running service with the clients that people use: Python, JavaScript, Neovim
	@sh scripts/clients.sh
	$(BIN)/python -m tests.clients

fuzz: setup ## send 20,000 requests made from the OpenAPI document and the .proto files (SEED=N, CASES=N)
	$(BIN)/python -m tests.fuzz --seed $(or $(SEED),1) --cases $(or $(CASES),20000)

damage: setup ## damage checkpoints of every form in 20,000 ways, and look how each is taken (SEED=N, CASES=N)
	$(BIN)/python -m tests.damage --seed $(or $(SEED),1) --cases $(or $(CASES),20000)

lint: style-check types-check imports-check protos-check manifests-check playground-check ## all the checks (-j2 for two at a time)

style-check: setup ## linter and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types-check: setup ## type checker
	$(BIN)/mypy

imports-check: setup ## import contracts
	$(BIN)/lint-imports

format: setup ## let the linter and the formatter change what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup ## rebuild the committed gRPC stubs
	bash scripts/protos.sh

protos-check: setup ## lint the .proto files; fail if the committed gRPC stubs are not theirs
	bash scripts/protos.sh --check

playground-setup: setup ## put what the playground is built with and tested in, npm's packages and a Chromium, into playground/
	@sh scripts/playground.sh

playground: playground-setup ## rebuild the committed files of the page at /
	$(BIN)/node playground/build.mjs

playground-check: playground-setup ## check the types of the page's sources; fail if the committed files are not theirs
	$(BIN)/node playground/node_modules/typescript/bin/tsc --project playground
	$(BIN)/node playground/build.mjs --check

playground-screenshots: playground-setup ## take the pictures of the page in docs/ again, with the demo's model
	$(BIN)/python -m tests.playground.screenshots

oracle: setup ## compare the model with transformers on new weights and prompts (needs Python 3.11; SEED=N repeats one)
	@sh scripts/oracle.sh

forms: setup ## read and serve checkpoints that other libraries write, compare with transformers (needs Python 3.11; SEED=N)
	@sh scripts/forms.sh

peers: setup ## measure this project, transformers and llama.cpp on this CPU (needs Python 3.11 and a C++ compiler)
	@sh scripts/peers.sh $(if $(ROUNDS),--rounds $(ROUNDS))

tpu-check: setup ## compile the shipped configurations for TPU v5e, without one (LAYERS=all: whole models, every step)
	@sh scripts/tpu-check.sh

gpu-check: setup ## compile the shipped configurations for H100, without one (LAYERS=all: whole models, every step)
	@sh scripts/gpu-check.sh

PIN = $(BIN)/uv pip compile --quiet --python-version 3.12 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
LOCK = $(PIN) pyproject.toml --universal --extra demo --extra dev
IMAGE_PIN = $(PIN) --python-platform x86_64-manylinux_2_31
IMAGE_LOCK = $(IMAGE_PIN) pyproject.toml --extra tracing
lock: setup ## resolve the dependencies of pyproject.toml again and pin them (UPGRADE=1 takes the newest)
	$(LOCK) $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	$(LOCK) --extra gpu --constraint requirements.lock --output-file requirements-gpu.lock
	$(LOCK) --extra tpu --constraint requirements.lock --output-file requirements-tpu.lock
	$(PIN) tests/clients/requirements.in --universal --output-file tests/clients/requirements.txt
	$(IMAGE_LOCK) --constraint requirements.lock --output-file docker/requirements-cpu.lock
	$(IMAGE_LOCK) --extra demo --constraint requirements.lock --output-file docker/requirements-demo.lock
	$(IMAGE_LOCK) --extra gpu --constraint requirements-gpu.lock --output-file docker/requirements-gpu.lock
	$(IMAGE_LOCK) --extra tpu --constraint requirements-tpu.lock --output-file docker/requirements-tpu.lock
	$(IMAGE_PIN) docker/build.in --constraint requirements.lock --output-file docker/requirements-build.lock
	$(IMAGE_PIN) docker/sbom.in --output-file docker/requirements-sbom.lock

clean: ## remove what the other targets made
	rm -rf .bubblewrap .venv .venv-clients tests/clients/javascript/node_modules .venv-oracle .venv-forms .venv-tpu .venv-gpu .venv-peers-llama .helm dist playground/node_modules playground/.browser .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
