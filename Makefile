# Everything starts here. `make demo` and `make test` need Python 3.11, make and, for the Debian
# packages that PyAudio is built with, root or sudo; nothing else.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
export MPLBACKEND := Agg

.PHONY: help setup demo test test-newest test-arm test-export test-hil test-boot faults soak lint bench pictures clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## virtual environment with everything (4 to 8 GB, a few minutes)

$(VENV)/.ready: pyproject.toml constraints.txt scripts/system-packages.sh
	@[ "$$(uname -m)" = x86_64 ] || { echo "onnx2tf needs packages that do not exist for $$(uname -m):" \
		"take an x86-64 machine. For edge alone: pip install '.[media]'" >&2; exit 1; }
	sh scripts/system-packages.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --upgrade pip setuptools
	@echo "Installing the tools of both sides, 4 to 8 GB: this takes a few minutes."
	$(PIP) torch  # first and alone, so that no other package determines its build
	PYTHONWARNINGS=ignore $(PIP) -e '.[pi,media,convert,dev]'  # setuptools warns about itself
	touch $@

demo: setup  ## judge synthetic engines, healthy and knocking, with the shipped model
	$(BIN)/convert synth out/demo --demo
	$(BIN)/edge predict out/demo/healthy.wav out/demo/knocking.wav --picture out/demo/pictures
	@echo "Pictures: out/demo/pictures"
	@echo "The programs are in $(BIN); for edge and convert by name: . $(BIN)/activate"

# Up to four processes, as one export takes gigabytes; the tests of a file stay in one. Of one thread
# each: threads of several processes that wait for one another keep each other from running.
test: setup  ## all tests but the slow, hil and boot ones (7 to 25 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not hil and not boot" \
		-n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What `pip install .` brings, not constraints.txt. The tests of the other side need Python 3.11.
NEWEST := build/newest/$(notdir $(PYTHON))
test-newest:  ## edge alone, with the newest packages: make test-newest PYTHON=python3.13
	sh scripts/system-packages.sh
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --disable-pip-version-check -e '.[pi,media,dev]'
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n logical --dist loadfile \
		-m "not slow and not hil and not boot" \
		$$(grep -LwE 'convert|scripts|torch' tests/test_*.py tests/*/test_*.py)

test-arm: setup  ## what depends on the processor, on an emulated Pi; needs root (half an hour)
	sh scripts/system-packages.sh arm
	sh scripts/arm.sh

test-export: setup  ## export every layout and precision, on real recordings (half an hour)
	$(BIN)/python -m pytest -m slow -s tests/test_export.py

test-hil: setup  ## the listener on a virtual microphone; installs a sound server (half an hour)
	sh scripts/system-packages.sh hil
	KNOCK_COUNT_SECONDS=600 KNOCK_DRIVE_SECONDS=600 $(BIN)/python -m pytest -m hil -s tests/hil

test-boot: setup  ## the service under real systemd, in a separate Debian; needs root
	sh scripts/system-packages.sh boot
	$(BIN)/python -m pytest -m boot -s tests/boot

faults: setup  ## cause every fault and write docs/faults.md
	sh scripts/system-packages.sh hil
	KNOCK_WRITE_FAULTS=1 $(BIN)/python -m pytest -m hil tests/hil/test_faults.py tests/hil/test_faults_board.py

soak: setup  ## a day of sound at full speed: memory must not grow (an hour and more)
	$(BIN)/python -m scripts.soak

lint: setup  ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup  ## speed against librosa + matplotlib + torch, as ratios
	$(BIN)/python -m benchmarks

pictures: setup  ## draw docs/pictures.png, what the network sees
	$(BIN)/python -m scripts.pictures

clean:  ## remove everything that make built
	rm -rf $(VENV) build dist out/demo out/bench.json *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find benchmarks convert edge scripts tests -name __pycache__ -prune -exec rm -rf {} +
