# `make search` runs the example experiment, `make test` runs every check. Both make .venv first, with any Python
# 3.11 to 3.13 that is found; name one with `make PYTHON=/path/to/python test`.
BIN := .venv/bin
HPTUNE := $(BIN)/hptune
# That it can make an environment is asked too: Debian's python3 can't without python3-venv.
SUITS := -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(SUITS) 2>/dev/null && echo $$p && break; done)
endif

.PHONY: install search test lint package examples equal slow soak fuzz coverage mutation soak-memory clean
install: .venv/installed

.venv/installed: pyproject.toml
	@$(or $(PYTHON),false) $(SUITS) 2>/dev/null || { echo "hptune needs Python 3.11, 3.12 or 3.13 with venv and pip, and\
	 $(or $(PYTHON:%=% is not),none of python3 python3.13 python3.12 python3.11 is). Install one (on Debian and Ubuntu python3-venv\
	 too), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,bayes-opt,parquet]'
	$(BIN)/python -m compileall -q hptune  # as pip does with what it does not link
	touch $@

search: install
	$(HPTUNE) search configs/digits.yaml
	$(HPTUNE) best --top 1 --run digits
	$(HPTUNE) train-best --run digits

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry hptune

# What is published, in dist/: without what an earlier build left, of which setuptools would take its list of files.
package: install
	rm -rf dist *.egg-info
	$(BIN)/python -m build --no-isolation >/dev/null
	$(BIN)/twine check --strict dist/*

# Two processes, each with the tests of whole files: TensorFlow is loaded once a process.
test: lint package
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Eight experiments on small data that the script makes; their scores go into the README.
examples: install
	$(BIN)/python scripts/examples.py

# The compiled way beside Keras's own `fit`, over every class and option of the tables, and trials together, permuted and
# alone; then figures beside pandas, numpy, scikit-learn and scipy. Writes both tables in docs/reliability.md. Two hours
# or more on two cores.
equal: install
	$(BIN)/python -m tests.reference --processes 2 --write
	$(BIN)/python -m tests.equal --processes 2 --write
	HPTUNE_TOGETHER=60 $(BIN)/python -m pytest -m slow tests/equal/test_together.py tests/equal/test_people.py \
	  tests/equal/test_guides.py

# Every test that takes too long for each run, but for those of `make equal`.
slow: install
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --ignore tests/equal

# Searches under kills, stops, full disks and damaged files; `make soak MINUTES=30 SEED=7`.
MINUTES ?= 10
soak: install
	$(BIN)/python scripts/soak.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# 20,000 damaged files of all kinds; the tests try 250. Every night others: `make fuzz ROUND=$(date +%Y%m%d)`.
fuzz: install
	HPTUNE_FUZZ=20000 $(if $(ROUND),HPTUNE_FUZZ_ROUND=$(ROUND)) $(BIN)/python -m pytest tests/trust/test_fuzz.py -s --durations=0

# Which lines of hptune/ the tests run, worker processes included.
coverage: install
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest -n 2 --dist loadfile
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --sort=cover --fail-under=95

# Which small faults in the journal, the history, halving and the schedules no test notices; what is tried stands in
# pyproject.toml. Afterwards `.venv/bin/mutmut results` names them, `.venv/bin/mutmut show NAME` prints one.
mutation: install
	$(BIN)/python -m pip install --quiet --editable '.[mutation]'
	rm -rf mutants
	nice $(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results --all true | $(BIN)/python scripts/mutation_score.py

soak-memory: install
	$(BIN)/python -m pytest -m slow -s tests/executors/test_memory.py tests/training/data/test_memory_of_streams.py \
	  tests/training/data/test_large_parquet.py

clean:
	rm -rf .venv mutants build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
