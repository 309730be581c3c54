# Everything that one does with a checkout. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-system run triton test check format page screenshots bench chaos compose-test bundle bundle-check pin clean

BIN := .venv/bin
STAMP := .venv/installed
# What the tests use beside Python, as program:package: curl runs the commands of README.md as they stand there, the tests
# start a PostgreSQL of their own (Debian keeps its programs off PATH), an Orthanc as the PACS, DCMTK sends and receives,
# dciodvfy of dicom3tools judges what we write, Chromium shows the page, and Node builds it once more.
SYSTEM_PROGRAMS := curl:curl initdb:postgresql openssl:openssl Orthanc:orthanc-dicomweb storescu:dcmtk dciodvfy:dicom3tools \
	chromium:chromium node:nodejs npm:npm

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv, every version pinned; a second call does nothing

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $$(PYTHON='$(PYTHON)' .ci/find-python) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

setup-system: ## Install the system packages that the tests use (root on Debian; elsewhere: say which)
	@PATH="$$PATH:/usr/sbin$$(printf ':%s' /usr/lib/postgresql/*/bin)"; \
	missing=$$(for name in $(SYSTEM_PROGRAMS); do command -v $${name%:*} > /dev/null || echo $${name#*:}; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update --quiet=2; \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $$missing; \
	else \
		echo "Not here, so tests that need them are skipped (Debian: apt-get install, as root):" $$missing; \
	fi

run: setup ## Serve on 127.0.0.1:8000 with the weights of model_repository (SIGAP_HOST, SIGAP_PORT)
	$(BIN)/sigap serve

triton: setup ## Serve as `make run` does, the models on a real Triton beside it (no container; its wheel, in .cache)
	$(BIN)/python docker/triton/triton_and_gateway.py

test: setup setup-system ## Run the whole suite (ARGS="-k geometry" runs a part); with CI set a skip is a failure
	$(if $(CI),PYTHONPATH=tests) $(BIN)/python -m pytest $(if $(CI),-p no_skips) $(ARGS)

check: setup ## Format, lint, types, import contracts, licences, Dockerfiles
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/licences.py
	$(BIN)/hadolint docker/*.Dockerfile

format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

page: ## Build the page of service/web into the package, with Node 20.19 or newer; what it writes is checked in
	cd service/web && npm ci && npm run build

screenshots: setup setup-system ## Take the pictures of docs/images anew, of phantoms alone
	PYTHONPATH=tests $(BIN)/python benchmarks/screenshots.py

bench: setup ## Measure speed and memory; writes docs/benchmarks.md (ARGS="--only triton": a part, and no page)
	PYTHONPATH=tests:docker/triton $(BIN)/python benchmarks/run.py $(ARGS)

chaos: setup setup-system ## Kill all gateways at random moments: nothing may be lost (ARGS="--small --seed 7")
	PYTHONPATH=tests $(BIN)/python benchmarks/chaos.py $(ARGS)

compose-test: setup ## Start docker-compose.yml from nothing, test it through TLS, kill containers (SIGAP_COMPOSE="docker compose")
	PYTHONPATH=tests $(BIN)/python -m pytest -p no_skips tests/containers $(ARGS)

bundle: setup ## Make dist/sigap-*.tar for machines without a network (ARGS=--no-images)
	$(BIN)/python docker/bundle/build.py $(ARGS)

bundle-check: setup ## Install that bundle with networking off, start it and run the smoke tests on it
	$(BIN)/python docker/bundle/check.py

pin: setup ## Write constraints.txt anew from what .venv holds
	@sed -n '/^#/p' constraints.txt > .venv/constraints.txt
	$(BIN)/python -m pip freeze --all --exclude-editable | sed 's/+cpu$$//' >> .venv/constraints.txt
	@mv .venv/constraints.txt constraints.txt

clean: ## Remove .venv, caches and what was built
	rm -rf .venv .cache/triton service/web/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find service training tests benchmarks docker .ci -name __pycache__ -type d -prune -exec rm -rf {} +
