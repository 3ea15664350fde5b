# The verbs a person types. CMake does the building (CMakePresets.json); the steps are in scripts/.
# Variables: ARGS (for `parley serve`), JOBS, FUZZ_SECONDS, INSTALL=true (do not look at Debian's packages).
.DEFAULT_GOAL := help
.PHONY: help run build test lint asan tsan fuzz bench bench-peers soak profile interop chaos edge image clean packages-build
MAKEFLAGS += --no-print-directory

JOBS ?= $(shell nproc)
INSTALL ?= scripts/install
export JOBS
BENCH_TOOLS = cmake --preset release -DPARLEY_BENCH=ON >/dev/null && \
	cmake --build build/release --target parley_bench_mock parley_bench_load parley_bench_mcp_echo -- -j $(JOBS)

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: build ## Build, then start the gateway with agent_config.json (ARGS="--port 8080" is passed on)
	@exec build/parley serve $(ARGS)

build: build/release/build.ninja ## Build the release binary: build/parley
	@cmake --build build/release --target parley -- -j $(JOBS)
	@ln -sfn release/bin/parley build/parley

# Ninja configures again by itself when a CMake file changes; the presets it does not know.
build/release/build.ninja: CMakePresets.json | packages-build
	@cmake --preset release >/dev/null
	@touch $@

packages-build:
	@$(INSTALL) build

test: ## Unit and integration tests of the release build, instructions of its hot paths
	@$(INSTALL) build test
	@scripts/test release

lint: ## Format, layers, headers, co_await shapes, clang-tidy
	@$(INSTALL) build test lint
	@scripts/lint/run

asan: ## All tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(INSTALL) build test sanitize
	@scripts/test asan

tsan: ## All tests under ThreadSanitizer
	@$(INSTALL) build test sanitize
	@scripts/test tsan

fuzz: ## Run every fuzz target for FUZZ_SECONDS (default 60)
	@$(INSTALL) build test sanitize
	@scripts/fuzz

bench: build ## Compare with nginx and HAProxy as plain proxies: CPU, latency, memory; then what conversations cost
	@$(INSTALL) bench
	@$(BENCH_TOOLS)
	@bench/run $(ARGS)
	@bench/conversations

profile: ## Record anew what the program does most often, for the compiler (cmake/parley.profdata)
	@$(INSTALL) build bench sanitize
	@scripts/profile

soak: build ## Whether memory stays flat: a million requests, then 100,000 streams whose clients leave (minutes)
	@$(INSTALL) bench
	@$(BENCH_TOOLS)
	@bench/soak $(ARGS)

bench-peers: build ## LiteLLM, SMG, Portkey and Envoy in the same table (needs the network once, and 1 GB in build/peers)
	@$(INSTALL) bench peers
	@$(BENCH_TOOLS)
	@bench/peers/run $(ARGS)

interop: build ## Real SDKs, frameworks, the MCP conformance suite, Open WebUI in a browser (needs the network once)
	@$(INSTALL) interop
	@tests/interop/run

chaos: build ## The history checker: 1,000 seeds in which gateway, store, models and tools fail (ARGS="--seeds 100 --seed 7")
	@$(INSTALL) test
	@tests/chaos/run $(ARGS)

edge: build ## TLS, hardening and slow clients, as sslscan, testssl.sh, checksec and slowhttptest see them
	@tests/edge/run $(ARGS)

image: ## Build the Dockerfile without Docker, start the image, talk to it, weigh it (root)
	@$(INSTALL) image
	@tests/image/run $(ARGS)

clean: ## Remove everything that was built
	@rm -rf build
