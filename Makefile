# Everything here works on a fresh machine that has make and Python >= 3.11:
#   make demo    install, train a Gated PixelCNN on the embedded digits, show what it learned
#   make test    install the development tools, and run everything that CI runs

VENV   ?= .venv
PYTHON ?=
BIN    := $(VENV)/bin
PEERS  := benchmarks/.venv

# Test workers and threads of each: two processes of one thread are faster here than one of two.
WORKERS ?= 2

# constraints.txt holds torch where the project was tested; pip takes its CPU build where one is at hand.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install dev demo test lint types pytest slow docs serve tables format bench clean

help:  ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed  ## install the library and the command into .venv
dev: $(VENV)/.installed-dev  ## install what tests and docs need as well

demo: $(VENV)/.installed  ## train a Gated PixelCNN on the embedded digits and show what it learned
	$(BIN)/ancestral demo

test: lint types docs pytest  ## run everything that CI runs

lint: $(VENV)/.installed-dev  ## check style, format and that generated pages are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python docs/generate.py --check

types: $(VENV)/.installed-dev  ## check types
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev  ## run the tests, doctests and the commands of README.md
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS)

slow: $(VENV)/.installed-dev  ## run the tests that take minutes each
	$(BIN)/pytest -m slow

docs: $(VENV)/.installed-dev  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

serve: $(VENV)/.installed-dev  ## serve the documentation at localhost:8000 while writing it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

tables: $(VENV)/.installed-dev  ## write the generated parts of README.md and docs/ anew
	$(BIN)/python docs/generate.py

format: $(VENV)/.installed-dev  ## format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(PEERS)/.installed  ## measure speed beside peers, in a virtual environment of their own
	$(PEERS)/bin/python -m benchmarks

clean:  ## remove what was built; .venv and runs/ stay
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# Stamp files: an installation is repeated when pyproject.toml or constraints.txt has changed since.

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@

# Held to one torch, so that no peer brings another one.
$(PEERS)/.installed: benchmarks/requirements.txt pyproject.toml constraints.txt | $(VENV)/.created
	$(BIN)/python -m venv $(PEERS)
	PIP_CONSTRAINT=constraints.txt $(PEERS)/bin/python -m pip install --disable-pip-version-check -e . -r benchmarks/requirements.txt
	@touch $@

$(VENV)/.created:
	@for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14); do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "$$python -m venv $(VENV)"; $$python -m venv $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "ancestral needs Python >= 3.11 with its venv module, and found none$(if $(PYTHON), in $(PYTHON)): install it (on Debian: python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 2
