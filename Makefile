# `make search` runs the example experiment, `make test` runs every check. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
DEMO := $(BIN)/hptune

.PHONY: install search test lint clean
install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

search: install
	$(DEMO) search configs/digits.yaml
	$(DEMO) best --top 1 --run digits
	$(DEMO) train-best --run digits

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
