# The common chores. Everything runs in uv's environment, which it makes when it is missing; `make gpu` needs no uv.
PYTHON ?= uv run python

.PHONY: check test slow lint format types gpu pins readme reference search

check: lint types test

test:
	uv run pytest

slow:
	uv run pytest --slow

lint:
	uv run ruff check
	uv run ruff format --check
	uv run lint-imports --no-logo

format:
	uv run ruff check --fix
	uv run ruff format

types:
	uv run mypy

# On a machine with one GPU, in eight minutes and without a network; there PYTHON may be its own, as in make gpu PYTHON=python3.
gpu:
	$(PYTHON) .ci/gpu.py

# Takes the newest versions that pyproject.toml's ranges allow, and pins them there.
pins:
	uv run python .ci/pins.py

# The tables in README.md, docs and strategies/README.md, from the run folders and the methods.
readme:
	uv run python .ci/readme.py

# The runs in results/reference: hours on two cores. What is there already is not run again; take its zip file away first.
# GEM's take too long.
STRATEGIES = $(shell uv run python .ci/methods.py --names)
RUN = OMP_NUM_THREADS=1 uv run python -m benchmarks.run --results results/reference

reference:
	uv run python -m benchmarks.runs.pack --unpack results/reference
	for seed in 42 43 44; do for strategy in $(filter-out avalanche:gem,$(STRATEGIES)) "milora --variant released" "moe_adapter --decision image"; do \
	$(RUN) --seed $$seed --strategy $$strategy || exit 1; done; done
	uv run python -m benchmarks.runs.pack results/reference

# How the recipe of micro got its learning rates: runs in results/search, where finished ones are not run again, then one table.
search:
	for strategy in $(filter-out zeroshot diki,$(STRATEGIES)) "milora --variant released"; do \
	for lr in 1e-4 3e-4 1e-3 3e-3 1e-2; do $(SEARCH) --lr $$lr --strategy $$strategy || exit 1; done; done
	for lr in 1e-2 3e-2 1e-1 3e-1 1; do $(SEARCH) --lr $$lr --strategy diki || exit 1; done
	uv run python -m benchmarks.compare results/search --format runs -o results/reference/search.csv

SEARCH = OMP_NUM_THREADS=1 uv run python -m benchmarks.run --results results/search --order shapes,clocks,scans,colours,symbols --seed 7
