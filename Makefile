# Everything here needs Go, git and make only; `make test RACE=1` and
# `make cover` also need a C compiler for the race detector.

SHELL := /bin/bash
TOOL  := go tool -modfile=tools/go.mod

# Real recorded data for the tests that use it; without it they are skipped
# and say so.
export TANDEM_DATA ?= $(abspath ../shared/data)

GOTEST   ?= go test
RACE     ?=
FUZZTIME ?= 10s

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./tandem, one static binary that knows its commit
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags '-s -w' -o tandem ./cmd/tandem

.PHONY: demo
demo: build ## watch the whole loop at work: learn, certify, serve, alarm, relearn
	./tandem demo

.PHONY: test
test: ## run all tests (RACE=1: with the race detector)
	$(if $(RACE),CGO_ENABLED=1,CGO_ENABLED=0) $(GOTEST) $(if $(RACE),-race) ./...

.PHONY: test-race
test-race: ## run all tests with the race detector
	@$(MAKE) test RACE=1

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@tools/fuzz $(FUZZTIME)

.PHONY: cover
cover: ## run all tests and write coverage to dist/cover.html
	@mkdir -p dist
	CGO_ENABLED=0 go test -coverpkg=./... -coverprofile=dist/cover.out ./...
	go tool cover -html=dist/cover.out -o dist/cover.html
	@go tool cover -func=dist/cover.out | tail -n 1

.PHONY: lint
lint: ## run the linters
	$(TOOL) golangci-lint run ./...

.PHONY: fmt
fmt: ## format all Go files
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

.PHONY: bench
bench: build ## measure everything and write docs/benchmarks.md anew (half an hour)
	./tandem bench all

.PHONY: bench-peers
bench-peers: ## measure beside rivals from the Python index (hours; see bench/peers/run)
	bench/peers/run

.PHONY: microbench
microbench: ## run the Go benchmarks of every package
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-kernel
bench-kernel: ## measure the numeric kernels beside gonum
	go run -C tools/benchkernel .

.PHONY: generate
generate: ## regenerate checked-in generated files
	go generate ./...

.PHONY: picture
picture: build ## play the demo and draw docs/images/demo.svg from it
	./tandem demo --once --json | tail -n 1 > docs/images/demo.json
	go run ./docs/images/gen docs/images/demo.json > docs/images/demo.svg

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf tandem dist
