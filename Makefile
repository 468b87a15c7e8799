# Two commands matter: `make demo` and `make test`. Each installs what it needs, and works a second time.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# pytest-xdist: two processes suit two cores and the memory of two platforms side by side.
TEST_PROCESSES ?= 2
PYTEST = .venv/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder
# One process: pulumi's mocks keep futures of one event loop, which xdist's workers do not share with them.
PROGRAM_TESTS = .venv/bin/python -m pytest tests/infra tests/policy
# With clients of Google, which share no process with Pulumi's. Most wait for leases and retries, so more than cores.
GOOGLE_PYTEST = .venv/bin/python -m pytest -n 4 --dist loadgroup
GOOGLE_TESTS = tests/integration/test_messaging*.py tests/integration/test_stores.py tests/integration/test_template_in_buckets.py
# Side by side: the one works on one core, the other waits. What Google's say is shown when both have ended. Ctrl-C does
# not reach what a shell has put into the background: it is ended by hand.
PROGRAM_AND_GOOGLE = @said=$$(mktemp); \
	$(GOOGLE_PYTEST) -m "$(USUAL) and google" $(GOOGLE_TESTS) >$$said 2>&1 & google=$$!; \
	trap 'kill $$google; rm $$said; exit 130' INT TERM; \
	$(PROGRAM_TESTS); program=$$?; \
	wait $$google; google=$$?; cat $$said; rm $$said; test $$program = 0 -a $$google = 0
# Two processes share one node. Where none can run they are skipped, with the reason.
CLUSTER_TESTS = $(PYTEST) tests/cluster
# What runs always; the other marks are in pyproject.toml.
USUAL = not slow and not soak and not matrix
# Each of a platform's ten processes would otherwise compile the same 3,000 modules again at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup venv cluster demo demo-all test test-fast test-slow test-cluster soak kill-matrix lint bench bench-state bench-release bench-serving bench-pipelines soak-serving drift-table down clean lock

help:
	@echo "make setup      .venv from the lock, and the Pulumi engine"
	@echo "make demo       from a manifest to a served recommendation and back, on this machine (KILL=consumer, invoker or worker: in the middle of the job)"
	@echo "make demo-all   every pipeline trained, released, run, released again and rolled back, on this machine (KILL= as above; ONLY=movies for one)"
	@echo "make test       lint, types, layers, and the tests of every level; those on Kubernetes where this machine can run a node (Linux, root) or MLOPS_TEST_KUBECONFIG names one"
	@echo "make test-fast  the same without Kubernetes and the acceptance tests"
	@echo "make test-cluster  those on Kubernetes alone"
	@echo "make cluster    what a Kubernetes node of this machine's own needs, for tests/cluster (Linux, root; some 17 minutes once)"
	@echo "make test-slow  the tests that make test leaves out because others show nearly the same"
	@echo "make soak       tests by chance for some hours: a history of 10 minutes, 5,000 histories of releases, every fault between every two statements (SEED=N)"
	@echo "make kill-matrix  every kill at every step of every command, 8 deployers at once, stopped deployers (ONLY='deploy/Up engine'); writes its part of docs/reliability.md"
	@echo "make bench      what starting and importing cost; writes its part of docs/benchmarks.md"
	@echo "make bench-state  what releases' tables cost; writes its part (20 minutes; BENCH=--quick to try it out)"
	@echo "make bench-release  what plan, deploy, rollback and questions cost on a platform of its own; writes its part (20 minutes; BENCH=--quick)"
	@echo "make bench-serving  what a prediction costs over HTTP, beside mlflow models serve and MLServer; needs wrk; writes its part (20 minutes; BENCH=--quick)"
	@echo "make soak-serving  the model server at full load for 10 minutes: memory, failures, swaps (SOAK_S=600)"
	@echo "make bench-pipelines  what messages cost beside bare pgmq, flows beside Prefect, RFM in SQL beside bare dbt, and the search of /recommend beside bare pgvector; writes its part (15 minutes; BENCH=--quick)"
	@echo "make drift-table  how often drift is found, and alarms without any; writes its part of docs/explanation/drift.md"
	@echo "make down       stop everything that the environment 'local' runs"
	@echo "make clean      down, then remove its data and the demo's locks"
	@echo "make lock       renew requirements/lock.txt from pyproject.toml"

venv:
	@$(PYTHON) -P mlops_sdk/platform/dependencies.py --link .venv

setup: venv
	@.venv/bin/python -m mlops_sdk.stack.engine

demo: setup
	@.venv/bin/python -m tools.demo $(if $(KILL),--kill $(KILL))

demo-all: setup
	@.venv/bin/python -m tools.demo.pipelines $(if $(KILL),--kill $(KILL)) $(if $(ONLY),--only $(ONLY))

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy mlops_sdk infra pipelines tools
	.venv/bin/lint-imports

cluster: setup
	@.venv/bin/python -m tools.cluster prepare

test: setup lint
	$(PYTEST) -m "$(USUAL) and not google" tests --ignore tests/cluster --ignore tests/infra --ignore tests/policy
	$(PROGRAM_AND_GOOGLE)
	@.venv/bin/python -m tools.cluster prepare --or-leave-out
	$(CLUSTER_TESTS)

test-cluster: cluster
	$(CLUSTER_TESTS)

test-fast: setup lint
	$(PYTEST) -m "$(USUAL) and not google" tests --ignore tests/acceptance --ignore tests/cluster --ignore tests/infra --ignore tests/policy
	$(PROGRAM_AND_GOOGLE)

test-slow: setup
	$(PYTEST) -m "slow and not google" tests
	$(GOOGLE_PYTEST) -m "slow and google" $(GOOGLE_TESTS)

# One process, so that a history has the machine for itself. A test marked soak needs no line here.
soak: setup
	.venv/bin/python -m pytest -s -m soak tests --counts soak.json $(if $(SEED),--seed $(SEED))

# Goes on where it stopped: what was tried at this commit of the product is in kill-matrix.jsonl.
kill-matrix: setup
	.venv/bin/python -m pytest -s -m matrix $(if $(ONLY),-k every_point --only "$(ONLY)") tests/acceptance

drift-table: setup
	.venv/bin/python -m tools.drift_table

bench: setup
	.venv/bin/python -m tools.bench

bench-state: setup
	.venv/bin/python -m tools.bench.state $(BENCH)

bench-release: setup
	.venv/bin/python -m tools.bench.release $(BENCH)

bench-serving: setup
	.venv/bin/python -m tools.bench.serving $(BENCH)

soak-serving: setup
	.venv/bin/python -m pytest -s -m soak tests/integration/test_serve_soak.py

bench-pipelines: setup
	.venv/bin/python -m tools.bench.pipelines $(BENCH)

down:
	@if [ -x .venv/bin/mlops ]; then .venv/bin/mlops down local; else echo "nothing runs: there is no .venv"; fi

clean:
	@if [ -x .venv/bin/mlops ]; then .venv/bin/mlops down local --delete-data --yes; fi
	rm -rf .mlops
	rm -f stacks/releases/v0.0.1.lock.yaml stacks/releases/v0.0.2.lock.yaml tools/demo/v0.0.100.lock.yaml

lock: venv
	@.venv/bin/python -m tools.lock
