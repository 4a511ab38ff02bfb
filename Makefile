# Everything a newcomer or a build server calls. Needs make, git and Python 3.11 or newer; nothing else.
# Another interpreter: make demo PYTHON=python3.13

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-all extras check format bench figures quality simulate docs clean

help:
	@echo "make demo      install Endcap into $(VENV) and open the demo shop"
	@echo "make test      install with development needs and run the test suite"
	@echo "make test-all  the same with the heavy optional packages and the slow tests"
	@echo "make extras    install the heavy optional packages (PyTorch among them), so that no test is skipped for them"
	@echo "make check     ruff and mypy"
	@echo "make bench     every benchmark part, one after the other (QUICK=1 for the short form)"
	@echo "make figures   run the benchmark and write its figures into README.md"
	@echo "make quality   recommendation quality on the development data (LIMIT=2000 for fewer queries)"
	@echo "make simulate  every scenario of the simulator: the tables and pictures of docs/feedback.md"
	@echo "make docs      build the documentation site into site/"
	@echo "make clean     remove what the targets above made, except your data"

demo: $(VENV)/.installed
	$(BIN)/endcap demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/.all
	$(BIN)/python -m pytest

extras: $(VENV)/.all

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.installed
	for part in kernel fold memory restart fresh feedback serve; do \
		$(BIN)/endcap bench $$part --json $(if $(QUICK),--quick) || exit 1; \
	done

figures: $(VENV)/.installed
	$(BIN)/python tools/figures.py $(if $(QUICK),--quick)

quality: $(VENV)/.installed
	$(BIN)/python benchmarks/quality.py $(if $(LIMIT),--limit $(LIMIT))

simulate: $(VENV)/.installed
	$(BIN)/python benchmarks/simulate.py

docs: $(VENV)/.docs
	$(BIN)/python tools/make_docs.py
	$(BIN)/zensical build --clean --strict

clean:
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamps below make the targets incremental: pip runs again only when pyproject.toml changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Endcap needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Install one and name it, for example: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) could not make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
	$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	$(PIP) install --quiet --editable . --group dev
	@touch $@ $(VENV)/.installed

$(VENV)/.all: $(VENV)/.dev
	$(PIP) install --quiet --group all
	@touch $@

$(VENV)/.docs: $(VENV)/.created pyproject.toml
	$(PIP) install --quiet --editable . --group docs
	@touch $@ $(VENV)/.installed
