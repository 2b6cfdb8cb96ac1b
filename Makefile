# A front for CMake; `make help` lists the targets.
#   CC=clang       another compiler          JOBS=2     how many jobs at once
#   WERROR=ON|OFF  warnings as errors        V=1        show the commands
#   MODEL=DIR, PROMPT="..."                  for `make run`; MODEL also for `make bench`
#   SERVE="--port 8000 ..."                  options of `sightglass serve`, for `make run`

MODEL  ?=
PROMPT ?=
SERVE  ?=
WERROR ?=
V      ?=
JOBS   ?=
override PROMPT := $(value PROMPT)
export MODEL PROMPT V JOBS

# make has a CC of its own; only one that somebody chose is passed on.
ifeq ($(origin CC),default)
unexport CC
else
export CC
endif

OPTIONS := $(if $(WERROR),-DSG_WERROR=$(WERROR))
SOURCES  = find include src studies tools bench fuzz test web/engine -name '*.[ch]'

.PHONY: all run page site screenshots test bench asan tsan fuzz format tidy clean help

all: ## build the library and the command into build/ (the default)
	@scripts/build build $(OPTIONS) all

run: page ## install what is needed, build, and serve the page on the shipped models, or on MODEL=DIR; Ctrl-C ends it
	@scripts/build build $(OPTIONS) sightglass_cli
	@if [ -n "$$MODEL" ] && [ -n "$$PROMPT" ]; then build/sightglass generate "$$MODEL" --text "$$PROMPT" -n 64; fi
	@if [ -n "$$MODEL" ]; then set -- "$$MODEL"; fi; exec build/sightglass serve "$$@" --open $(SERVE)

page: ## the page, which the command carries, into build/page/
	@scripts/install-deps run
	@scripts/build-page

site: ## the page for any web space, or for opening from a folder, without a server: build/site/
	@scripts/install-deps run
	@scripts/build-page site

screenshots: ## pictures of all places, light and dark, into docs/screenshots/
	@scripts/install-deps test pngquant
	@scripts/build-page
	@scripts/build build $(OPTIONS) sightglass_cli
	@scripts/screenshots

test: ## everything that decides whether the tree is good; the last line is the verdict
	@scripts/test

bench: ## build and run the timings, beside PyTorch where it is installed; BENCH="NAME ..." picks rows; build/bench.json
	@scripts/build build $(OPTIONS) benches
	@build/bench $(BENCH)

asan: ## the tests under the address and undefined-behaviour sanitizers, in build-asan/
	@scripts/test asan

tsan: ## the tests of threads under the thread sanitizer, in build-tsan/
	@scripts/test tsan

fuzz: ## every parser over its corpus, FUZZ_SECONDS each (5), in build-fuzz/
	@scripts/test fuzz

format: ## lay out our C files with clang-format
	@$(SOURCES) -exec clang-format -i {} +

tidy: ## what clang-tidy advises
	@scripts/build build $(OPTIONS) all
	@$(SOURCES) -name '*.c' ! -path 'bench/*' ! -path 'fuzz/*' -print0 | xargs -0 -n 4 -P "$${JOBS:-$$(nproc)}" clang-tidy -p build --quiet 2>/dev/null

clean: ## remove what was built
	@rm -rf build build-asan build-tsan build-plain build-fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
