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

# The runs in results/reference: hours on two cores. What is there already is not run again; take its file away first.
# GEM's take too long.
STRATEGIES = $(shell uv run python .ci/methods.py --names)
comma := ,
empty :=
ALL = $(subst $(empty) $(empty),$(comma),$(strip $(filter-out avalanche:gem,$(STRATEGIES))))
SEARCHED = $(subst $(empty) $(empty),$(comma),$(strip $(filter-out zeroshot diki,$(STRATEGIES))))
SWEEP = uv run python -m benchmarks.sweep

reference:
	uv run python -m benchmarks.runs.pack --unpack results/reference
	$(SWEEP) --strategy $(ALL) --seed 42..44 --results results/reference
	$(SWEEP) --strategy milora --set variant=released --seed 42..44 --results results/reference
	$(SWEEP) --strategy moe_adapter --set decision=image --seed 42..44 --results results/reference
	uv run python -m benchmarks.runs.pack --together results/reference

# How the recipe of micro gets its learning rates: on validation images, where finished runs are not done again.
search:
	$(SWEEP) --strategy $(SEARCHED) --search lr=1e-4,3e-4,1e-3,3e-3,1e-2 --results results/search
	$(SWEEP) --strategy milora --set variant=released --search lr=1e-4,3e-4,1e-3,3e-3,1e-2 --results results/search
	$(SWEEP) --strategy diki --search lr=1e-2,3e-2,1e-1,3e-1,1 --results results/search
