# Two commands matter: `make demo` (the main job) and `make test` (everything that is checked). Both set themselves up.
# `make test ARGS="-k gc"` hands ARGS to pytest.
ARGS ?=
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The C++ build lies in the virtual environment, so that it lasts as long as what it refers to
BUILD := $(VENV)/build
PIP := $(BIN)/python -m pip install --quiet
# $(call requirements,EXPRESSION): what pyproject.toml lists there, one a line
requirements = $(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*$(1), sep="\n")'
CXX_FILES = $(wildcard $(addprefix retrieval/index/native/*/,*.cpp *.h *.inl) tests/native/*.cpp tests/native/*.h)

.PHONY: install demo test test-slow test-gpu lint tidy format docs docs-serve clean

# Always asked, at once when nothing changed: which C++ sources and protos are newer than what was made of them
install: $(STAMP)
	@$(BIN)/cmake --build $(BUILD) -- --quiet

# The package is built with what is installed here instead of a throw-away environment: so $(BUILD) stays valid, and a change
# of the C++ sources compiles only what it touches
$(STAMP): pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) "$(TORCH)"
	@$(call requirements,p["build-system"]["requires"]) | $(PIP) cmake ninja -r /dev/stdin
	@$(PIP) --no-build-isolation --no-deps --config-settings=build-dir=$(BUILD) --editable .
	@$(call requirements,p["project"]["dependencies"] + p["project"]["optional-dependencies"]["dev"]) | $(PIP) -r /dev/stdin
	@touch $(STAMP)

demo: install
	@$(BIN)/retrieval demo --workspace demo-workspace

lint: install tidy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# A quarter of a minute on two cores
tidy: install
	printf '%s\n' $(filter %.cpp,$(CXX_FILES)) | xargs -n 4 -P 2 $(BIN)/clang-tidy -p $(BUILD) --quiet

# What formatters and ruff's safe fixes can mend
format: install
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

docs docs-serve: export NO_MKDOCS_2_WARNING = 1
docs: install
	$(BIN)/mkdocs build --strict

docs-serve: install
	$(BIN)/mkdocs serve

test: lint
	@# Two tests at a time with one thread each: more threads than cores would slow all of them down
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" --nbmake --nbmake-timeout=280 tests notebooks $(ARGS)

test-slow: install
	$(BIN)/python -m pytest -m slow $(ARGS)

# What CUDA computes beside what the CPU does, and how fast; a minute or eight. With the Python and the torch that are
# here: nothing is set up. Packages that lie elsewhere come in by PYTHONPATH; without a card it says so and passes
test-gpu:
	@PYTHONPATH=.$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m tests.gpu --json gpu-report.json $(ARGS)

clean:
	rm -rf $(VENV) demo-workspace .mypy_cache .ruff_cache .pytest_cache build retrieval/v1 retrieval/index/_native*.so
