SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-down test test-all test-quick lint lock clean
.DEFAULT_GOAL := test

# Debian keeps venv in a package apart
$(READY): requirements.lock
	python3 -c 'import ensurepip' || { apt-get update -q && apt-get install -y -q python3-venv; }
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	touch $@

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# settings, model, renderers and whole plans: no host, seconds
test-quick: $(READY) lint
	$(BIN)/pytest tests/unit tests/plan

# all tiers, on hosts that the lab makes: the machines beside everything else
test: $(READY) lint
	$(BIN)/pytest -n 2 -m "not thorough"

# the whole matrix
test-all: $(READY) lint
	$(BIN)/pytest -n 2

demo: $(READY)
	$(BIN)/python -m tests.lab.demo

demo-down: $(READY)
	$(BIN)/python -m tests.lab down --fleet demo

lock: $(READY)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --extra dev --generate-hashes --python-version 3.11 \
	    --no-header --no-emit-index-url --no-emit-find-links -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV)
