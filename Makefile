# `make run` starts Wardroom; `make test` tests it. Both need Python 3.11 (with venv), make and git, nothing else.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Tests that start servers wait more than they compute: two at a time, also on a small machine.
PARALLEL ?= -n 2 --dist worksteal
# Checks that only read the settings need values, not servers.
NOWHERE := SECRET_KEY=unused-by-checks WARDROOM_URL=http://localhost DATABASE_URL=sqlite:///:memory: \
	REDIS_URL=redis://localhost:1 WARDROOM_EMBEDDED=1 DJANGO_SETTINGS_MODULE=config.settings

# Of what is exported for other Pythons and other pips, only the package index, and how to reach it, is taken over.
INDEX := PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_TRUSTED_HOST PIP_CERT PIP_CLIENT_CERT PIP_PROXY \
	PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_CACHE_DIR PIP_NO_CACHE_DIR PIP_CONFIG_FILE PIP_KEYRING_PROVIDER
unexport $(filter-out PYTHON $(INDEX),$(filter PYTHON% PIP_%,$(.VARIABLES))) DJANGO_SETTINGS_MODULE VIRTUAL_ENV
export PYTHONUTF8 := 1
# Also against pip's configuration files.
export PIP_USER := 0
export PIP_REQUIRE_VIRTUALENV := 0

.PHONY: run test coverage test-slow chaos slice bench test-bare lint format types migrations openapi lock servers install install-dev install-adapters clean
.DELETE_ON_ERROR:

run: install
	@exec $(BIN)/python manage.py up

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev
install-adapters: $(VENV)/.installed-adapters

$(BIN)/python:
	@scripts/make_venv.sh "$(PYTHON)" "$(VENV)"

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Wardroom runs on (half a minute, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing what the tests need (half a minute, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	@touch $@

# The frameworks of wardroom.adapters, for their tests alone. Their lock is complete, and one of them names an older
# websockets than the server runs on, for a part that no adapter uses: so nothing is resolved here.
$(VENV)/.installed-adapters: $(VENV)/.installed-dev requirements-adapters.txt
	@echo "Installing the frameworks that adapters are tested with (half a minute, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-adapters.txt
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev requirements-bench.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.txt
	@touch $@

servers:
	@scripts/install_test_servers.sh

# Every backend runs, also when one before failed; ARGS goes to pytest (ARGS="tests/mailbox -k drain"). Up to RERUN
# failed tests run once more, alone, and are named as FLAKY when they pass then.
RERUN ?= 0
BACKENDS ?= sqlite postgres
test: install-adapters servers
	@$(BIN)/python scripts/run_tests.py --rerun $(RERUN) $(BACKENDS) -- $(PARALLEL) $(ARGS)

# The same tests, and then a table of the lines and branches that none of them reached, least covered modules first. The
# files of single processes are in a folder of their own, so that a stopped run leaves nothing for the next one.
coverage: install-adapters servers
	@rm -rf var/coverage && mkdir -p var/coverage
	@export COVERAGE_FILE=$(CURDIR)/var/coverage/data; status=0; \
		$(BIN)/coverage run scripts/run_tests.py $(BACKENDS) -- $(PARALLEL) $(ARGS) || status=$$?; \
		$(BIN)/coverage combine --quiet && $(BIN)/coverage report || status=$$?; exit $$status

# On PostgreSQL also what `make test` runs beside SQLite only.
test-slow: install-adapters servers
	@status=0; \
		$(BIN)/python scripts/run_tests.py sqlite -- -m slow $(ARGS) || status=$$?; \
		$(BIN)/python scripts/run_tests.py postgres -- -m "slow or (surface and not chaos)" $(ARGS) || status=$$?; \
		exit $$status

chaos: install-adapters servers
	@$(BIN)/python scripts/run_tests.py $(BACKENDS) -- -m chaos $(ARGS)

# A slice of both, which CI runs: the slow test that waits most and computes least, beside two attacks and a few kills.
slice: install-adapters servers
	@CHAOS_ATTACKS=event_floods,anonymous_documents CHAOS_KILLS=5 timeout 150 \
		$(BIN)/python scripts/run_tests.py sqlite -- -n 2 --dist loadgroup tests/chaos tests/e2e/conformance -m slice $(ARGS)

bench: $(VENV)/.installed-bench servers
	@$(BIN)/python -m benchmarks $(ARGS)

# In a bare Debian 12 made for the occasion: does `make run` answer, does `make test` pass? Needs root. With ARGS only the
# set-up and these tests (ARGS="tests/core").
test-bare:
	@scripts/test_bare.sh $(ARGS)

lint: install-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@git ls-files -z | xargs -0 $(BIN)/codespell

format: install-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: install-dev
	@$(NOWHERE) $(BIN)/mypy

# Does every change of a model have its migration?
migrations: install-dev
	@$(NOWHERE) $(BIN)/python manage.py makemigrations --check --dry-run

openapi: install-dev
	@$(NOWHERE) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

# Compiles the *.in files, with hashes, for every platform.
lock: install-dev
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --universal --no-header requirements.in -o requirements.txt
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --universal --no-header requirements-chat.in -o requirements-chat.txt
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --universal --no-header requirements-bench.in -o requirements-bench.txt
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --universal --no-header requirements-dev.in -o requirements-dev.txt
	@mkdir -p build && grep '^websockets==' requirements.txt | cut -d' ' -f1 > build/overrides.txt
	@uv pip compile --quiet --python-version 3.11 --generate-hashes --universal --no-header --emit-build-options \
		--override build/overrides.txt requirements-adapters.in -o requirements-adapters.txt

clean:
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache staticfiles
