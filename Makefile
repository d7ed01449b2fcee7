.DEFAULT_GOAL := help
BENCHMARKS := $(basename $(notdir $(wildcard benchmarks/kept/*.json)))
.PHONY: help install run lint types test long quick coverage bench peers docs ci clean

help:  ## say what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

install:  ## install the project with its development and documentation tools, editable
	pip install -e ".[dev,docs]"

run:  ## train PF-MSMTrec on the made-up scenarios and print the table
	pfmsmtrec run

lint:  ## check style, format and the direction of imports
	ruff check .
	ruff format --check .
	lint-imports

types:  ## check types, strictly
	mypy

test:  ## run the tests of continuous integration, Flower's real engine included (minutes)
	pytest -m "not long" -n 4 --dist loadfile --no-loadscope-reorder

long:  ## run the tests that try many cases of one kind for minutes
	pytest -m long

quick:  ## run the tests that take seconds each
	pytest -m "not slow and not flower and not long" -n 4 --dist loadfile --no-loadscope-reorder

coverage:  ## run these tests and list the lines that none of them runs; they must be fewer than 3 %
	pytest -m "not long" -n auto --dist loadfile --no-loadscope-reorder --cov --cov-fail-under=97 --cov-report=term --cov-report=html:build/coverage

bench:  ## measure speed and scale: a table each, compared with the figures in benchmarks/kept (minutes)
	@status=0; for table in $(BENCHMARKS); do echo; echo "## $$table"; python benchmarks/$$table.py || status=1; done; exit $$status

peers:  ## install the libraries that training is compared with (benchmarks/peers.txt), without what they depend on
	pip install --no-deps -r benchmarks/peers.txt

docs:  ## build the documentation site into build/site, strictly
	mkdocs build --strict

ci:  ## do what continuous integration does, from an empty environment
	.ci/run

clean:  ## remove caches and build outputs
	rm -rf build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
