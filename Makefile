# make lab    the first lab, on the sandbox: installs labctl, plans and applies playbooks/hw02.yml
# make test   installs what the tests need and runs them all
# make docs   makes anew what the manual takes from the code: kinds.md, plan.svg, CONTRIBUTING.md's quotes
# make clean  stops the sandbox and removes what the two made

PYTHON ?= python3
BIN = .venv/bin

.PHONY: lab test docs clean

lab: .venv/installed
	@$(BIN)/labctl apply --yes playbooks/hw02.yml
	@echo
	@echo 'labctl lies in .venv: say  . .venv/bin/activate  first.'

test: .venv/installed-tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 4

docs: .venv/installed
	$(BIN)/python -m docs.kinds_page
	$(BIN)/python -m docs.quotes
	$(BIN)/python -m docs.picture

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labctl needs Python 3.11 or newer; say: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/installed-tests: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ .venv/installed

clean:
	-$(BIN)/labctl sandbox stop
	rm -rf .venv .labctl build *.egg-info
