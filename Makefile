# Annals: what can be done here. `make` prints this help.
SHELL := bash
GOLANGCI_VERSION := v2.15.0
TOOLS := $(CURDIR)/.tools
LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help deps check test fmt lint vet race exact long bench compare bench-check

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

deps: ## install what the tests need: a C compiler for the race detector, curl, the Go modules
	@missing=; command -v gcc >/dev/null || missing="gcc libc6-dev"; command -v curl >/dev/null || missing="$$missing curl"; \
	if [ -n "$$missing" ]; then apt-get update -qq && apt-get install -y -qq $$missing; fi
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

vet: ## go vet, here and as other systems see it
	go vet ./...
	GOOS=windows go vet ./internal/vfs ./store/...
	GOOS=darwin go vet ./internal/vfs ./store/...

exact: ## every flipped bit, every power cut and thousands of crashes, without the race detector; 32 bits
	go test ./store/engine/segment
	GOARCH=386 go test ./store/engine/frame

race: ## all tests, under the race detector
	go test -race -shuffle=on ./...

check: vet lint race ## the fast loop: vet, lint, tests

test: deps vet lint exact race ## install what is needed and run everything; CI runs this

long: ## many more crashes than `make test` has time for: about six minutes
	go test -count=1 -timeout=60m ./store/engine/segment -run=TestALogSurvivesCrashesAtAnyMoment -histories=30000 -v

bench: ## our figures beside the floors of this machine: about half an hour; see `go run ./cmd/annals bench --help`
	go run ./cmd/annals bench -o table

compare: ## the same beside other embedded stores, in the same run: about two hours; see `cd bench && go run . -h`
	cd bench && go run .

bench-check: ## build, vet and smoke-test the comparison, which is a module of its own
	cd bench && go vet ./... && go test ./...
