# The common chores. Everything runs in uv's environment, which it makes when it is missing.
.PHONY: check test slow lint format types pins

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
