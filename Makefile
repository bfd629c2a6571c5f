# Two commands matter: `make demo` (the main job) and `make test` (everything that is checked). Both set themselves up.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test test-slow lint bench clean

install: $(STAMP)

$(STAMP): pyproject.toml protos/build_hook.py $(wildcard protos/retrieval/v1/*.proto)
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(STAMP)

demo: install
	@$(BIN)/retrieval demo --workspace demo-workspace

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	@# Two tests at a time with one thread each: more threads than cores would slow all of them down
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" --nbmake --nbmake-timeout=280 tests notebooks

test-slow: install
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) demo-workspace .mypy_cache .ruff_cache .pytest_cache retrieval/v1
