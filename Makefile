# Everything a user or developer runs. Works with GNU make 3.81 (macOS) and newer, on Linux and macOS.
PY := .venv/bin/python
NAB ?= ../shared/data/nab
WORKERS ?= 2
export TORCH PYTHON

.PHONY: asyncapi help run test check bench bench-rivals eval eval-learning test-services test-faults lock secrets dashboards grafana-schema clean environment environment-dev
.DEFAULT_GOAL := help

help: ## what there is (this list)
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="…" is handed on:   make run ARGS="--demo host"      make test ARGS="tests/twin -x"'
	@echo '  TORCH=cpu spares a machine without a GPU the 5 GB of CUDA;   PYTHON=python3.12 picks an interpreter'

run: environment ## set everything up and run livetwin with the demo plant; the page is on http://127.0.0.1:8080
	@exec .venv/bin/livetwin up $(ARGS)

test: environment-dev ## set everything up and run all tests, in two processes (WORKERS=1: in one)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: environment-dev ## ruff, formatting, strict mypy, import contracts: all of them, even when one fails
	@failed=; \
	for step in "ruff check ." "ruff format --check ." "mypy" "lint-imports --no-logo"; do \
		echo "== $$step"; .venv/bin/$$step || failed="$$failed '$$step'"; \
	done; \
	if [ -n "$$failed" ]; then echo "check: failed:$$failed"; exit 1; fi; echo "check: all good"

bench: environment-dev ## measure throughput, swaps and latencies; writes build/bench.json
	$(PY) -m deploy.bench $(ARGS)

bench-rivals: environment-dev ## the same job in Faust, Quix Streams, Bytewax and Pathway beside livetwin; half an hour
	@deploy/bench/rivals/environment.sh
	$(PY) -m deploy.bench rivals $(ARGS)

eval: environment-dev ## how well faults are found: a public benchmark (NAB=folder of it), injected faults; writes build/eval.json
	$(PY) -m deploy.eval --nab $(NAB) $(ARGS)

eval-learning: environment-dev ## does learning pay? drifts in the demo plant and in series; writes build/eval-learning.json
	$(PY) -m deploy.eval.learning $(ARGS)

test-services: environment-dev ## only the tests on real services (Kafka, InfluxDB, a browser), saying which are skipped and why
	$(PY) -m pytest -m "kafka or influxdb or browser" $(ARGS)

test-faults: environment-dev ## disturb a real system hundreds of times from a seed: kills, pauses, a full disk, poison (--seed N --rounds N)
	$(PY) -m tests.faults $(ARGS)

lock: ## pin the dependencies anew (UPGRADE=1: to their newest versions)
	@deploy/pin_dependencies.sh

secrets: ## draw the passwords and tokens that docker-compose.yml needs, once (deploy/secrets/)
	@deploy/make_secrets.sh

dashboards: environment-dev ## write the Grafana dashboards of the demo's twin types anew (deploy/grafana/dashboards/)
	$(PY) -m deploy.cli grafana export deploy/feeds/definitions --out deploy/grafana/dashboards

grafana-schema: ## write the JSON schema that dashboards are checked against anew (needs npm)
	@tests/deploy/schemas/grafana_schema.sh

asyncapi: environment-dev ## write the contract of every topic anew
	$(PY) -m streams.asyncapi docs/asyncapi.json

clean: ## remove caches and build outputs (.venv and LIVETWIN_HOME stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find twin models streams deploy tests -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@deploy/environment.sh run

environment-dev:
	@deploy/environment.sh dev
