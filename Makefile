# `make run` and `make test` set up everything they need in .venv (Python 3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check bench clean

run: .venv/installed
	$(BIN)/specformer report examples/luad_tumor.tsv.gz

test: .venv/installed-dev
	$(BIN)/pytest

# Everything that must hold before a commit.
check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# Times on this machine, CPU and wall; not a test.
bench: .venv/installed-dev
	$(BIN)/python benchmarks/server.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
