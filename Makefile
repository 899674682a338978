# make demo: the comparison.  make test: everything.  make serve: the service.  Each sets up what is missing.
PYTHON ?= python3
BIN := .venv/bin
# Processes that test at once: more than processors, for tests also wait.
TESTERS ?= 3

# How long a soak takes, and of which modes (several with commas between).
SECONDS ?= 600
MODE ?= group_commit
FAULTS ?= kill,pause,stop,restart

.PHONY: help setup demo test bench soak serve lock audit docs site release clean

help:
	@echo "make demo   compare the locks: which one never sells a ticket twice, and what it costs"
	@echo "make test   all tests, with lint, types and import contracts"
	@echo "make bench  how fast all is, with docs/performance.md made again (about an hour, on a quiet machine)"
	@echo "make soak   buy, hold, cancel and repeat for SECONDS=600 amid faults, in MODE=group_commit: nothing may be lost, or keep growing"
	@echo "make serve  the service on http://127.0.0.1:8000, tickets in ./data (settings: TURNSTILE_...)"
	@echo "make docs   make the generated parts of the documents again"
	@echo "make site   the documents as a site, in site/"
	@echo "make release  what is given away, in dist/: a wheel and the source"
	@echo "make lock   choose the newest dependencies that pyproject.toml allows"
	@echo "make audit  look through the dependencies: hashes, licences, known vulnerabilities where a list of them is reached"
	@echo "make setup  set up .venv (the others do it by themselves)   make clean  remove .venv"

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here: make PYTHON=/path/to/python3 ..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "turnstile needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.13 ..."; exit 2; }
	@echo "setting up .venv (one to three minutes)"
	@$(PYTHON) -m venv --clear .venv || { echo "python's venv is missing: on Debian, apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/python -m loadtest compare --shape blog --workers 4

# The tests start the service hundreds of times. Where Python is told to write no bytecode, each start would compile it anew.
test: setup
	@$(BIN)/python -m compileall -q bench docs loadtest promises service tests || true
	@$(BIN)/python -m pytest --numprocesses $(TESTERS)

bench: setup
	@$(BIN)/python bench/check_million.py
	@$(BIN)/python bench/check_soak.py
	@$(BIN)/python bench/client_rate.py
	@$(BIN)/python -m bench.where
	@$(BIN)/python -m bench.switches
	@$(BIN)/python -m bench.targets
	@$(BIN)/python -m bench.engines
	@$(BIN)/python -m bench.hosts --mode postgres_group --mode redis_script
	@$(BIN)/python -m bench.overload

soak: setup
	@$(BIN)/python -m loadtest compare --soak --modes $(MODE) --seconds $(SECONDS) --faults $(FAULTS) --no-trace

serve: setup
	@$(BIN)/python -m service

docs: setup
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m tests.planted

site: setup
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs -d .sphinx . site
	@echo "site/docs/index.html"

release: setup
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --extra postgres --extra redis --extra etcd

lock: setup
	@$(BIN)/python -m pip install --quiet uv
	@$(COMPILE) --upgrade --extra loadtest --extra tracing --group dev --output-file requirements.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock --extra tracing --output-file requirements.service.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock --extra loadtest --output-file requirements.loadtest.lock pyproject.toml

# They have dependencies of their own, which are not for .venv. Without them, what needs them is left out.
AUDIT := .venv/audit/bin/pip-audit
LOCUST := .venv/locust/bin/locust
$(AUDIT) $(LOCUST): | setup
	@$(PYTHON) -m venv $(dir $(@D))
	@$(@D)/python -m pip install --quiet --disable-pip-version-check $(@F) || \
		echo "$(@F) could not be installed: what needs it is left out"

audit: $(AUDIT)
	@$(BIN)/python -m tests.audit

clean:
	rm -rf .venv .sphinx site
