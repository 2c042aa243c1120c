# `make demo` and `make test` set everything up: through pixi where it is installed, otherwise in .venv with python3 and
# pip. Both roads run the same commands; tests/test_pixi.py compares them. Options go through ARGS: make demo ARGS='talk.mp3'

PYTHON ?= python3
ARGS ?=
PIXI := $(shell command -v pixi 2>/dev/null)
TASKS := demo test benchmark benchmark-json benchmark-peers parity parity-all parity-options lint nano dist docs

.PHONY: $(TASKS) clean

ifneq ($(PIXI),)

$(TASKS):
	$(PIXI) run $@ $(ARGS)

else

VENV := .venv
READY := $(VENV)/.ready
PEERS_READY := $(VENV)/.peers-ready
RUN := $(VENV)/bin/python
# Empty where the compiler has no such options: clang needs none.
KEEP_STORES = $(shell $(CC) -fno-tree-dse -fno-dse -E -x c /dev/null >/dev/null 2>&1 && echo -fno-tree-dse -fno-dse)

demo: $(READY)
	$(RUN) -m max_whisper demo $(ARGS)

test: lint
	$(RUN) -m pytest $(ARGS)

benchmark: $(READY)
	$(RUN) -m benchmarks.run $(ARGS)

benchmark-json: $(READY)
	$(RUN) -m benchmarks.run --json benchmark.json $(ARGS)

benchmark-peers: $(PEERS_READY)
	$(RUN) -m benchmarks.peers $(ARGS)

parity: $(READY)
	$(RUN) -m max_whisper parity $(ARGS)

parity-all: $(READY)
	$(RUN) -m max_whisper parity --all $(ARGS)

parity-options: $(READY)
	$(RUN) -m max_whisper parity-options --page docs/parity-options.md $(ARGS)

lint: $(READY)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

nano: $(READY)
	$(RUN) training/make_nano.py $(ARGS)

# The reference of the Python API, in build/docs.
docs: $(READY)
	$(RUN) docs/make_reference.py $(ARGS)

# The source distribution and the wheel, in dist/.
dist: $(READY)
	$(RUN) -m build $(ARGS)
	$(RUN) -m twine check --strict dist/*

# Made anew when a dependency or a locked version changes; otherwise reused.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found: install Python 3.10 to 3.14, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || { \
	  echo "$$($(PYTHON) --version) is not between 3.10 and 3.14: name another, such as make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The other programs of benchmark-peers. whisper.cpp is compiled from its package's source, for this machine's CPU and with
# the matrix products of llamafile. GCC 12 takes the stores to AMX's tile configuration for dead, and q8_0 then crashes.
$(PEERS_READY): $(READY)
	CFLAGS='$(KEEP_STORES)' CXXFLAGS='$(KEEP_STORES)' GGML_LLAMAFILE=ON \
	  $(RUN) -m pip install --disable-pip-version-check \
	  --constraint constraints.txt --no-binary pywhispercpp --editable '.[dev,peers]'
	@touch $@

endif

clean:
	rm -rf .venv .pixi .mypy_cache .pytest_cache .ruff_cache build dist benchmark.json max-whisper/max_whisper.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
