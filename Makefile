# Two commands for a newcomer: `make demo` and `make test`. Each makes what it needs on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test lint bench example clean

demo: $(VENV)/.core  ## convert and compare the example in all six precisions
	$(BIN)/narrowcast compare examples/digits/model.keras --data examples/digits/test.npz \
		--calibrate examples/digits/calibration.npz --threads 1,2 -o out/

test: $(VENV)/.test  ## all tests
	$(BIN)/python -m pytest -n 2 $(PYTEST)

lint: $(VENV)/.lint  ## style, types, the contract between the rooms, size budget
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/size_budget.py

bench: $(VENV)/.test  ## the figures of docs/benchmarks.md; see bench/README.md for the peers
	$(BIN)/python bench/run.py

example: $(VENV)/.test  ## trains the example again
	$(PIP) --group examples
	$(BIN)/python examples/train_digits.py

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.core constraints.txt
	$(PIP) --constraint constraints.txt torch==2.13.0
	$(PIP) --constraint constraints.txt --group test
	-@{ command -v chromium && command -v chromedriver; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; } \
		|| echo "no chromium with chromedriver: the tests of the report in a browser are skipped"
	touch $@

$(VENV)/.lint: $(VENV)/.core constraints.txt
	$(PIP) --constraint constraints.txt --group lint
	touch $@

clean:
	rm -rf $(VENV) out
