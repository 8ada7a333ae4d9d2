# Three commands: make check, make test, make proof. `make` alone lists all.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first Python of at least 3.11 on the path; or say make PYTHON=/path/to/python
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
ALLOW_CUDA ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv trackers demo check format test harness explore quick proof bench docs data clean clean-venv

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

venv: $(STAMP) ## make .venv with the pinned set (done by every other target when it is needed)

$(STAMP): requirements/lock.txt pyproject.toml scripts/check_no_cuda.py
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer is on the path: install one, or say make PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -n "$(ALLOW_CUDA)" || $(BIN)/python scripts/check_no_cuda.py --before requirements/lock.txt
	$(BIN)/python -m pip install --quiet -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	test -n "$(ALLOW_CUDA)" || $(BIN)/python scripts/check_no_cuda.py
	@touch $@

trackers: $(VENV)/.trackers ## add TensorBoard, MLflow and Weights & Biases to .venv, for their tests

$(VENV)/.trackers: $(STAMP) requirements/tracking.txt
	$(BIN)/python -m pip install --quiet -r requirements/tracking.txt -c requirements/lock.txt
	@touch $@

demo: $(STAMP) ## train, weigh and package the digits, then say where the report is
	$(BIN)/weigh run examples/digits.yaml
	@echo "The report: $(CURDIR)/runs/digits/report.html"

check: $(STAMP) ## ruff, mypy, import-linter, ratchets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/unit/test_ratchets.py

format: $(STAMP) ## let ruff mend what it can, renew docs/recipe.md
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/recipe_page.py

# The kills, failing disks and payloads (BESIDE in tests/conftest.py) run in a second process; what it said is shown after the first one's.
test: $(STAMP) ## the suite, in two processes
	@beside=; said=$$(mktemp); trap 'if [ -n "$$beside" ]; then kill $$beside 2>/dev/null || true; fi; rm -f $$said' EXIT; \
	$(BIN)/python -m pytest -m "beside and not harness" -p no:cacheprovider >$$said 2>&1 & beside=$$!; \
	code=0; $(BIN)/python -m pytest -m "not beside and not harness" || code=$$?; \
	echo "== kills, failing disks, payloads: waiting for the second process"; \
	wait $$beside || code=$$?; beside=; cat $$said; exit $$code

harness: $(STAMP) ## what needs the machine to itself: data ten times larger than memory
	$(BIN)/python -m pytest -m harness

explore: $(STAMP) ## the property tests with examples that were never tried
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -m hypothesis

quick: $(STAMP) ## the suite without its slow tests, in two processes
	@said=$$(mktemp); trap 'rm -f $$said' EXIT; \
	$(BIN)/python -m pytest -q -m "not slow" -p no:cacheprovider tests/unit/test_[a-m]*.py >$$said 2>&1 & beside=$$!; \
	code=0; $(BIN)/python -m pytest -q -m "not slow" tests/attacks tests/controls tests/faults tests/journeys tests/unit/test_[n-z]*.py || code=$$?; \
	wait $$beside || code=$$?; cat $$said; exit $$code

proof: $(STAMP) data ## measure every figure that the README quotes (about two hours)
	rm -rf bench/results/proof
	for recipe in digits diabetes linear_regression two_features adult_mlp adult_transformer compas fashion fashion_choice \
	    reviews movies spam spam_pretrained emoji dna freesolv; do \
	  echo "== $$recipe"; $(BIN)/weigh run examples/$$recipe.yaml; done
	$(BIN)/python bench/startup.py --proof-folder bench/results/proof
	$(BIN)/python bench/large.py --proof-folder bench/results/proof
	$(BIN)/python -m pytest -q tests/faults tests/attacks tests/controls --proof-folder bench/results/proof
	$(BIN)/python scripts/proof.py

bench: $(STAMP) .venv-bench/.installed .venv-bench-serving/.installed ## speed side by side: weigh, hand-written loops, Keras, LitServe (see bench/README.md)
	$(BIN)/python examples/fetch.py fashion-mnist movies reviews spam minilm
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/training.py
	$(BIN)/python bench/text.py
	$(BIN)/python bench/large.py
	$(BIN)/weigh run bench/serving.yaml
	$(BIN)/weigh run examples/spam_pretrained.yaml
	$(BIN)/python bench/serving.py --texts runs/spam_pretrained/deployment/package

.venv-bench-serving/.installed: requirements/bench_serving.txt
	test -x .venv-bench-serving/bin/python || $(PYTHON) -m venv .venv-bench-serving
	.venv-bench-serving/bin/python -m pip install --quiet -r requirements/bench_serving.txt
	@touch $@

.venv-bench/.installed: requirements/bench.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -r requirements/bench.txt
	@touch $@

docs: $(STAMP) ## the documentation as a site under site/
	$(BIN)/python scripts/recipe_page.py
	$(BIN)/mkdocs build --strict

data: $(STAMP) ## fetch the real data of the examples to .data/
	$(BIN)/python examples/fetch.py all

clean: ## remove what runs, tests and builds made; keeps .venv and .data
	rm -rf runs site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/results
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-venv: ## remove the environments
	rm -rf .venv .venv-bench .venv-bench-serving
