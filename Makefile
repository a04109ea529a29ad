# Annals: what can be done here. `make` prints this help.
SHELL := bash
GOLANGCI_VERSION := v2.15.0
TOOLS := $(CURDIR)/.tools
LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help deps proto check test fmt lint vet race exact faults long bench bench-toolkit bench-projections bench-served compare bench-check e2e

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

deps: ## install what the tests need: a C compiler for the race detector, curl, PostgreSQL, Python, file systems to cut the power of, the Go modules
	@missing=; command -v gcc >/dev/null || missing="gcc libc6-dev"; command -v curl >/dev/null || missing="$$missing curl"; \
	for p in mkfs.ext4:e2fsprogs losetup:mount mkfs.xfs:xfsprogs; do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$$missing python3-venv"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then apt-get update -qq && apt-get install -y -qq $$missing; fi
	go mod download

$(LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

proto: ## generate Go of the protocols, with protoc of Debian; what is generated is committed
	command -v protoc >/dev/null || { apt-get update -qq && apt-get install -y -qq protobuf-compiler; }
	GOBIN=$(TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(TOOLS) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	PATH=$(TOOLS):$$PATH protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative proto/*/v1/*.proto

fmt: $(LINT) ## format the code
	$(LINT) fmt ./...

lint: $(LINT) ## lint, layers included (see .golangci.yml)
	$(LINT) fmt --diff ./...
	$(LINT) run --allow-parallel-runners ./...

vet: ## go vet, here and as other systems see it
	go vet ./...
	GOOS=windows go vet ./internal/vfs ./internal/faultlane ./store/...
	GOOS=darwin go vet ./internal/vfs ./internal/faultlane ./store/...

exact: ## every flipped bit, every power cut and thousands of crashes, without the race detector; 32 bits
	go test -timeout=20m ./store/engine/segment ./store/engine/index/run ./internal/faultlane ./internal/mutants
	GOARCH=386 go test ./store/engine/frame ./store/engine/index/run

race: ## all tests, under the race detector
	go test -race -shuffle=on -timeout=30m ./...

check: vet lint race ## the fast loop: vet, lint, tests

test: deps vet lint exact race bench-check e2e ## install what is needed and run everything; CI runs this

faults: ## the fault lanes in short, one line each
	set -o pipefail; go test -count=1 -timeout=20m -v ./internal/faultlane ./internal/mutants | grep -E 'lane |^(ok|FAIL|---)'

long: ## the fault lanes as long as they should be before a release: about two hours, as root
	set -o pipefail; go test -count=1 -v -timeout=3h ./internal/faultlane -kills=1000 -viewkills=200 -cuts=250 -mounts=ext4,ext4:commit=1,ext4:data=writeback,xfs \
		-cycles=100 -syncfaults=50 -seeds=100000 -from=1000000 -faultpairs=20000 -ops=1000000 -pairs=10000 | grep -E 'lane |^(ok|FAIL|---)'
	set -o pipefail; go test -count=1 -v -timeout=60m ./store/engine/segment -run='TestNoFlippedBitIsServed|TestALogSurvives' -opens=2000 -histories=30000 | \
		grep -E 'lane |histories|^(ok|FAIL|---)'

bench: ## our figures beside the floors of this machine: about half an hour; see `go run ./cmd/annals bench --help`
	go run ./cmd/annals bench -o table

compare: ## the same beside other embedded stores, in the same run: about two hours; see `cd bench && go run . -h`
	cd bench && go run .

bench-toolkit: ## what decisions, loads, snapshots and codecs cost, beside bare loops, on one core: five minutes
	cd bench && GOMAXPROCS=1 go test -run='^$$' -bench=. -count=3 ./toolkit

bench-projections: ## how fast read models follow, beside loops by hand on the same databases: five minutes
	cd bench && ./postgres.sh go test -run='^$$' -bench=. -benchtime=1x -count=3 ./projections

bench-served: ## a store on a server beside the bare transport: two minutes
	cd bench && go test -run='^$$' -bench=. -benchtime=2s -count=3 ./served

e2e: ## clients of other projects, by their own packages, against a real server
	e2e/run.sh

bench-check: ## build, vet and smoke-test the comparison, which is a module of its own
	cd bench && go vet ./... && go test ./...
