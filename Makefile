# From a bare Debian machine: `make demo`, then `make test`. Both install what is missing and say so.
.DEFAULT_GOAL := help
.PHONY: help demo test soak modules mutants bench lint format dev lock clean

PYTHON := .venv/bin/python
# The tests run against the installed wheels: -P keeps this directory, which holds the sources, off sys.path.
PYTEST := COLDCRED_WHEELS=1 PYTHONSAFEPATH=1 $(PYTHON) -m pytest
# One process for each core; whole files, since a module shares what it founded.
CORES := -n auto --dist loadfile
ARGS ?=

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## found an appliance in ./demo, issue, carry a bundle to a site, verify there with no network
	@provisioning/bootstrap run
	@$(PYTHON) -P provisioning/demo.py

test: ## everything CI runs: linters, types, import contracts, tests on the installed wheels
	@provisioning/bootstrap test
	@$(MAKE) --no-print-directory lint
	@$(PYTEST) $(CORES) -m "not soak" $(ARGS)

soak: ## the long campaigns, `make modules` among them
	@provisioning/bootstrap test
	@provisioning/modules
	@$(PYTEST) -m soak --timeout 3600 $(ARGS)

modules: ## the key-store contract on PKCS#11 modules of other makers; builds one of them, some 12 minutes the first time
	@provisioning/bootstrap test
	@provisioning/modules
	@$(PYTEST) -m modules --timeout 3600 $(ARGS)

mutants: ## break the safety modules, one check at a time: which breakage does no test notice? ARGS="--sample 30" for a few
	@provisioning/bootstrap dev
	@PYTHONPATH=.:verifier .venv-dev/bin/python -m tests.mutants $(ARGS)

bench: ## measure everything in one run: benchmarks/results.json and docs/benchmarks.md
	@provisioning/bootstrap bench
	@PYTHONSAFEPATH=1 PYTHONPATH=. $(PYTHON) -m benchmarks

lint: ## ruff, mypy --strict, import contracts
	@provisioning/bootstrap test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@PYTHONPATH=.:verifier .venv/bin/lint-imports

format: ## write what the linters can write themselves
	@provisioning/bootstrap test
	@.venv/bin/ruff check --fix --quiet .
	@.venv/bin/ruff format --quiet .

dev: ## .venv-dev, which imports the source tree instead of wheels
	@provisioning/bootstrap dev

lock: ## write requirements/*.txt anew from requirements/*.in (needs the network)
	@requirements/lock

clean: ## remove what can be made again
	rm -rf .venv .venv-dev .modules dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
