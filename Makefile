# Each of these makes its own virtual environment and installs all it needs.
#   make demo       the main job on real data: a table and out/hillshade.png
#   make test       the test suite
#   make lint       formatting and lint of the C and the Python
#   make sanitize   the suite on a build with AddressSanitizer and UBSan
#   make fuzz       FUZZ_COUNT random array expressions, assignments and reductions, from seed FUZZ_SEED on, against NumPy;
#                   a hundredth as many sources of C functions, against gcc
#   make soak       200,000 compile-and-drop cycles, 40,000 live kernels, and each refusal 100,000 times
#   make bench      latency, then array expressions, then ufuncs, beside cffi, gcc, numba, numexpr, blosc2 and NumPy
PYTHON ?= python3
ENVS ?= build
FUZZ_COUNT ?= 100000
FUZZ_SEED ?= 1000000

SOURCES := $(shell find src cache runtime tests/native -type f) meson.build meson.options pyproject.toml
PIP = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
# Our own C at -Wall -Wextra, any warning an error.
STRICT = -Csetup-args=-Dwerror=true

all: test

$(ENVS)/demo/installed: $(SOURCES)
	$(PYTHON) -m venv $(ENVS)/demo
	$(call PIP,$(ENVS)/demo) ".[demo]"
	touch $@

$(ENVS)/test/installed: $(SOURCES)
	$(PYTHON) -m venv $(ENVS)/test
	$(call PIP,$(ENVS)/test) ".[test]" $(STRICT) -Csetup-args=-Dtesting=true
	touch $@

$(ENVS)/lint/installed: pyproject.toml
	$(PYTHON) -m venv $(ENVS)/lint
	$(call PIP,$(ENVS)/lint) ruff clang-format
	touch $@

$(ENVS)/bench/installed: $(SOURCES)
	$(PYTHON) -m venv $(ENVS)/bench
	$(call PIP,$(ENVS)/bench) ".[bench]"
	touch $@

$(ENVS)/sanitize/installed: $(SOURCES)
	$(PYTHON) -m venv $(ENVS)/sanitize
	$(call PIP,$(ENVS)/sanitize) ".[test]" $(STRICT) -Csetup-args=-Dtesting=true \
	    -Csetup-args=-Db_sanitize=address,undefined -Csetup-args=-Db_lundef=false -Csetup-args=-Dbuildtype=debugoptimized
	touch $@

demo: $(ENVS)/demo/installed
	$(ENVS)/demo/bin/python examples/hillshade.py

test: $(ENVS)/test/installed
	$(ENVS)/test/bin/python -m pytest $(PYTEST_ARGS)

lint: $(ENVS)/lint/installed
	$(ENVS)/lint/bin/ruff check src tests examples benchmarks
	$(ENVS)/lint/bin/ruff format --check src tests examples benchmarks
	$(ENVS)/lint/bin/clang-format --dry-run --Werror $$(find src cache runtime tests/native -name '*.[ch]' -not -path '*/include/*')

# Leaks are counted by the suite itself; what the interpreter keeps until it ends would drown them here.
sanitize: $(ENVS)/sanitize/installed
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_segv=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	PYTHONMALLOC=malloc $(ENVS)/sanitize/bin/python -m pytest -p no:cacheprovider $(PYTEST_ARGS)

fuzz: $(ENVS)/test/installed
	$(ENVS)/test/bin/python tests/fuzz_evaluate.py $(FUZZ_COUNT) $(FUZZ_SEED)
	$(ENVS)/test/bin/python tests/fuzz_blitz.py $(FUZZ_COUNT) $(FUZZ_SEED)
	$(ENVS)/test/bin/python tests/fuzz_reduce.py $(FUZZ_COUNT) $(FUZZ_SEED)
	$(ENVS)/test/bin/python tests/fuzz_compile.py $$(($(FUZZ_COUNT) / 100)) $(FUZZ_SEED)

soak: $(ENVS)/test/installed
	$(ENVS)/test/bin/python tests/soak.py

bench: $(ENVS)/bench/installed
	$(ENVS)/bench/bin/python benchmarks/latency.py
	$(ENVS)/bench/bin/python benchmarks/expressions.py $(BENCH_ARGS)
	$(ENVS)/bench/bin/python benchmarks/ufunc.py

clean:
	rm -rf $(ENVS) out

.PHONY: all demo test lint sanitize fuzz soak bench clean
