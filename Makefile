# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: venv dev demo test test-all test-offline lint fuzz bench clean

venv: $(STAMP)
dev: $(DEV)

$(BIN)/python:
	@echo "creating $(VENV)" && $(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	@echo "installing pratique (a few minutes the first time)" && $(PIP) install -c constraints.txt -e .
	@touch $@

$(DEV): $(STAMP)
	@echo "installing test and lint tools" && $(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/pratique demo $(DEMO_ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadgroup

test-all: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-offline: $(DEV)
	unshare -rn $(BIN)/python -m tests.offline -q -m "not slow" -n 2 --dist loadgroup

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

bench: $(DEV)
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
