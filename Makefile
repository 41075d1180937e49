# make demo   environment, install, train the example, infer with it
# make test   environment, install, lint, types, the whole suite
# make quick  the suite without the tests that kill and resume many processes

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest -n $(JOBS)
JOBS ?= 2

DIGITS := example_project/experiments/00_digits/hparams.py

.PHONY: demo test quick lint types format bench install clean

demo: install
	$(BIN)/python -m example_project.preprocess.digits
	$(BIN)/train $(DIGITS)
	$(BIN)/infer $(DIGITS) --checkpoint 00_digits/hparams:best
	@echo
	$(BIN)/lab runs --limit 3
	@echo "predictions:  data/predictions/00_digits.csv"
	@echo "the run:      $(BIN)/lab show 00_digits/hparams"

test: install lint types
	$(PYTEST)

quick: install lint types
	$(PYTEST) -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m benchmarks

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11, 4) and "torch-lab needs Python 3.11.4 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
