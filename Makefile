# make demo   set up, then search a small network on real images and this processor (about four minutes)
# make test   set up, then the tests for every day, which say at the end what they took; make test-slow runs all that take longer
# make check  set up, then format, lint, types and tests, as ./check does
# Everything is written below this folder: .venv, .cache, runs.

PYTHON ?= python3
RUN ?= runs/demo
BIN := .venv/bin
READY := .venv/.ready

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export XDG_CACHE_HOME := $(CURDIR)/.cache
export ARCHSMITH_HOME := $(CURDIR)/.cache/archsmith
export TMPDIR := $(CURDIR)/.cache/tmp
# On busy cores, several threads that spin while they wait are many times slower than one.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test test-touched test-slow lint check docs clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "also: make setup, test-touched, test-slow, lint, docs (regenerate), clean (all but runs/)"

setup: $(READY)

demo: $(READY)
	$(BIN)/archsmith search --data digits --maximize accuracy_top1 --minimize latency_ms \
	  --on onnxruntime:threads=1,batch=64 --limit 'latency_ms<=60%' --budget 40 --baseline random:20 --run '$(RUN)'

test: $(READY)
	$(BIN)/python -m pytest -n 2

# Beside the tests for every day, the whole suites of the methods that were touched since main was left.
test-touched: $(READY)
	$(BIN)/python -m pytest -n 2 --touched

# It says first what it will take, from what was noted when it last ran with --note-seconds.
test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(READY)
	./check --lint

check: $(READY)
	./check

docs: $(READY)
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first, pinned: otherwise pip may download another build of the largest package while it resolves versions.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "archsmith needs Python 3.11 or newer, and there is no '$(PYTHON)': install it, or give make PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "archsmith needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version): give make PYTHON=python3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@mkdir -p .cache/tmp
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --progress-bar off torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $(READY)

# Made on every call, not only in set-up: TMPDIR must exist even if somebody has deleted .cache.
$(shell mkdir -p .cache/tmp)
