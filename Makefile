# make demo: the comparison.  make test: everything.  make serve: the service.  Each sets up what is missing.
PYTHON ?= python3
BIN := .venv/bin
# Processes that test at once: more than processors, for tests also wait.
TESTERS ?= 3

.PHONY: help setup demo test bench serve lock docs clean

help:
	@echo "make demo   compare the locks: which one never sells a ticket twice, and what it costs"
	@echo "make test   all tests, with lint, types and import contracts"
	@echo "make bench  how fast all is, with docs/performance.md made again (about an hour, on a quiet machine)"
	@echo "make serve  the service on http://127.0.0.1:8000, tickets in ./data (settings: TURNSTILE_...)"
	@echo "make docs   make the generated parts of the documents again"
	@echo "make lock   choose the newest dependencies that pyproject.toml allows"
	@echo "make setup  set up .venv (the others do it by themselves)   make clean  remove .venv"

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here: make PYTHON=/path/to/python3 ..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "turnstile needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.13 ..."; exit 2; }
	@echo "setting up .venv (some seconds)"
	@$(PYTHON) -m venv --clear .venv || { echo "python's venv is missing: on Debian, apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/python -m loadtest compare --shape blog --workers 4

test: setup
	@$(BIN)/python -m pytest --numprocesses $(TESTERS)

bench: setup
	@$(BIN)/python bench/check_million.py
	@$(BIN)/python bench/client_rate.py
	@$(BIN)/python -m bench.where
	@$(BIN)/python -m bench.switches
	@$(BIN)/python -m bench.targets
	@$(BIN)/python -m bench.engines
	@$(BIN)/python -m bench.hosts --mode postgres_group --mode redis_script

serve: setup
	@$(BIN)/python -m service

docs: setup
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m tests.planted

lock: setup
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --extra loadtest --extra postgres --extra redis --extra etcd \
		--group dev --no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv
