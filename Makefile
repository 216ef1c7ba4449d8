# Each command makes the virtual environment it needs; nothing has to be installed before.
PYTHON ?= python3
TEST_VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(TEST_VENV)/bin

.PHONY: help demo test check format bench clean

help:
	@echo "make demo    simulate one mammogram per vendor, detect, write overlays to demo/"
	@echo "make test    all checks and tests"
	@echo "make check   style, types and import contracts only"
	@echo "make format  put the code in the project's style"
	@echo "make bench   measure speed and memory"
	@echo "make clean   remove environments, caches and demo/"

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/microcalc demo --out demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=10

check: $(TEST_VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TEST_VENV)/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(TEST_VENV) $(DEMO_VENV) demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The demonstration uses what a user gets: the light package. The tests add training and the checks.
$(DEMO_VENV)/.installed: EXTRAS :=
$(TEST_VENV)/.installed: EXTRAS := [dev]
$(DEMO_VENV)/.installed $(TEST_VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "microcalc needs Python 3.11 or newer, but '$(PYTHON)' is `$(PYTHON) --version 2>&1`; try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	rm -rf $(@D)
	@$(PYTHON) -m venv $(@D) || { echo "could not make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing microcalc$(EXTRAS) into $(@D) (once; a few minutes)"
	@$(@D)/bin/python -m pip install --quiet --quiet --editable '.$(EXTRAS)' --constraint constraints.txt
	@touch $@
