# Everything a contributor types. `setup` runs by itself, once, and again when the lock changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-faults test-all bench screenshots

# The environment is always the project's own .venv, on a Python that is already there.
export UV_PROJECT_ENVIRONMENT := .venv
# Networks that inspect TLS are trusted by the system's certificates; older versions of uv know
# the second name.
export UV_SYSTEM_CERTS ?= true
export UV_NATIVE_TLS ?= true
unexport VIRTUAL_ENV
UV_SYNC := sync --frozen --all-extras --no-python-downloads

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## make .venv with everything in it; the other verbs do this by themselves

demo: .venv/.ready ## the whole loop on a made-up world, with a console to watch it, until Ctrl-C
	@.venv/bin/assay demo

check: .venv/.ready ## lint, format, types, and which stage may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict
	.venv/bin/pytest tests/house/test_imports.py

test: .venv/.ready .venv/.browser ## the tests, without the slow ones and the fault runs
	.venv/bin/pytest -m "not slow and not faults"

test-faults: .venv/.ready .venv/.browser ## kill loops and long random runs against the journal and the scorer
	.venv/bin/pytest -m faults -s

test-all: .venv/.ready .venv/.browser ## every test
	.venv/bin/pytest

screenshots: .venv/.ready .venv/.browser ## the console's pages as pictures, into docs/images
	@.venv/bin/python scripts/screenshots.py

bench: .venv/.ready ## decisions per second on this machine
	@.venv/bin/assay bench score

# uv from PATH if it is there, else from .venv, where it lives beside what it installs: in an
# environment that it did not make, uv leaves pip and itself alone when it syncs.
.venv/.ready: pyproject.toml uv.lock
	@if ! command -v uv >/dev/null && ! [ -x .venv/bin/uv ]; then \
	  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "setup: no Python 3.11 or newer as python3; install one and run make again" >&2; exit 1; }; \
	  echo "setup: bringing uv into .venv" >&2; \
	  python3 -m venv --clear .venv >/dev/null 2>&1 \
	    && .venv/bin/python -m pip install --quiet uv \
	    || { python3 -m venv --clear --without-pip .venv \
	         && python3 -m pip --python .venv/bin/python install --quiet uv; } 2>/dev/null \
	    || { echo "setup: no uv, and python3 could not install it (offline, or the package python3-venv is missing); install either and run make again" >&2; exit 1; }; \
	fi
	@uv="$$(command -v uv || echo .venv/bin/uv)"; "$$uv" $(UV_SYNC) || { \
	  echo "setup: uv could not fill .venv; see its message above" >&2; exit 1; }
	@touch $@

# The browser tests drive the system's Chromium, and the fault tests strace. Where these cannot be
# installed the tests are skipped, and say so; continuous integration insists on them.
.venv/.browser: .venv/.ready
	@if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "setup: installing Chromium for the browser tests" >&2; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	        --no-install-recommends chromium fonts-liberation; } >/dev/null 2>&1 || true; \
	  fi; \
	fi; \
	if ! command -v strace >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "setup: installing strace for the fault tests" >&2; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	      --no-install-recommends strace; } >/dev/null 2>&1 || true; \
	fi; \
	if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then touch $@; \
	elif [ -n "$${CI:-}" ]; then echo "setup: no Chromium, and the browser tests are required here" >&2; exit 1; \
	else echo "setup: no Chromium, so the browser tests will be skipped; install the package chromium" >&2; fi
