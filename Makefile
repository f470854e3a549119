# Everything a developer types. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
# Any 3.11.2 (Debian 12's) or later makes the environment; everything after that runs inside it.
SYSTEM_PYTHON ?= python3
SETUP := $(VENV)/.installed
# What tests of the clients install, as a platform's engineer would, without a network.
CLIENT_WHEELS := $(VENV)/client-wheels/.downloaded
TYPESCRIPT := examples/typescript
TYPESCRIPT_SETUP := $(TYPESCRIPT)/node_modules/.installed
# What tests of pages open them with, unpacked.
BROWSER := tests/browser
BROWSER_SETUP := $(BROWSER)/node_modules/.installed
# What checks manifests and images has an environment of its own.
TOOLS := $(VENV)-manifests
TOOLS_SETUP := $(TOOLS)/.installed
IMAGE := build/protos.binpb
# The contracts of the last release.
BASELINE := protos/baseline.binpb
# Comes with Prometheus; no wheel brings it.
PROMTOOL ?= $(shell command -v promtool)
# No wheel brings it either.
HLEDGER ?= $(shell command -v hledger)
CODE := $(wildcard services sandbox cli deploy protos clients examples tests bench)
UV_LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Text is UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
# Whom to trust where packages come from: as the environment says, else as the system does.
AUTHORITIES := $(firstword $(PIP_CERT) $(REQUESTS_CA_BUNDLE) $(SSL_CERT_FILE) \
	$(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt))
ifneq ($(AUTHORITIES),)
export PIP_CERT ?= $(AUTHORITIES)
export REQUESTS_CA_BUNDLE ?= $(AUTHORITIES)
export NODE_EXTRA_CA_CERTS ?= $(AUTHORITIES)
endif

.PHONY: help setup lock gen gen-check baseline lint format types imports manifests rules journals test test-suite \
	test-servers test-parts fuzz faults soak audit contract clients check image image-check up down status demo pictures bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# All that comes over the network comes here: the other targets, but audit and image, need none after it.
setup: $(SETUP) $(CLIENT_WHEELS) $(TYPESCRIPT_SETUP) $(BROWSER_SETUP) $(TOOLS_SETUP) ## Fetch all that is locked

$(SETUP): requirements/dev.txt pyproject.toml
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 2))' || \
		{ echo "Python 3.11.2 or later is needed: make setup SYSTEM_PYTHON=/path/to/python" >&2; exit 1; }
	@$(SYSTEM_PYTHON) -c 'import ensurepip, sqlite3, ssl, venv' || \
		{ echo "A part of Python is missing (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(SYSTEM_PYTHON) -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(PYTHON) -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(CLIENT_WHEELS): requirements/client.txt | $(SETUP)
	@rm -rf $(@D)
	@$(PYTHON) -m pip download --quiet --require-hashes --only-binary :all: -r $< --dest $(@D)
	@touch $@

$(TYPESCRIPT_SETUP): $(TYPESCRIPT)/package-lock.json $(TYPESCRIPT)/package.json | $(SETUP)
	@cd $(TYPESCRIPT) && PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(BROWSER_SETUP): $(addprefix $(BROWSER)/,package-lock.json package.json unpack.mjs) | $(SETUP)
	@cd $(BROWSER) && export PATH="$(abspath $(BIN)):$$PATH" && \
		npm ci --ignore-scripts --no-audit --no-fund --silent && node unpack.mjs
	@touch $@

$(TOOLS_SETUP): requirements/manifests.txt
	@$(TOOLS)/bin/python -m pip --version >/dev/null 2>&1 || $(SYSTEM_PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --require-hashes -r requirements/manifests.txt
	@touch $@

lock: $(SETUP) ## Lock the requirements again, with hashes, for every platform
	$(UV_LOCK) requirements/dev.in --output-file requirements/dev.txt
	$(UV_LOCK) requirements/runtime.in requirements/cli.in --constraint requirements/dev.txt \
		--output-file requirements/runtime.txt
	$(UV_LOCK) requirements/runtime.in requirements/cli.in requirements/sandbox.in requirements/embedded.in \
		--constraint requirements/dev.txt --output-file requirements/sandbox.txt
	$(UV_LOCK) requirements/client.in --constraint requirements/dev.txt \
		--output-file requirements/client.txt
	$(UV_LOCK) requirements/manifests.in --output-file requirements/manifests.txt

gen: $(SETUP) ## Generate gen/ and docs/reference/ from protos/
	@$(PYTHON) -m protos.generate
	@PYTHONPATH=gen $(PYTHON) -m protos.reference

gen-check: $(SETUP) ## Fail if gen/ or docs/reference/ is not what protos/ give
	@$(PYTHON) -m protos.generate --check
	@PYTHONPATH=gen $(PYTHON) -m protos.reference --check

baseline: $(SETUP) ## Take the contracts as those of a release, which later ones may not break
	@$(PYTHON) -m protos.generate --image $(IMAGE)
	@$(BIN)/buf build $(IMAGE) --exclude-source-info --output $(BASELINE)

lint: $(SETUP) ## Check style, security, formatting and contracts
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/bandit --quiet --recursive --severity-level medium --confidence-level medium \
		$(filter-out tests,$(CODE))
	@$(PYTHON) -m protos.generate --image $(IMAGE)
	@$(BIN)/buf lint $(IMAGE) --config protos/buf.yaml
	@$(BIN)/buf breaking $(IMAGE) --against $(BASELINE) --config protos/buf.yaml

format: $(SETUP) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

types: $(SETUP) ## Check the types
	@$(BIN)/mypy $(CODE)

imports: $(SETUP) ## Check who may import whom
	@$(BIN)/lint-imports

# Tests wait as well as compute, so three shares of them run side by side, each with servers of its own:
# those of a whole suite, those of single servers, and the rest. Each takes some 20 minutes on two
# cores, which all three together keep busy.
SUITE_TESTS := tests/contract tests/faults
SERVER_TESTS := tests/clients \
	$(addprefix tests/integration/,catalog embedded gateway notify runtime)

test: setup ## Run every test
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-suite test-servers test-parts

test-suite: $(SETUP) $(BROWSER_SETUP)
	@$(BIN)/pytest $(SUITE_TESTS)

test-servers: $(SETUP) $(CLIENT_WHEELS) $(TYPESCRIPT_SETUP)
	@$(BIN)/pytest $(SERVER_TESTS)

test-parts: $(SETUP) $(BROWSER_SETUP)
	@$(BIN)/pytest $(addprefix --ignore=,$(SUITE_TESTS) $(SERVER_TESTS) tests/journals)

fuzz: $(SETUP) ## Send ten thousand requests of every kind to every method
	@FUZZ_CASES=$${FUZZ_CASES:-10000} $(BIN)/pytest tests/fuzz

faults: $(SETUP) ## Break stacks in many ways: SEEDS=1000; SEED=123 alone; ARGS="--history FILE"
ifdef ARGS
	@$(BIN)/recurring faults --stacks 2 $(ARGS)
else ifdef SEED
	@$(BIN)/recurring faults --seed $(SEED) --seeds $(or $(SEEDS),1)
else
	@$(BIN)/recurring faults --stacks 2 --seeds $(or $(SEEDS),20)
	@$(BIN)/recurring faults --stacks 2 --points
endif

soak: $(SETUP) ## Play histories on one stack for an hour (MINUTES=60), and watch what it takes
	@$(BIN)/recurring soak --minutes $(or $(MINUTES),60)

contract: $(SETUP) $(if $(TARGET)$(KEYS),,$(BROWSER_SETUP)) ## Try the contracts, on the stack's own or on TARGET=host:port TOKEN=… (docs/guide.md)
ifdef KEYS
	@$(foreach each,TARGET CA_FILE GRPC_PLAINTEXT KEYS PEERS SANDBOX NATS,RECURRING_CONTRACT_$(each)='$($(each))') \
		$(BIN)/pytest tests/contract
else ifdef TARGET
	@$(foreach each,TARGET CA_FILE GRPC_PLAINTEXT TOKEN,RECURRING_CONTRACT_$(each)='$($(each))') \
		$(BIN)/pytest tests/contract/test_deployment.py
else
	@$(BIN)/pytest tests/contract
endif

clients: $(SETUP) ## Build the Python client into dist/, and the image of the contracts for others
	@$(PYTHON) -m clients.build
	@$(PYTHON) -m protos.generate --image $(IMAGE)

manifests: $(SETUP) $(TOOLS_SETUP) ## Build every overlay and component, and check them
	@$(PYTHON) -m deploy.manifests $(TOOLS)/bin

audit: $(SETUP) ## Look for known vulnerabilities of what is locked; needs a network, and fails without
	@$(PYTHON) -m deploy.audit

rules: ## Check the alerts and fire each in a test, with promtool (Debian: prometheus)
	@if [ -n "$(PROMTOOL)" ]; then \
		"$(PROMTOOL)" check rules deploy/alerts/recurring.yaml && \
		"$(PROMTOOL)" test rules deploy/alerts/recurring_test.yaml; \
	elif [ -n "$${CI:-}" ]; then \
		echo "rules: promtool is missing, and CI must not do without it" >&2; exit 1; \
	else \
		echo "rules: NOT CHECKED, since promtool is missing (apt-get install prometheus)" >&2; \
	fi

journals: $(SETUP) ## Have hledger read the ledger's journals (Debian: hledger)
	@if [ -n "$(HLEDGER)" ]; then \
		RECURRING_HLEDGER="$(HLEDGER)" $(BIN)/pytest tests/journals; \
	elif [ -n "$${CI:-}" ]; then \
		echo "journals: hledger is missing, and CI must not do without it" >&2; exit 1; \
	else \
		echo "journals: NOT CHECKED BY hledger, which is missing (apt-get install hledger)" >&2; \
	fi

check: gen-check lint types imports manifests rules journals test ## Everything that must hold before a commit

image: $(SETUP) $(TOOLS_SETUP) ## Build the images with podman, buildah or docker, and say what is in them
	@$(PYTHON) -m deploy.image.build $(TOOLS)/bin

image-check: $(SETUP) ## Build the images, run the dev overlay from them, play the demo
	@$(PYTHON) -m deploy.image.check

up: $(SETUP) ## Start the stack on this machine
	@$(PYTHON) -m deploy.embedded up

down: $(SETUP) ## Stop the stack; data survive
	@$(PYTHON) -m deploy.embedded down

status: $(SETUP) ## Show what runs
	@$(PYTHON) -m deploy.embedded status

demo: $(SETUP) ## Play six months of standing orders on the stack, then prove them
	@$(PYTHON) -m deploy.embedded run -- $(BIN)/recurring demo

pictures: $(SETUP) $(BROWSER_SETUP) ## Take the pictures of messages in docs/pictures/ again
	@$(PYTHON) -m tests.browser.pictures

bench: $(SETUP) ## Measure speed, lateness, previews and imports, beside bare SQL and pgqueuer
	@$(PYTHON) -m bench

clean: ## Stop the stack and delete what was made: environment, data, caches
	@test ! -x $(PYTHON) || $(PYTHON) -m deploy.embedded destroy
	@rm -rf $(VENV) $(TOOLS) $(TYPESCRIPT)/node_modules $(BROWSER)/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
