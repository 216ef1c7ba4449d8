# Each command makes the virtual environment it needs; nothing has to be installed before.
PYTHON ?= python3
TEST_VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(TEST_VENV)/bin

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/microcalc/__init__.py)

.PHONY: help demo test check pytest format docs dist sbom bench clean

help:
	@echo "make demo    simulate one mammogram per vendor, detect, write overlays to demo/"
	@echo "make test    all checks and tests"
	@echo "make check   style, types and import contracts only"
	@echo "make pytest  the tests only"
	@echo "make format  put the code in the project's style"
	@echo "make docs    build the documentation into build/docs/"
	@echo "make dist    build and check wheel and sdist, and try the wheel in an environment of its own"
	@echo "make sbom    write the software bill of materials of what users install"
	@echo "make bench   measure speed and memory"
	@echo "make clean   remove environments, caches, build/, dist/ and demo/"

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/microcalc demo --out demo

test: check pytest

pytest: $(TEST_VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=10

check: $(TEST_VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# No network is needed; a warning is an error.
docs: $(TEST_VENV)/.installed
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs build/docs
	@echo "build/docs/index.html"

dist: $(TEST_VENV)/.installed
	rm -rf dist build/wheel-venv
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install --quiet --quiet --constraint constraints.txt dist/*.whl
	BIN=build/wheel-venv/bin bash .ci/try-wheel

# The root component takes its version from pyproject.toml, where it is dynamic.
sbom: $(TEST_VENV)/.installed dist
	sed 's/^dynamic = \["version"\]/version = "$(VERSION)"/' pyproject.toml > build/pyproject.toml
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --pyproject build/pyproject.toml --output-file dist/microcalc.cdx.json build/wheel-venv/bin/python

bench: $(TEST_VENV)/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(TEST_VENV) $(DEMO_VENV) demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
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
