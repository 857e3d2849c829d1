# `make help` lists what there is. Python 3.11 to 3.13 as `python3`, or PYTHON=…
PYTHON ?= python3
PORT ?= 3000
VENV := .venv
BENCH_VENV := .venv-bench
DOCS_VENV := .venv-docs
DEPLOY_VENV := .venv-deploy
AIRFLOW_VENV := .venv-airflow
LOWEST_VENV := .venv-lowest
NEWEST_VENV := .venv-newest
DAGSTER_VENV := .venv-dagster
RELEASE_VENV := .venv-release
RUN := $(VENV)/bin/orchestrate
# Two for each core: half of a worker's time goes to waiting for programs that a test started.
TEST_WORKERS := $(shell expr 2 \* $$(nproc))

# Dozens of programs start in tests: none is to compile what another has compiled, nor to start threads.
TEST_ENVIRONMENT := PYTHONDONTWRITEBYTECODE= POLARS_MAX_THREADS=1

# A commit waits milliseconds for a disk, and tests make tens of thousands: where memory is free, they write there.
HAS_MEMORY := $(shell awk '/^MemAvailable:/ { exit $$2 < 10000000 }' /proc/meminfo 2>/dev/null && \
  df -k --output=avail /dev/shm 2>/dev/null | awk 'END { exit $$1 < 10000000 }' && echo yes)
TEST_FOLDER := $(if $(TMPDIR),,$(if $(HAS_MEMORY),TMPDIR=/dev/shm))

.DEFAULT_GOAL := help
.PHONY: moved help run plan test-changed coverage mutate run-saas run-documents run-web run-mqtt run-routing run-plugins ui dev stack test test-lowest test-newest test-dagster test-slow test-histories test-faults chaos soak bench pictures docs check types-of-package types-of-tests other-checks check-deploy check-wheel audit release image compose observe migrate migrated migration verify reset lock

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: $(VENV)/installed migrated ## load the latest published weeks and show what that did
	@$(RUN) run $(if $(WEEKS),--weeks $(WEEKS))

plan: $(VENV)/installed ## show what the working tree would change in data that REF=main loads from the demo
	@folder=$$(mktemp -d) && trap 'git worktree remove --force "$$folder/code"; rm -rf "$$folder"' EXIT; \
	git worktree add --quiet --detach "$$folder/code" $(or $(REF),main); \
	export DATA_PROFILE=demo STATE_DIR="$$folder/state"; \
	(cd "$$folder/code" && DAGSTER_HOME="$$folder/code" $(abspath $(VENV))/bin/python -m orchestration_project run) > "$$folder/log" 2>&1 \
	  || { cat "$$folder/log"; exit 1; }; \
	$(RUN) migrate > /dev/null; $(RUN) plan $(ARGS); status=$$?; [ $$status -eq 4 ] || exit $$status

run-saas: $(VENV)/installed migrated ## bring tasks of PeopleForce and issues of Jira into agreement, in a demo
	@$(RUN) domains add saas
	@$(RUN) run saas

run-documents: $(VENV)/installed-dev migrated ## load the documents of the demo, or of DOCUMENTS_DIR, and count outcomes
	@$(RUN) domains add documents
	@counts=$$(mktemp) && trap 'rm -f "$$counts"' EXIT; \
	$(RUN) load documents > "$$counts"; status=$$?; cat "$$counts"; \
	if [ $$status -eq 3 ]; then echo 'Status 3: no file lies there yet.'; exit 0; fi; \
	if [ $$status -eq 1 ] && grep -Eq '^(loaded|no file waits)' "$$counts"; then \
	  echo 'Status 1: not all files were extracted. The demo has bad files on purpose, so that is fine.'; \
	  echo 'Their reasons: $(RUN) items list --state dead'; exit 0; \
	fi; exit $$status

run-routing: $(VENV)/installed ## route webhooks of three systems to each kind of action, offline
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT; \
	DATA_PROFILE=demo DOMAINS=all STATE_DIR="$$folder" WEBHOOKS_FILE="$$folder/webhooks.yaml" DEMO_MQTT_EVENTS=100 \
	  ROUTING_SECRET_PARTNER=whsec_$$(head -c 24 /dev/urandom | base64) \
	  $(VENV)/bin/python -m orchestration_project.cli.events_run

run-plugins: $(VENV)/installed ## run the four examples of plugins against the demos, offline
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT; \
	DATA_PROFILE=demo DOMAINS=all STATE_DIR="$$folder" DEMO_MQTT_EVENTS=300 DEMO_SHOP_PRODUCTS=20 \
	  PLUGIN_SECRET_SLACK_TOKEN=xoxb-$$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n') \
	  $(VENV)/bin/python -m orchestration_project.cli.plugins_run

run-web: $(VENV)/installed-dev ## crawl the demo's shop, offline, on two days; the second has another layout
	@DATA_PROFILE=demo $(RUN) migrate > /dev/null
	@$(RUN) domains add web
	@for day in 2026-11-02 2026-11-03; do \
	  DAGSTER_HOME=$(CURDIR) DATA_PROFILE=demo DEMO_CLOCK_NOW=$${day}T09:00:00+00:00 \
	    $(VENV)/bin/dagster job execute -m orchestration_project.definitions -j web_shop \
	    --tags "{\"dagster/partition\": \"$$day\"}" > /dev/null 2>&1; status=$$?; \
	done; \
	$(RUN) export web_crawls --format md --columns day,outcome,page_count,item_count,reject_count; \
	test $$status -eq 1 && echo 'The second crawl finds no prices: its items are quarantined, those before stay.'

run-mqtt: $(VENV)/installed migrated ## mirror the events of the demo's broker, offline, and print counts
	@$(RUN) domains add mqtt
	@$(RUN) load mqtt

ui: $(VENV)/installed migrated ## Dagster's UI and daemon on 127.0.0.1, PORT=3000, until Ctrl-C
	@exec $(RUN) ui --port $(PORT)

dev: $(VENV)/installed migrated ## the same, which loads the code again when a file of the package or of defs/ changes
	@exec $(RUN) ui --watch --port $(PORT)

stack: $(VENV)/installed-dev ## all services on this machine: TLS, PostgreSQL, RabbitMQ, WORKERS=2, MQTT, Prometheus
	@exec $(RUN) stack $(if $(WORKERS),--workers $(WORKERS))

migrate: $(VENV)/installed ## bring the database's tables up to date
	@$(RUN) migrate

migrated: $(VENV)/installed
	@echo "bringing the database's tables up to date …" >&2
	@$(RUN) migrate > /dev/null

migration: $(VENV)/installed ## write the next version of the tables from their declarations, NAME=add_weather
	@$(VENV)/bin/python -m orchestration_project.migrations $(if $(NAME),'$(subst ','\'',$(NAME))')

verify: $(VENV)/installed ## look whether everything that loads depend on is ready
	@$(RUN) verify

reset: $(VENV)/installed ## delete what lies in STATE_DIR, after a question
	@$(RUN) reset

test: $(VENV)/installed-dev ## the test suite
	@$(TEST_ENVIRONMENT) $(TEST_FOLDER) $(VENV)/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-changed: $(VENV)/installed-dev ## tests that the change since main can reach, about a minute; SECONDS=300
	@$(TEST_ENVIRONMENT) $(TEST_FOLDER) SECONDS=$(SECONDS) $(VENV)/bin/python .ci/changed_tests.py $(ARGS)

# Rules, a load of a FINRA week, exports, HTTP, documents, web sites and the gateway: a part of the suite on SQLite.
VERSION_TESTS := $(addprefix tests/,contracts plots domains/test_finra_contract.py domains/test_documents_text.py \
  domains/test_web_selectors.py resources/test_finra_weekly.py resources/test_http.py resources/test_export.py \
  resources/test_warehouse_loading.py gateway/api/test_client.py gateway/test_login.py own/test_formats.py \
  own/test_derived.py cli/test_command_line.py test_definitions.py)
run_versions = $(TEST_ENVIRONMENT) $(TEST_FOLDER) $(1)/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile \
  -k 'not [postgresql and not -postgresql' $(2) $(VERSION_TESTS) $(ARGS)

test-lowest: $(LOWEST_VENV)/installed ## a part of the tests with the lowest dependencies that pyproject.toml allows
	@$(call run_versions,$(LOWEST_VENV))

test-newest: $(NEWEST_VENV)/installed ## the same with the newest dependencies that it allows
	@$(call run_versions,$(NEWEST_VENV))

test-dagster: $(DAGSTER_VENV)/installed ## the same and tests of private names, with the newest Dagster, all else as locked
	@$(DAGSTER_VENV)/bin/dagster --version
	@$(call run_versions,$(DAGSTER_VENV),-W 'ignore:Found version mismatch' tests/test_dagster_private.py)

coverage: $(VENV)/installed-measure ## statements and branches of the pure packages that their tests run; ARGS=--write
	@$(TEST_ENVIRONMENT) $(TEST_FOLDER) $(VENV)/bin/python .ci/covered.py -n $(TEST_WORKERS) $(ARGS)

mutate: $(VENV)/installed-measure ## changes contracts/ and engine/warehouse/, shows what no test notices; SAMPLE=30 NAMES='*.contracts.values.*'
	@$(TEST_ENVIRONMENT) $(TEST_FOLDER) $(VENV)/bin/python .ci/mutants.py $(if $(SAMPLE),--sample=$(SAMPLE)) $(ARGS) $(foreach name,$(NAMES),'$(name)')
	@$(VENV)/bin/python -m mutmut results

test-slow: $(VENV)/installed-dev ## commands that are killed, real daemons, minutes; ARGS='--part=3 --seed=7' for a third
	@$(TEST_ENVIRONMENT) $(VENV)/bin/python -m pytest -m "slow and not faults" -n $(TEST_WORKERS) $(ARGS)

test-histories: $(VENV)/installed-dev ## random histories: 13,500 of a partition against a model, 10,000 of two systems
	@$(TEST_ENVIRONMENT) $(VENV)/bin/python -m pytest -m histories -n auto $(ARGS)

test-faults: $(VENV)/installed-dev ## the fault matrix: hundreds of kills; ARGS='--kills=20 --seed=7' for fewer
	@$(TEST_ENVIRONMENT) $(VENV)/bin/python -m pytest tests/faults -m faults -n auto --dist worksteal $(ARGS)

pictures: $(VENV)/installed-dev ## retake the pictures of the docs in a clone, with chromium; takes a quarter of an hour
	@$(VENV)/bin/python -m tests.pictures

chaos: $(VENV)/installed-dev ## two hosts, a backfill, each program killed 20 times, counts; KILLS=2 CUTS=1 PARTITIONS=20 SEED=7
	@$(TEST_ENVIRONMENT) $(VENV)/bin/python -m tests.chaos $(if $(KILLS),--kills=$(KILLS)) $(if $(CUTS),--cuts=$(CUTS)) \
	  $(if $(PARTITIONS),--partitions=$(PARTITIONS)) $(if $(SEED),--seed=$(SEED)) $(ARGS)

soak: $(VENV)/installed-dev ## days of the real programs under a stepped calendar, judged; DAYS=14 SEED=1 UNTIL=3 DATABASE=postgresql CANARY=lost-rows
	@$(TEST_ENVIRONMENT) $(TEST_FOLDER) $(VENV)/bin/python -m tests.soak $(if $(DAYS),--days=$(DAYS)) $(if $(SEED),--seed=$(SEED)) \
	  $(if $(UNTIL),--until=$(UNTIL)) $(if $(DATABASE),--database=$(DATABASE)) $(if $(CANARY),--canary=$(CANARY)) $(ARGS)

bench: $(BENCH_VENV)/installed ## speed and memory against named peers, as ratios; takes long
	@PYTHONPATH=$(CURDIR) $(BENCH_VENV)/bin/python -m benchmarks --plot $(ARGS)

house: $(VENV)/installed-dev ## draw the folders of the package and their imports into docs/reference/diagrams/house.svg
	@$(VENV)/bin/python -m tools.reference_pages --write

docs: $(VENV)/installed-dev $(DOCS_VENV)/installed ## docs/reference from the code, then the site: a broken link ends it
	@$(VENV)/bin/python -m tools.reference_pages --write
	@NO_COLOR=1 $(DOCS_VENV)/bin/zensical build --strict --clean
	@echo "built; to read it: python3 -m http.server --directory site"

check: $(VENV)/installed-dev ## lint, types, architecture, dependencies, prose, reference pages, promised names and bounds
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types-of-package types-of-tests other-checks

# Pyright collects short-lived objects less often, where node takes the option.
PYRIGHT_MEMORY = $(shell NODE_OPTIONS=--max-semi-space-size=128 node --version > /dev/null 2>&1 && \
  echo NODE_OPTIONS=--max-semi-space-size=128)

# Two processes, as two threads of pyright take longer; their folders are those of [tool.pyright].
types-of-package:
	@$(PYRIGHT_MEMORY) $(VENV)/bin/pyright orchestration_project demo benchmarks tools

types-of-tests:
	@$(PYRIGHT_MEMORY) $(VENV)/bin/pyright tests

other-checks:
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/deptry --no-ansi orchestration_project
	@$(VENV)/bin/deptry --no-ansi --config demo/pyproject.toml demo
	@$(VENV)/bin/deptry --no-ansi --ignore DEP004 --optional-dependencies-dev-groups db2 \
	  orchestration_project demo tests benchmarks tools .ci
	@$(VENV)/bin/python .ci/words.py
	@$(VENV)/bin/python .ci/prose.py
	@$(VENV)/bin/python .ci/test_style.py
	@$(VENV)/bin/python .ci/bounds.py --ways
	@$(VENV)/bin/python -m tools.reference_pages
	@$(VENV)/bin/python -m tools.contracts
	@$(VENV)/bin/python -m benchmarks.structure.sizes

check-deploy: $(VENV)/installed $(DEPLOY_VENV)/installed ## Dockerfile, compose, Kubernetes and SBOM, offline, without an engine
	@$(DEPLOY_VENV)/bin/hadolint deploy/Dockerfile
	@$(DEPLOY_VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose/compose.yaml
	@for file in deploy/kubernetes/base/[!k]*.yaml deploy/kubernetes/components/*/[!k]*.yaml tests/deploy/run_job.yaml; do \
	  $(DEPLOY_VENV)/bin/kubernetes-validate --strict --quiet -k 1.37 $$file || exit 1; done
	@if kubectl kustomize --help 2>/dev/null | grep -q enable-helm; then \
	  mkdir -p .cache; for folder in deploy/kubernetes/base examples/kubernetes; do \
	  kubectl kustomize $$folder > .cache/rendered.yaml && \
	  $(DEPLOY_VENV)/bin/kubernetes-validate --strict --quiet -k 1.37 .cache/rendered.yaml || exit 1; done; \
	else echo 'kustomize of 2021 or later is missing: overlays are not rendered'; fi
	@mkdir -p .cache
	@$(VENV)/bin/python deploy/sbom.py --without-system > .cache/sbom.spdx.json
	@$(DEPLOY_VENV)/bin/pyspdxtools --infile .cache/sbom.spdx.json

image: ## build the image by Debian's buildah, and run the programs in it; needs root
	@python3 deploy/image.py

compose: $(VENV)/installed-dev ## programs of compose.yaml in the image, by Debian's podman, and a run; needs root
	@$(VENV)/bin/python -m tests.deploy.compose_in_podman $(ARGS)

check-wheel: $(VENV)/installed-dev ## build the wheel, and run its commands in a bare environment and an empty folder
	@$(VENV)/bin/python .ci/wheel.py

audit: $(VENV)/installed-dev $(RELEASE_VENV)/installed ## security rules, secrets in tracked files, known vulnerabilities of the lock
	@$(VENV)/bin/python .ci/audit.py

release: $(VENV)/installed-dev $(RELEASE_VENV)/installed $(DOCS_VENV)/installed ## build the last commit twice into dist/ and compare: wheels, sdist, site, image, SBOMs, provenance, sums
	@$(VENV)/bin/python .ci/release.py

observe: $(VENV)/installed-dev ## rules and dashboards, against the Prometheus of the running stack, or of one of its own
	@DOMAINS=all $(VENV)/bin/python deploy/observe.py $(ARGS)

lock: $(VENV)/installed-dev ## pin the newest dependencies, install them and list their licences
	@for set in "" "--extra dev" "--extra bench"; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-package ibm-db --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --upgrade $$set pyproject.toml \
	    -o requirements/$$(name=$${set#--extra }; echo $${name:-runtime}).lock; done
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package ibm-db \
	  --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --upgrade --constraint requirements/dev.lock \
	  --extra documents --extra web --extra celery --extra k8s --extra otel pyproject.toml -o requirements/image.lock
	@for set in docs deploy airflow release; do \
	  $(VENV)/bin/python .ci/locks.py $$set | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --upgrade - -o requirements/$$set.lock; done
	@$(VENV)/bin/python .ci/locks.py measure | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --upgrade --constraint requirements/dev.lock \
	  - -o requirements/measure.lock
	@$(MAKE) --no-print-directory $(VENV)/installed-dev
	@$(VENV)/bin/python .ci/dependencies.py --write

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; say which with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The checkout itself is installed: its version, its programs, and a path. A moved checkout is installed again.
IS_MOVED := $(filter-out $(CURDIR),$(or $(shell cat $(VENV)/editable 2>/dev/null),none))
$(VENV)/editable: pyproject.toml demo/pyproject.toml $(if $(IS_MOVED),moved) | $(VENV)/bin/python
	@rm -f $(VENV)/lib/python*/site-packages/orchestration_project.pth
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e . -e demo
	@echo '$(CURDIR)' > $@

moved:

$(VENV)/installed: requirements/runtime.lock | $(VENV)/editable
	@echo "installing into $(VENV) …"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/installed-workers: requirements/image.lock | $(VENV)/editable
	@echo "installing the extras celery, k8s, documents, web and otel into $(VENV) …"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@ $(VENV)/installed

$(VENV)/installed-dev: requirements/dev.lock | $(VENV)/editable
	@echo "installing the tools of the tests into $(VENV) …"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@ $(VENV)/installed

$(VENV)/installed-measure: requirements/measure.lock | $(VENV)/installed-dev
	@echo "installing coverage and mutmut into $(VENV) …"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

$(BENCH_VENV)/bin/python: | $(VENV)/bin/python
	@$(VENV)/bin/python -m venv $(BENCH_VENV)

$(BENCH_VENV)/installed: requirements/bench.lock demo/pyproject.toml | $(BENCH_VENV)/bin/python
	@echo "installing the peers of the benchmark into $(BENCH_VENV) …"
	@$(BENCH_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@$(BENCH_VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e demo
	@touch $@

$(RELEASE_VENV)/bin/python: | $(VENV)/bin/python
	@$(VENV)/bin/python -m venv $(RELEASE_VENV)

$(RELEASE_VENV)/installed: requirements/release.lock | $(RELEASE_VENV)/bin/python
	@echo "installing build, hatchling, twine and pip-audit into $(RELEASE_VENV) …"
	@$(RELEASE_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(DOCS_VENV)/bin/python: | $(VENV)/bin/python
	@$(VENV)/bin/python -m venv $(DOCS_VENV)

$(DOCS_VENV)/installed: requirements/docs.lock | $(DOCS_VENV)/bin/python
	@echo "installing the builder of the site into $(DOCS_VENV) …"
	@$(DOCS_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(AIRFLOW_VENV)/bin/python: | $(VENV)/bin/python
	@$(VENV)/bin/python -m venv $(AIRFLOW_VENV)

$(AIRFLOW_VENV)/installed: requirements/airflow.lock | $(AIRFLOW_VENV)/bin/python
	@echo "installing Airflow into $(AIRFLOW_VENV) …"
	@$(AIRFLOW_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

# What the package index allows by now, without a lock.
$(LOWEST_VENV)/installed: RESOLUTION := lowest-direct
$(NEWEST_VENV)/installed: RESOLUTION := highest
$(LOWEST_VENV)/installed $(NEWEST_VENV)/installed: pyproject.toml demo/pyproject.toml | $(VENV)/installed-dev
	@echo "installing into $(@D), with resolution $(RESOLUTION) …"
	@$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(@D)
	@$(VENV)/bin/uv pip install --quiet --python $(@D)/bin/python --resolution $(RESOLUTION) -e '.[dev]' -e demo
	@touch $@

# Dagster's packages without what they ask for: they ask for each other's version, and few appear first.
$(DAGSTER_VENV)/installed: requirements/dev.lock | $(VENV)/installed-dev
	@echo "installing the newest Dagster into $(@D) …"
	@$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(@D)
	@$(VENV)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --require-hashes -r $<
	@$(VENV)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps -e . -e demo
	@$(VENV)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --upgrade $$(grep -o '^dagster[a-z0-9-]*' $<)
	@touch $@

$(DEPLOY_VENV)/bin/python: | $(VENV)/bin/python
	@$(VENV)/bin/python -m venv $(DEPLOY_VENV)

$(DEPLOY_VENV)/installed: requirements/deploy.lock | $(DEPLOY_VENV)/bin/python
	@echo "installing the checks of deploy/ into $(DEPLOY_VENV) …"
	@$(DEPLOY_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@
