# Everything a newcomer types. The environment is made on first use, in .venv.

VENV ?= .venv
RUNS = $(if $(1),$(shell $(1) -c 'print(1)' 2>/dev/null))
# Empty, too, where the interpreter that .venv was made with has gone.
VENV_RUNS := $(call RUNS,$(VENV)/bin/python)
# The interpreter that .venv is made with. One that is there already is kept, unless PYTHON is given.
ifeq ($(origin PYTHON), undefined)
PYTHON := $(if $(VENV_RUNS),$(VENV)/bin/python,python3)
endif
# pyenv puts a python3.13 on the PATH that runs only where 3.13 is its current version.
PYENV = $(addsuffix /bin/python,$(shell pyenv prefix $(PYTHON:python%=%) 2>/dev/null))
INTERPRETER := $(or $(if $(call RUNS,$(PYTHON)),$(PYTHON)),$(if $(call RUNS,$(PYENV)),$(PYENV)))
VERSION := $(if $(INTERPRETER),$(shell $(INTERPRETER) -c \
    'import sys; print("%d.%d" % sys.version_info[:2])'))
# Where no package can be downloaded, pip says so in many words. An error of make itself is the last
# line that is printed, so what is run next in the environment is that error.
UNREACHABLE := $(VENV)/unreachable
OFFLINE = The packages cannot be downloaded, because no package registry can be reached
RUN = $(if $(shell test -e $(UNREACHABLE) && echo 1),$(error $(OFFLINE)))$(VENV)/bin/python
LOG := $(VENV)/pip.log
INSTALL = $(RUN) -m pip --disable-pip-version-check --log $(LOG) install --quiet
DONE = && rm -f $(LOG) && touch $@ || { \
    grep -q 'connection broken by' $(LOG) && mv $(LOG) $(UNREACHABLE); }
ARGS ?=
# Tests of one file share what takes long to make, so they stay together.
PARALLEL = -n auto --dist loadfile
PYTEST = $(RUN) -m pytest
# What tools keep goes into the environment where the checkout cannot be written to.
ifneq ($(shell test -w . || echo no),)
PYTEST += -o cache_dir=$(VENV)/.pytest_cache
export COVERAGE_FILE = $(VENV)/.coverage
export MYPY_CACHE_DIR = $(VENV)/.mypy_cache
export RUFF_CACHE_DIR = $(VENV)/.ruff_cache
endif

.PHONY: help train predict test coverage check test-all-pythons test-gpu check-gpu bench-gpu \
    test-browser test-faults bench bench-quick bench-text bench-mpi pictures clean interpreter \
    gpu-packages
.DELETE_ON_ERROR:

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 26

train: $(VENV)/main-$(VERSION)  ## train the network, with ARGS="-a rnn2" for other options
	@$(RUN) train_simple_sequence.py $(ARGS)

predict: $(VENV)/main-$(VERSION)  ## let a trained network run free, with ARGS="-a rnn2" likewise
	@$(RUN) predict_simple_sequence.py $(ARGS)

test: $(VENV)/dev-$(VERSION)  ## run all tests, a file on each core, with ARGS="-k iterator" only some
	$(PYTEST) $(PARALLEL) $(ARGS)

coverage: $(VENV)/dev-$(VERSION)  ## run all tests, and say which lines and branches none has run
	$(RUN) -m coverage run -m pytest $(PARALLEL) $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

check: $(VENV)/dev-$(VERSION)  ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test-all-pythons:  ## run the tests on every interpreter of 3.10 to 3.15 that is found
	@found=; missing=; \
	for version in 3.10 3.11 3.12 3.13 3.14 3.15; do \
	    run="$(MAKE) --no-print-directory VENV=.venv-$$version PYTHON=python$$version"; \
	    if $$run --silent interpreter 2>/dev/null; then \
	        echo "== Python $$version"; \
	        $$run test || exit 1; \
	        found="$$found $$version"; \
	    else \
	        missing="$$missing $$version"; \
	    fi; \
	done; \
	echo "Tests passed on:$${found:- none}. Not found:$${missing:- none}."; \
	test -n "$$found"

# Where NVIDIA's driver is, CuPy is installed for them; elsewhere it would be of no use.
GPU_OR_MAIN = $(if $(shell command -v nvidia-smi),gpu,main)
test-gpu: $(VENV)/dev-$(VERSION) $(VENV)/$(GPU_OR_MAIN)-$(VERSION)
test-gpu:  ## run the tests that need a CUDA GPU, or say that there is none
	$(PYTEST) -m gpu tests/gpu $(ARGS)

# An interpreter that has Chainer and CuPy is taken as it is: these two need no network then.
HAS_GPU_PACKAGES = -c 'import chainer_compat, chainer, cupy' 2>/dev/null
GPU_PYTHON = $(or $(shell $(INTERPRETER) $(HAS_GPU_PACKAGES) && echo $(INTERPRETER)),\
    $(VENV)/bin/python)
check-gpu bench-gpu: interpreter
	@$(INTERPRETER) $(HAS_GPU_PACKAGES) || $(MAKE) --silent gpu-packages
	@$(GPU_PYTHON) -m $(GPU_MODULE) $(ARGS)
gpu-packages: $(VENV)/$(GPU_OR_MAIN)-$(VERSION)
	@$(RUN) -c ''

check-gpu: GPU_MODULE = tests.gpu.check
check-gpu:  ## train on the GPU, on the CPU and on both in turn, and compare

bench-gpu: GPU_MODULE = benchmarks.on_gpu
bench-gpu:  ## measure an update on the GPU, beside PyTorch where that is installed

test-browser: $(VENV)/browser-$(VERSION)  ## open the page in a browser, or say what is missing for it
	$(PYTEST) -m browser tests/browser $(ARGS)

test-faults: $(VENV)/dev-$(VERSION)  ## kill trainings, fail disks, type 2,000 commands: ten minutes
	$(PYTEST) -vv -m faults -n auto $(ARGS)

bench: $(VENV)/bench-$(VERSION)  ## measure beside PyTorch, JAX, NumPy and the tutorial's schedule
	$(RUN) -m benchmarks.run $(ARGS)

bench-quick: $(VENV)/bench-$(VERSION)  ## the updates only, in under a minute
	$(RUN) -m benchmarks.run --quick $(ARGS)

bench-text: $(VENV)/bench-$(VERSION)  ## learn a text beside PyTorch and a transformer, ten minutes
	$(RUN) -m benchmarks.text $(ARGS)

bench-mpi: $(VENV)/mpi-$(VERSION)  ## measure how training scales with the number of processes
	$(RUN) -m benchmarks.scaling $(ARGS)

pictures: $(VENV)/main-$(VERSION)  ## draw the pictures of docs/how-it-works.md again
	$(RUN) -m docs.draw

clean:  ## remove the environments and what running has left, but no results
	rm -rf .venv .venv-3.* .pytest_cache .hypothesis .ruff_cache .mypy_cache .coverage*
	find . -name __pycache__ -prune -exec rm -rf {} +

interpreter:
	@rm -f $(LOG) $(UNREACHABLE)
	@test -n "$(INTERPRETER)" || { echo "$(PYTHON) is not there, or does not run" >&2; exit 1; }
	@$(INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "$(PYTHON) is Python $(VERSION), too old: 3.10 to 3.15 is needed, as in" \
	        "PYTHON=python3.12 make train" >&2; exit 1; }

# Made again, and with it all that follows, where it does not run. Nothing is cleared that runs, or
# that is no environment.
CLEAR = $(if $(wildcard $(VENV)/pyvenv.cfg),--clear)
ifeq ($(VENV_RUNS),)
.PHONY: $(VENV)/main-$(VERSION)
endif

# One stamp for each set of requirements and version of Python: made again only when those change.
$(VENV)/main-$(VERSION): requirements/build.txt requirements.txt | interpreter
	@test -n "$(VENV_RUNS)" || $(INTERPRETER) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make $(VENV): it lacks venv or ensurepip, which Debian and Ubuntu" \
	        "have in a package of their own: apt install python3-venv" >&2; exit 1; }
	@test -n "$(VENV_RUNS)" || $(INTERPRETER) -m venv $(CLEAR) $(VENV)
	@$(VENV)/bin/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' || { \
	    echo "$(VENV) is there, with another Python than $(PYTHON): name a second one, as in" \
	        "VENV=.venv-$(VERSION), or remove it" >&2; exit 1; }
	@echo "Installing what training needs into $(VENV) ..."
	@$(INSTALL) -r requirements/build.txt && \
	    $(INSTALL) --no-build-isolation -r requirements.txt $(DONE)

$(VENV)/dev-$(VERSION): $(VENV)/main-$(VERSION) requirements/dev.txt requirements/mpi.txt
	@echo "Installing what the tests need into $(VENV) ..."
	@$(INSTALL) --no-build-isolation -r requirements/dev.txt $(DONE)

$(VENV)/browser-$(VERSION): $(VENV)/dev-$(VERSION) requirements/browser.txt
	@echo "Installing what drives a browser into $(VENV) ..."
	@$(INSTALL) --no-build-isolation -r requirements/browser.txt $(DONE)

$(VENV)/gpu-$(VERSION): $(VENV)/main-$(VERSION) requirements/gpu.txt
	@echo "Installing CuPy and CUDA's libraries into $(VENV), a large download ..."
	@$(INSTALL) --no-build-isolation -r requirements/gpu.txt $(DONE)

$(VENV)/mpi-$(VERSION): $(VENV)/main-$(VERSION) requirements/mpi.txt
	@echo "Installing MPI into $(VENV) ..."
	@$(INSTALL) --no-build-isolation -r requirements/mpi.txt $(DONE)

$(VENV)/bench-$(VERSION): $(VENV)/main-$(VERSION) requirements/bench.txt
	@echo "Installing the peers into $(VENV), a large download ..."
	@$(INSTALL) --no-build-isolation -r requirements/bench.txt $(DONE)
