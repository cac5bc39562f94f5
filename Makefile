# Every target sets up what it needs: Python >= 3.10, git and pip are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
OUT    ?= runs
TASKS  ?= armbench_mini

# torch first and pinned: left to a dependency, pip may pick a build of several gigabytes.
TORCH  ?= torch==2.13.0

.PHONY: judge test test-long lint bench audit tables mini test-vllm clean

judge: $(VENV)/judge.done  ## run the bundled benchmark under lmms-eval on the embedded default
	HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 $(BIN)/python -m benchmarks.judge --tasks $(TASKS) --out $(OUT)

test: $(VENV)/test.done  ## run the test suite, on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: $(VENV)/test.done  ## opt-in: training that learns, every step of reproduce (ten minutes)
	$(BIN)/python -m pytest -m long

lint: $(VENV)/test.done  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test.done  ## start-up, episode overhead, retrieval, coverage of intervals
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.coverage

audit:  ## known holes in what is installed (pip-audit, in a virtual environment of its own)
	test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		timeout 120 .venv-audit/bin/python -m pip install -q --retries 1 pip-audit; }
	$(PYTHON) .ci/audit.py .venv-audit/bin/pip-audit $(BIN)/python

tables: $(VENV)/test.done  ## make the tables in results/tables again
	$(BIN)/python -m benchmarks.tables

mini: $(VENV)/test.done  ## make the bundled benchmark again and compare
	$(BIN)/python -m armbench.tasks.mini.build --check tasks/mini/data

test-vllm:  ## opt-in: the same against a real vLLM server, in a virtual environment of its own
	bash tests/vllm/setup.sh
	ARMBENCH_TEST_VLLM=1 .venv-vllm/bin/python -m pytest -m vllm tests/vllm

$(VENV)/judge.done: setup.cfg
	@echo "setting up $(VENV): torch, lmms-eval and what they need (a few minutes the first time)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade pip
	$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) install -q "$(TORCH)"
	# Named again at its version: to suit the newest torchvision pip would exchange it otherwise.
	$(PIP) install -q "torch==$$($(PIP) show torch | sed -n 's/^Version: //p')" -e '.[lmms,hf,docs]'
	# On a CPU build of torch the published torchvision cannot be imported, and both
	# transformers and timm stumble over it; everything here works without them.
	$(BIN)/python -c 'import torchvision' 2>/dev/null || $(PIP) uninstall -q -y torchvision timm
	touch $@

$(VENV)/test.done: $(VENV)/judge.done
	@echo "adding what the tests need"
	$(PIP) install -q -e '.[dev]'
	touch $@

clean:  ## remove what was built here
	rm -rf $(VENV) .venv-vllm build dist *.egg-info
