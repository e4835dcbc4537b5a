# stylize. `make` alone lists the targets.
GO       ?= go
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -X main.version=$(VERSION)
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZTIME ?= 30s

.DEFAULT_GOAL := help
.PHONY: help build demo test cross lint fmt check fuzz cover samples parity

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/stylize
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## paint the sample picture to demo.png (no weights needed)
	bin/stylize testdata/content.jpg testdata/style.jpg -o demo.png --size 320 --iterations 120 --weights random

test: ## run every test, and cross-build without a C compiler
	$(GO) vet ./...
	$(GO) test ./...
	CGO_ENABLED=0 $(GO) test ./gpu/... ./kernels/...
	@$(MAKE) --no-print-directory cross

cross: ## build for every platform without a C compiler
	@for p in $(PLATFORMS); do \
	  echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/... || exit 1; done

lint: ## run the linters (downloads and builds golangci-lint the first time)
	$(GO) run $(LINT) run ./...

fmt: ## format Go and C sources
	gofmt -w $$(git ls-files '*.go')
	@command -v clang-format >/dev/null && clang-format -i $$(git ls-files '*.c' '*.h') || echo "clang-format is not installed; C sources left alone"

check: lint ## what must hold before a commit: format, lint, vet, tidy, a clean tree
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) mod tidy -diff
	git diff --exit-code

fuzz: ## fuzz every parser of foreign files, FUZZTIME each
	$(GO) test ./vgg/weights -run '^$$' -fuzz FuzzOpen -fuzztime $(FUZZTIME)
	$(GO) test ./transfer/picture -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME)
	$(GO) test ./transfer -run '^$$' -fuzz FuzzRecord -fuzztime $(FUZZTIME)

cover: ## coverage of the tests, as a table
	$(GO) test -coverprofile=cover.out -coverpkg=./... ./... && $(GO) tool cover -func=cover.out | tail -1

samples: ## render the sample pictures again
	$(GO) run ./tools/samples -dir testdata

parity: ## make the PyTorch fixtures again (needs python3 and a network; about 3 GB)
	python3 -m venv .venv && .venv/bin/pip install -q -r tools/parity/requirements.txt
	.venv/bin/python tools/parity/generate.py testdata/parity
	.venv/bin/python tools/parity/files.py testdata
