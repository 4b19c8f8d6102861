# The common chores. Everything runs in uv's environment, which it makes when it is missing; `make gpu` needs no uv.
PYTHON ?= uv run python

.PHONY: check test slow lint format types gpu pins readme reference search frontier ablation controls clips study studies

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

# The runs in results/reference: hours on two cores each. What is there already, packed, is not run again; take its file away first.
SWEEP = uv run --extra cluster python -m benchmarks.sweep
PACK = uv run python -m benchmarks.runs.pack --together

reference:
	$(SWEEP) results/reference/micro.yaml --results results/reference/next
	$(PACK) --without spectrum.csv results/reference/next

# How the recipe of micro gets its settings: on validation images.
search:
	$(SWEEP) results/reference/search.yaml --results results/reference/search
	$(SWEEP) --strategy milora --search variant=released --search lr=1e-5,3e-5,1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1 \
	  --results results/reference/search
	$(SWEEP) results/reference/rivals.yaml --results results/reference/search
	$(SWEEP) results/reference/newer.yaml --results results/reference/search
	$(SWEEP) --strategy activation_null --search variant=ness --search lr=1e-5,3e-5,1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1 \
	  --results results/reference/search
	$(PACK) --without rank.csv,spectrum.csv results/reference/search

# The runs of docs/findings/frontier.md, and those of docs/methods/nusa-self.md: one setting changed at a time, its parts and weights at
# other rates, and two further micro CLIPs.
frontier ablation controls clips:
	$(SWEEP) results/reference/$@.yaml --results results/reference/$@
	$(PACK) --without rank.csv,spectrum.csv,history.csv results/reference/$@

clips: results/micro-clip-1 results/micro-clip-2

results/micro-clip-%:
	uv run python -m benchmarks.pretrain --seed $* --out $@

# Studies that read no more of rank.csv than its means over all matrices are packed without it.
MEANS = persistence position which-null
COMMA = ,

# The runs, the figure and the page of a study, as in make study NAME=persistence; at most an hour on two cores. `make studies` does
# all, one after the other.
study:
	uv run --extra cluster python -m benchmarks.study $(NAME)
	if ls results/studies/$(NAME)/*/ > /dev/null 2>&1; then $(PACK) --without spectrum.csv,history.csv$(if $(filter $(NAME),$(MEANS)),$(COMMA)rank.csv) results/studies/$(NAME); fi

studies:
	uv run python -m benchmarks.study --list | cut -d' ' -f1 | xargs -I NAME $(MAKE) study NAME=NAME
