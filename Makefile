# `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 4
CONSTRAINTS ?= constraints.txt

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)
# One thread each; twice as many jobs as the two cores of CI, since many tests wait for something.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

DIGITS := example_project/experiments/00_digits/hparams.py

# What is installed here is what runs, whatever the shell has on its path.
unexport PYTHONPATH
unexport PYTHONHOME
# Hundreds of processes import the package: it is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint types format bench test-oldest oldest install clean

help: ## this list
	@echo "make TARGET [PYTHON=python3.12] [JOBS=$(JOBS)]"
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1@\2/p' Makefile | while IFS=@ read -r target text; \
		do printf '  %-12s %s\n' $$target "$$text"; done

demo: install ## install into .venv/, train the example, infer with the best checkpoint
	@echo
	@echo "The data set, from what ships in data/raw/:"
	$(BIN)/python -m example_project.preprocess.digits
	@echo
	@echo "Training, 30 epochs at most:"
	$(BIN)/train $(DIGITS)
	@echo
	@echo "Inference on the test images, with the best checkpoint of that run:"
	$(BIN)/infer $(DIGITS) --checkpoint 00_digits/hparams:best
	@echo
	@echo "The runs so far, newest first:"
	$(BIN)/lab runs --limit 3
	@echo
	@echo "The predictions are in  data/predictions/00_digits.csv"
	@echo "All about the run:      $(BIN)/lab show 00_digits/hparams"
	@echo "Short names (train, infer, lab) in this shell:  source $(BIN)/activate"

test: install lint types ## install, then lint, types and the whole suite: what CI runs
	$(PYTEST)

quick: install lint types ## the same without the tests that kill and resume many processes
	$(PYTEST) -m "not slow"

lint: install ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy --strict on src/
	$(BIN)/mypy

format: install ## ruff, changing files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## measure the costs that are promised
	$(BIN)/python -m benchmarks

test-oldest: ## the suite on the oldest supported packages, in .venv-oldest/
	@$(MAKE) --no-print-directory oldest VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

oldest: install
	$(PYTEST) -m "not slow"
	$(PYTEST) tests/faults/test_every_step.py

install: $(INSTALLED) ## the environment alone: .venv/ with torch-lab, editable

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "there is no $(PYTHON) here; name another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11, 4) and "torch-lab needs Python 3.11.4 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	@echo "Installing into $(VENV)/ (minutes the first time: torch is large)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(PIP) -e '.[test]'
	@touch $@

clean: ## delete the environments and caches, not the runs
	rm -rf .venv .venv-oldest .mypy_cache .pytest_cache .ruff_cache
