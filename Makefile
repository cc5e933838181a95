# make            lists the targets
# Everything runs in .venv, which the first target makes; nothing is installed outside of it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= 3
WAITING ?= 6
FUZZ   ?= 100000
KILLS  ?= 200
CUTS   ?= 50

# Without compiled files each of the many processes that the tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.DEFAULT_GOAL := help
.PHONY: help install demo chaos test check lint types contracts quick slow format lifecycle schemas runtimes bench fuzz crash browser power clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(VENV) || { echo "python3 with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

install: $(STAMP) ## make .venv with everything in it

demo: $(STAMP) ## the main job: a fresh repository, a real hub, real sidecars, an honest count
	@$(BIN)/agentcom demo

chaos: $(STAMP) ## the same while a sidecar and the hub are killed
	@$(BIN)/agentcom demo --chaos

test: check slow ## everything, as CI runs it (at most 10 minutes)

check: lint types contracts quick ## lint, types, contracts, quick tests (less than 2 minutes)

lint: $(STAMP) ## ruff: format and rules
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

contracts: $(STAMP) ## the shape of the house: import-linter
	@$(BIN)/lint-imports --no-logo >.import-contracts.log 2>&1 && rm .import-contracts.log \
		|| { cat .import-contracts.log; rm .import-contracts.log; exit 1; }

quick: $(STAMP) ## the quick tests
	@$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not slow and not crash and not power and not browser"

slow: $(STAMP) ## the tests with real processes: acceptance, crashes; they mostly wait, so more run at once
	@$(BIN)/pytest -n $(WAITING) --dist worksteal -m slow

format: $(STAMP) ## format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lifecycle: $(STAMP) ## write docs/lifecycle.md from the tables
	@$(BIN)/python -m coordinator.drawing > docs/lifecycle.md

schemas: $(STAMP) ## write docs/schemas from the models of people's files
	@$(BIN)/python -m coordinator.files.editors docs/schemas

fuzz: $(STAMP) ## 100,000 hostile inputs, new ones in every run (about 15 minutes); FUZZ=N for another number
	@AGENTCOM_FUZZ=$(FUZZ) $(BIN)/pytest -n $(JOBS) tests/fuzz

crash: $(STAMP) ## kill -9 of hub and sidecar at every step and at random, beside git gc (about 45 minutes); KILLS=N for another number
	@$(BIN)/pytest -n $(JOBS) -m crash tests/simulation
	@AGENTCOM_KILLS=$(KILLS) $(BIN)/pytest -m "slow or crash" tests/crash

browser: $(STAMP) ## the dashboard in a real Chromium, which must be there; screenshots in .screenshots
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[browser]"
	@AGENTCOM_BROWSER=must $(BIN)/pytest -rs -m browser tests/browser

power: $(STAMP) ## 50 power cuts for each engine on a disk of its own (needs root, says when it cannot); CUTS=N for another number
	@AGENTCOM_CUTS=$(CUTS) $(BIN)/pytest -rs -m power tests/crash

runtimes: $(STAMP) ## get the pinned agent programs from npm into .runtimes (2 GB) and check the presets against their help
	@$(BIN)/python -m sidecar.runtimes.check .runtimes

bench: $(STAMP) ## the benchmarks, quick
	@$(BIN)/python -m benchmarks.scheduler --quick
	@echo
	@$(BIN)/python -m benchmarks.yaml --quick
	@echo
	@$(BIN)/python -m benchmarks.backlog --quick
	@echo
	@$(BIN)/python -m benchmarks.journal --quick
	@echo
	@$(BIN)/python -m benchmarks.log --quick
	@echo
	@$(BIN)/python -m benchmarks.startup --quick
	@echo
	@$(BIN)/python -m benchmarks.gateway --quick
	@echo
	@$(BIN)/python -m benchmarks.sidecar --quick
	@echo
	@$(BIN)/python -m benchmarks.dashboard --quick
	@echo
	@$(BIN)/python -m benchmarks.gitflow --quick

clean: ## remove .venv and caches
	@rm -rf $(VENV) .screenshots .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
