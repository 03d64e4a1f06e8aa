# make build  installs, runs the main job on the bundled sample, publishes, shows what was published
# make test   installs, runs every test and lint

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install engines spark browser build publish publish-postgres evidence docs test test-engines test-spark test-evidence spark-cluster incident sample benchmark attacks mutants prove clean test-superset

help:
	@sed -n 's/^# \([a-z -]*  .*\)/\1/p' Makefile

install: .venv/.installed

.venv/.installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	touch $@

# engines  installs what the other warehouses need
engines: .venv/.engines

.venv/.engines: .venv/.installed scripts/requirements/engines.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r scripts/requirements/engines.txt
	touch $@

# spark  installs Spark and Iceberg; scripts/spark_cluster.py brings Debian's Java
spark: .venv/.spark

.venv/.spark: .venv/.installed scripts/requirements/spark.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r scripts/requirements/spark.txt
	touch $@

# browser  installs what the look at the evidence page in Chromium needs, Chromium itself from Debian
browser: .venv/.browser
	command -v chromium > /dev/null || (apt-get --quiet update && apt-get --quiet install --yes chromium) > /dev/null

.venv/.browser: .venv/.installed scripts/requirements/browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r scripts/requirements/browser.txt
	touch $@

# The key of the noise in published sizes, unless the environment has one: made once, for its owner only.
# Another key draws all noise anew, so it is kept as long as the warehouse.
build/size_key: | install
	mkdir -p build
	(umask 077 && $(BIN)/python -c 'import secrets; print(secrets.token_hex(32))' > $@)

build: install build/size_key
	CONSENTED_AUDIENCES_SIZE_KEY="$${CONSENTED_AUDIENCES_SIZE_KEY:-$$(cat build/size_key)}" $(BIN)/dbt build
	$(BIN)/python scripts/publish.py publish
	$(BIN)/python scripts/show_published.py --generation build/publish/current

# publish  makes what the last build left the current generation in build/publish
publish: install
	$(BIN)/python scripts/publish.py publish

# publish-postgres  copies the current generation into the PostgreSQL database that libpq's variables name
publish-postgres: engines
	$(BIN)/python scripts/publish_postgres.py

# evidence  writes the page and the pack of figures about the current generation to build/evidence
evidence: install
	$(BIN)/python scripts/evidence.py

# docs  writes dbt's site of layers, columns and lineage; beside target/, whose artifacts tell of the last build
docs: install
	$(BIN)/dbt docs generate --static --target-path build/docs

# incident  assesses the log of the old, ungated matcher: who was affected, and within which bounds
incident: install
	$(BIN)/dbt build --vars 'incident_assessment: true' --select +path:models/marts/incident --indirect-selection cautious
	$(BIN)/python scripts/show_incident.py

test: engines spark
	$(BIN)/python -m pytest

# test-engines  builds on PostgreSQL and on Spark beside DuckDB and compares every row; publishes to PostgreSQL, under readers
test-engines: engines
	$(BIN)/python -m pytest -m engines
	$(MAKE) test-spark

# test-spark  builds on Spark beside DuckDB, in one process and on a cluster that loses a worker, and compares every row
test-spark: spark
	$(BIN)/python -m pytest -n0 -m spark

# prove  runs what takes too long for every change: new worlds, each leak alone, attacks on publishing, kills
prove: install
	$(BIN)/python -m pytest -m prove
	PYTHONPATH=scripts $(BIN)/python tests/python/leaks.py
	$(BIN)/python tests/python/faults.py
	PYTHONPATH=scripts $(BIN)/python tests/python/attacks.py
	PYTHONPATH=scripts $(BIN)/python tests/python/kills.py

# test-evidence  looks at the evidence page in a real Chromium
test-evidence: browser
	$(BIN)/python -m pytest -m browser

# test-superset  imports the dashboard into a real Superset, looks at it in Chromium and attacks it from SQL Lab
test-superset: browser .venv/superset/.installed
	$(BIN)/python -m pytest -m superset

.venv/superset/.installed: scripts/requirements/superset.txt | .venv/.installed
	$(PYTHON) -m venv .venv/superset
	.venv/superset/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

# spark-cluster  builds the sample on a Spark cluster of its own: a master and two workers on loopback
spark-cluster: spark
	$(BIN)/python scripts/spark_cluster.py run --workers 2 --lake build/lake $(BIN)/dbt build --target spark --exclude-resource-type unit_test

# sample  writes the bundled sample and the phone regions anew from their generators
sample: install
	$(BIN)/python scripts/make_sample.py
	$(BIN)/python scripts/make_phone_regions.py

# benchmark  times the gated build beside the ungated join and peers, on inputs of 1 and 5 million users
benchmark: .venv/.benchmark
	$(BIN)/python scripts/benchmark.py --json build/benchmark.json --table docs/benchmark.md --plot docs/benchmark.svg

.venv/.benchmark: .venv/.engines .venv/.spark scripts/requirements/benchmark.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r scripts/requirements/benchmark.txt
	touch $@

# attacks  replays the published attacks on audience sizes against the models
attacks: install
	$(BIN)/python scripts/size_attacks.py --table docs/size_attacks.md

# mutants  puts small faults into the models, one at a time, and shows which of them no test notices
mutants: install
	$(BIN)/python scripts/mutate.py --table docs/mutation.md

# clean   removes everything that can be made again
clean:
	rm -rf build target logs .venv .pytest_cache .ruff_cache
