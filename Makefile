# Each command makes the virtual environment it needs; nothing has to be installed before.
PYTHON ?= python3
TEST_VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(TEST_VENV)/bin

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/microcalc/__init__.py)

.PHONY: help demo test check pytest format docs dist sbom wheelhouse bench clean

help:
	@echo "make demo    simulate one mammogram per vendor, detect, write overlays to demo/"
	@echo "make test    all checks and tests"
	@echo "make check   style, types and import contracts only"
	@echo "make pytest  the tests only"
	@echo "make format  put the code in the project's style"
	@echo "make docs    build the documentation into build/docs/"
	@echo "make sbom    write the software bill of materials of what users install, build/microcalc.cdx.json"
	@echo "make dist    build and check wheel and sdist, with the bill of materials; try the wheel in an environment of its own"
	@echo "make wheelhouse  download what every extra needs into build/wheelhouse/, and install from there without an index"
	@echo "make bench   measure speed and memory"
	@echo "make clean   remove environments, caches, build/, dist/ and demo/"

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/microcalc demo --out demo

test: check pytest

# Hundreds of processes import the package: its bytecode is written, also where PYTHONDONTWRITEBYTECODE is set.
pytest: $(TEST_VENV)/.installed
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=10

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

# Sdist and wheel, with the bill of materials in it (hatch_build.py); the wheel is tried in the environment of the bill.
dist: sbom
	rm -rf dist
	$(BIN)/python -m build --sdist --wheel --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	build/wheel-venv/bin/python -m pip install --quiet --quiet --no-deps --force-reinstall dist/*.whl
	BIN=build/wheel-venv/bin bash .ci/try-wheel

# What users install, with the exact versions. The root component takes its version from pyproject.toml, where it is dynamic.
sbom: $(TEST_VENV)/.installed
	rm -rf build/wheel-venv build/microcalc.cdx.json
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install --quiet --quiet --constraint constraints.txt .
	sed 's/^dynamic = \["version"\]/version = "$(VERSION)"/' pyproject.toml > build/pyproject.toml
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --pyproject build/pyproject.toml --output-file build/microcalc.cdx.json build/wheel-venv/bin/python

# Every extra that users install, from a folder, without an index; a few minutes and 1 GB.
EVERY_EXTRA := cascade,cluster,evaluate,node,parquet,report,train,view
wheelhouse: dist
	rm -rf build/wheelhouse build/offline-venv
	$(BIN)/python -m pip download --quiet --quiet --constraint constraints.txt --dest build/wheelhouse "$$(echo dist/*.whl)[$(EVERY_EXTRA)]"
	$(PYTHON) -m venv build/offline-venv
	PIP_CONFIG_FILE=/dev/null build/offline-venv/bin/python -m pip install --quiet --quiet --no-index --find-links build/wheelhouse "microcalc[$(EVERY_EXTRA)]"
	BIN=build/offline-venv/bin bash .ci/try-wheel

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
