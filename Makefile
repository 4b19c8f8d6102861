# The common chores. Everything runs in uv's environment, which it makes when it is missing.
.PHONY: check test slow lint format types pins reference

check: lint types test

test:
	uv run pytest

slow:
	uv run pytest --slow

lint:
	uv run ruff check
	uv run ruff format --check

format:
	uv run ruff check --fix
	uv run ruff format

types:
	uv run mypy

# Takes the newest versions that pyproject.toml's ranges allow, and pins them there.
pins:
	uv run python .ci/pins.py

# The runs in results/reference/micro: about a quarter of an hour on two cores. What is there already is not run again.
reference:
	for strategy in zeroshot finetune lora nusa; do for seed in 42 43 44; do \
	uv run python -m benchmarks.run --strategy $$strategy --seed $$seed --results results/reference || exit 1; done; done
