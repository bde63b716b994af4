# The two commands: `make run` estimates and writes the paper's tables, figures and numbers; `make test` tests.
# Both make their own environment first; a second call starts at once.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# The environment of the documentation: what $(VENV) has, and Sphinx.
DOCS := build/docs
DOCS_READY := $(DOCS)/env/.ready
# The environment of the tests on Spark: what $(VENV) has, and pyspark.
ENGINES := build/engines
ENGINES_READY := $(ENGINES)/.ready
# The environment of the packages that benchmarks compare with, some of which need Python 3.12 or newer: apart from
# $(VENV), with its own interpreter.
PEER_PYTHON ?= $(firstword $(shell for p in python3.13 python3.12; do command -v $$p; done) $(PYTHON))
PEERS := build/peers
PEERS_READY := $(PEERS)/.ready
# The environment of `make mutants`: what $(VENV) has, mutmut and pytest-cov.
MUTANTS := build/mutants/env
MUTANTS_READY := $(MUTANTS)/.ready

# Programs that load the same modules would compile each anew.
unexport PYTHONDONTWRITEBYTECODE

# An environment with what $(VENV) has and what an extra of pyproject.toml adds, some of which (pyspark) is built from
# its sources, with tools of its own.
define beside
$(VENV)/bin/python -m venv --clear $(1)
$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	> $$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/venv.pth
$(1)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$(2)]'
@touch $@
endef

.PHONY: run test test-slow test-engines test-faults mutants bench bench-check matrix lint size check kernels docs assemble lock sbom audit clean

run: $(READY)
	$(VENV)/bin/study run

test: lint
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# The searches by random inputs in full and the simulations with many draws, in one process, which prints how many
# inputs it tried.
test-slow: $(READY)
	STUDY_SEARCH=full $(VENV)/bin/python -m pytest -m 'search or slow'

# The tests with Python 3.11 and 3.13, each with the oldest and the newest versions that pyproject.toml allows, one
# environment after the other in a temporary folder; needs uv. ONLY=3.11-oldest names some of them, ONLY=--whole has all
# tests in place of those that touch the dependencies. Written into tests/MATRIX.md.
matrix: $(READY)
	$(VENV)/bin/python tests/matrix.py $(ONLY)

# Spark gives what DuckDB and memory give; skipped with a word where Java is missing.
test-engines: $(ENGINES_READY)
	$(ENGINES)/bin/python -m pytest -m engines tests/engines

# Kills, full and read-only disks, wrong clocks, other writers and bad caches, in every command that writes; counted.
test-faults: $(READY)
	$(VENV)/bin/python -m pytest -s -m faults

# Changes one thing in core, estimates, inference and designs, 1,000 times, and sees whether a test notices; an hour or two on
# two cores. Written into tests/MUTANTS.md.
mutants: $(MUTANTS_READY)
	$(MUTANTS)/bin/python tests/mutants.py

# Every benchmark that has peers, about 20 minutes on two cores that are otherwise idle; writes benchmarks/RESULTS.md,
# results.json and cost.svg.
bench: $(READY) $(PEERS_READY)
	$(VENV)/bin/python benchmarks/bench.py --peer-python $(PEERS)/bin/python

# Measures anew and reports ratios that are less than two thirds of those in benchmarks/results.json.
bench-check: $(READY) $(PEERS_READY)
	$(VENV)/bin/python benchmarks/bench.py --peer-python $(PEERS)/bin/python --check

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

size: $(READY)
	$(VENV)/bin/python benchmarks/size.py

check: $(READY)
	$(VENV)/bin/study check

# Makes the whole paper under the oldest kernels that this processor can run, where every file must be the committed
# one, and runs the tests under them.
kernels: $(READY)
	$(VENV)/bin/python tests/kernels.py

# Executes every example, draws every figure and checks every internal link; open build/docs/html/index.html.
docs: $(DOCS_READY)
	PATH="$(CURDIR)/$(DOCS)/env/bin:$$PATH" $(DOCS)/env/bin/python -m sphinx -E -W --keep-going -q -j auto \
		-d $(DOCS)/doctrees docs $(DOCS)/html

$(DOCS_READY): $(READY)
	$(call beside,$(DOCS)/env,docs)

$(ENGINES_READY): $(READY)
	$(call beside,$(ENGINES),spark)

$(MUTANTS_READY): $(READY)
	$(call beside,$(MUTANTS),mutants)

$(PEERS_READY): pyproject.toml
	$(PEER_PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["peers"], sep="\n")' \
		> $(PEERS)/requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(PEERS)/requirements.txt
	@touch $(PEERS_READY)

# RAW is a folder with the originals as their publishers have them; data/README.md says how to obtain them.
assemble: $(READY)
	$(VENV)/bin/study data assemble --raw $(RAW)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12 run"; exit 2; }
	@echo "Making the environment in $(VENV) (once, about two minutes and 1.4 GB)."
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $(READY)

# Needs uv; pins every dependency with hashes for Python 3.11 to 3.13, without index lines.
lock:
	printf 'hatchling\neditables\n' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra test --output-file requirements.lock pyproject.toml -

# sbom.json and LICENCES.md: what the package is built from, and under which terms. After `make lock`.
sbom: $(READY)
	$(VENV)/bin/python tests/supply.py

# Needs pip-audit and a network in which it reaches its list of vulnerabilities; a package that could not be looked up
# is an error.
audit:
	pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean:
	rm -rf $(VENV) build
