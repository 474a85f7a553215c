# The only commands anyone has to know. Each sets itself up first, and is quick when
# nothing changed. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NATIVE := CMakeLists.txt $(wildcard src/convscope/kernels/native/*.* \
	src/convscope/kernels/native/*/*.*)
CPP := $(filter %.cpp %.h,$(NATIVE)) $(wildcard tests/native/*.cpp)
RUN := runs/demo
JUDGES := build/judges

.PHONY: help demo test judges check docs bench sanitize sanitize-short setup clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | \
		while read -r name does; do printf 'make %-16s%s\n' "$$name" "$$does"; done

demo: $(READY)  ## train on real handwritten digits, judge the result, use it
	$(BIN)/convscope train digits --run $(RUN) --force
	$(BIN)/convscope evaluate $(RUN)
	$(BIN)/python examples/digit_files.py runs/demo-digits
	$(BIN)/convscope predict $(RUN) runs/demo-digits

test: $(READY)  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q

judges: $(READY) $(JUDGES)/.ready  ## other libraries judge ours: weights, counts, maps
	OMP_NUM_THREADS=1 PYTHONPATH=$(JUDGES) $(BIN)/python -m pytest -q \
		tests/judges/test_weights_of_others.py tests/judges/test_attribution.py
	PYTHONPATH=$(JUDGES) $(BIN)/python benchmarks/counts.py
	PYTHONPATH=$(JUDGES) $(BIN)/python benchmarks/families.py

check: $(READY)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

docs: $(READY)  ## the pages, into build/docs; open build/docs/index.html
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -j 2 -q -W --keep-going docs build/docs

bench: $(READY)  ## ours beside the peers, minutes; race.py and figures.py take longer
	$(BIN)/python benchmarks/batches.py
	$(BIN)/python benchmarks/native_stages.py
	$(BIN)/convscope bench
	$(BIN)/python benchmarks/figures.py digits

sanitize:  ## the native kernels under the address, undefined and thread sanitizers
	for kind in address thread; do \
		cmake -S . -B build/$$kind -DCONVSCOPE_SANITIZE=$$kind \
			-DCMAKE_BUILD_TYPE=Debug && \
		cmake --build build/$$kind --parallel 2 && \
		for fuzz in build/$$kind/tests/native/fuzz*-*; do $$fuzz || exit 1; done \
		|| exit 1; \
	done

sanitize-short:  ## the same without threads, for one instruction set, in a minute
	cmake -S . -B build/short -DCONVSCOPE_SANITIZE=address -DCONVSCOPE_SHORT=ON
	cmake --build build/short --parallel 2
	for fuzz in build/short/tests/native/fuzz*-*; do $$fuzz 100 || exit 1; done

setup: $(READY)  ## install everything into .venv, the native kernels too

$(READY): pyproject.toml constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@

# Without their dependencies: torchvision asks for a torch that is not the one here.
$(JUDGES)/.ready: tests/judges/requirements.txt $(READY)
	rm -rf $(JUDGES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(JUDGES) --requirement tests/judges/requirements.txt
	touch $@

clean:  ## remove everything that these commands made
	rm -rf .venv runs build docs/reference docs/gallery/arithmetic.md .mypy_cache .ruff_cache .pytest_cache .hypothesis
