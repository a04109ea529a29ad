# Annals: what can be done here. `make` prints this help.
SHELL := bash
GOLANGCI_VERSION := v2.15.0
TOOLS := $(CURDIR)/.tools
LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help deps check test fmt lint vet race

help: ## print this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

deps: ## install what the tests need: a C compiler for the race detector, the Go modules
	@if ! command -v gcc >/dev/null; then apt-get update -qq && apt-get install -y -qq gcc libc6-dev; fi
	go mod download

$(LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

fmt: $(LINT) ## format the code
	$(LINT) fmt ./...

lint: $(LINT) ## lint, layers included (see .golangci.yml)
	$(LINT) fmt --diff ./...
	$(LINT) run --allow-parallel-runners ./...

vet: ## go vet
	go vet ./...

race: ## all tests, under the race detector
	go test -race -shuffle=on ./...

check: vet lint race ## the fast loop: vet, lint, tests

test: deps check ## install what is needed and run everything; CI runs this
