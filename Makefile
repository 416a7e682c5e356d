# `make demo` and `make test` set up all they need: Python 3.11, make and a C++ compiler must be there.

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help setup demo bitstream test test-slow whole topologies route-modules exports imports torture torture-link soak fuzz faults mutate prove bench graphs axi lint types wheel docs results calibrate clean

help:
	@echo "make demo       the main job on shipped data, start to end: Verilog, simulation, HTML page"
	@echo "make bitstream  cifar10-psa-small for the ULX3S 85F, with tools from PyPI alone"
	@echo "make test       the test suite (ARGS='-k table' for a part of it)"
	@echo "make test-slow  the tests that take minutes, or that need the whole data set"
	@echo "make whole      the whole test set through the circuit of cifar10-psa-small for Marble, resumable (an hour)"
	@echo "make torture    200 random networks, planned and simulated with stalls and resets (an hour)"
	@echo "make topologies an MLP, a Mixer, ResNet8, a depthwise-separable network and an autoencoder, simulated (an hour)"
	@echo "make route-modules  stages of a network routed for ECP5, one by one, beside the estimate of their clock (an hour)"
	@echo "make exports    1,000 images of each shipped network through onnxruntime, against the integer model (minutes)"
	@echo "make imports    models of others (MODELS=DIR, by default ../shared/models) against their interpreters, and simulated (an hour)"
	@echo "make torture-link  10,000 damaged frames, twice, into a simulated board (minutes)"
	@echo "make soak       20,000 images over UDP to a simulated board, with packets lost, repeated and late (minutes)"
	@echo "make faults     every command killed, on full disks, and with wrong input files (hours)"
	@echo "make fuzz       10,000 damaged inputs for each reader of files, packets and options (an hour)"
	@echo "make prove      the stream contract of every component, by a model checker, and faults that it must refute (half an hour of processor time)"
	@echo "make mutate     faults in the sources, one at a time, that the tests must notice (hours; resumable)"
	@echo "make bench      the first plan and the first simulation of the networks that ship, with an empty cache (minutes each)"
	@echo "make axi        200 images through the Vitis kernel of a network, from a RAM on AXI (minutes)"
	@echo "make lint       ruff, the first words of docstrings, spelling"
	@echo "make types      mypy"
	@echo "make wheel      a wheel in an empty environment: demo, and the README's program"
	@echo "make docs       this project's documentation, in build/docs; executes the tutorial"
	@echo "make results    the tables of README and documentation, from the records in results/"
	@echo "make graphs     the adder graphs that ship, after a change of networks, solver or schedules (an hour)"
	@echo "make calibrate  what Yosys makes of every component, for the cost model (an hour)"
	@echo "make setup      the virtual environment .venv with everything installed"
	@echo "make clean      remove what was built; the virtual environment stays"

setup: $(INSTALLED)

# The stamp is written last: an installation that broke off is taken up again.
$(INSTALLED): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "psahw needs Python 3.11 or later; say which with make PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[train,sim,synth,route,graph,import,docs,dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/psahw demo $(ARGS)

bitstream: $(INSTALLED)
	$(BIN)/psahw build cifar10-psa-small --board ulx3s-85f $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q -rs -m "not slow" $(ARGS)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -rs -m slow $(ARGS)

whole: $(INSTALLED)
	$(BIN)/psahw simulate cifar10-psa-small --clock 200e6 --dataset cifar10 --images 10000 --jobs $(JOBS) --keep build/whole $(ARGS)

MODELS ?= ../shared/models
imports: $(INSTALLED)
	for check in compare accuracy plans simulate; do \
		$(BIN)/python -m tests.imports $$check --models "$(MODELS)" $(ARGS) || exit 1; done

torture: $(INSTALLED)
	$(BIN)/python -m tests.torture.networks --jobs $(JOBS) $(ARGS)

topologies: $(INSTALLED)
	$(BIN)/python -m tests.topologies $(ARGS)

route-modules: $(INSTALLED)
	$(BIN)/python -m tests.routed_modules $(ARGS)

exports: $(INSTALLED)
	$(BIN)/python -m tests.exports $(ARGS)

torture-link: $(INSTALLED)
	$(BIN)/python -m tests.torture $(ARGS)

soak: $(INSTALLED)
	$(BIN)/python -m tests.torture.soak $(ARGS)

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults --jobs $(JOBS) $(ARGS)

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz --jobs $(JOBS) $(ARGS)

prove: $(INSTALLED)
	$(BIN)/python -m tests.formal --jobs $(JOBS) $(ARGS)

mutate: $(INSTALLED)
	$(BIN)/python -m tests.mutation $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks plan $(ARGS)
	$(BIN)/python -m tests.benchmarks simulate $(ARGS)

axi: $(INSTALLED)
	$(BIN)/python -m tests.boards.axi $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_docstrings.py
	$(BIN)/codespell

types: $(INSTALLED)
	$(BIN)/python scripts/check_types.py

wheel: $(INSTALLED)
	$(BIN)/python scripts/check_wheel.py $(ARGS)

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs $(ARGS)

results: $(INSTALLED)
	$(BIN)/python -m psahw.records $(ARGS)

graphs: $(INSTALLED)
	$(BIN)/python scripts/ship_graphs.py $(ARGS)

calibrate: $(INSTALLED)
	$(BIN)/python -m calibration.measure $(ARGS)
	$(BIN)/python -m calibration.compare

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print | xargs rm -rf
