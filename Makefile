# What a developer and CI run. Needs Go, git, ssh and make.

# Tools are built from .ci/tools/go.mod, which pins them apart from refship's own go.mod, into a folder of the Go version: golangci-lint
# refuses code that is newer than the Go it was built with.
TOOLS := .ci/bin/$(shell go env GOVERSION)

TEST_TIMEOUT := 20m

# How long each fuzz target runs: make fuzz FUZZTIME=10s
FUZZTIME ?= 1m

.PHONY: help build install man packages packagetest demo screenshots test torture bench bench-quick fuzz lint vuln clean
.DEFAULT_GOAL := help

help: ## say what there is (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build bin/refship and bin/refship-hook
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/refship ./cmd/refship-hook

PREFIX ?= /usr/local
BIN ?= bin

# DESTDIR is for packagers: what is installed there expects to be at PREFIX later.
install: build ## install the programs, manual pages and completions: make install PREFIX=/usr DESTDIR=package
	install -d $(addprefix "$(DESTDIR)$(PREFIX)"/,bin share/man/man1 share/bash-completion/completions \
		share/zsh/site-functions share/fish/vendor_completions.d)
	install -m 755 "$(BIN)/refship" "$(BIN)/refship-hook" "$(DESTDIR)$(PREFIX)/bin"
	install -m 644 contrib/man/*.1 "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 644 cmd/refship/completion/refship.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/refship"
	install -m 644 cmd/refship/completion/_refship "$(DESTDIR)$(PREFIX)/share/zsh/site-functions"
	install -m 644 cmd/refship/completion/refship.fish "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"

# A test compares them with the program.
man: ## write contrib/man, the manual pages, out of the program's grammar
	go run ./cmd/refship man contrib/man

# For another architecture: make packages GOARCH=arm64
packages: $(TOOLS)/nfpm ## build a deb, an rpm and an SBOM of the commit that is checked out into bin/packages
	contrib/packages/build.sh $(TOOLS) bin/packages

packagetest: $(TOOLS)/nfpm ## build the packages of the work tree, twice; install, upgrade and remove them; run the container image
	contrib/packages/check.sh $(TOOLS)

demo: build ## push this repository into a server of its own and read it back
	contrib/demo.sh

# The race detector needs cgo, and so a C compiler; CI has one.
RACE := $(if $(shell command -v $(shell go env CC) 2>/dev/null),-race)

# -count=1: tests run git, ssh and etcd, and Go's test cache does not see whether those have changed. contrib/gotest is go test with the
# skipped tests named at the end. -w leaves out what only a debugger reads, which halves the time of linking; make lint has
# looked for what -vet would find.
test: ## run all tests, unit and end-to-end, with the race detector; name those that were skipped
	$(if $(RACE),,@echo 'no C compiler: testing without the race detector')
	CGO_ENABLED=$(if $(RACE),1,0) go run ./contrib/gotest $(RACE) -vet=off -ldflags=-w -count=1 -timeout=$(TEST_TIMEOUT) ./...

# Needs Chromium, such as the one that .ci/run unpacks: with its fonts the pictures are the same everywhere.
screenshots: ## make the pictures of the page in contrib/screenshots anew
	PATH="$(CURDIR)/.ci/bin/chromium/bin:$$PATH" REFSHIP_REQUIRE_TOOLS=1 \
		go test ./cmd/refship -run='^TestPage$$/^all$$' -count=1 -v -screenshots

# What only runs when it is asked for, because it is long; ends with a summary. contrib/torture.sh NAME... runs some of it.
torture: ## loads of enemies, kills, full disks, large files, long histories and random ones: an hour
	TEST_TIMEOUT=$(TEST_TIMEOUT) contrib/torture.sh

# What the table means, and what else it measures: contrib/bench/README.md.
bench: build ## measure refship beside OpenSSH, git and etcd, as tables, and in bin/bench.json: some 40 minutes
	go run ./contrib/bench -json bin/bench.json

bench-quick: build ## the same with small repositories and few rounds: under two minutes
	go run ./contrib/bench -quick -json bin/bench-quick.json

# go test fuzzes one target of one package at a time, so they are asked for first. Without the bound on minimizing, most of a short run
# goes into making what was found smaller. What fails is kept below testdata/fuzz of its package, where make test runs it from then on.
fuzz: ## run each fuzz target for FUZZTIME, a minute; stop at the first that fails
	@set -e; packages=$$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); \
	for package in $$packages; do \
		listed=$$(go test -list '^Fuzz' $$package); \
		for target in $$(echo "$$listed" | grep '^Fuzz'); do \
			echo "fuzz: $$package $$target for $(FUZZTIME)"; \
			go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s $$package; \
		done; \
	done

# golangci-lint holds staticcheck, of the version in .ci/tools/go.mod, and gofmt: neither is run a second time. The build tag failpoint
# is for the kill test, and its file is not in the normal build.
lint: $(TOOLS)/golangci-lint ## check the code, formatting, the arrows between packages, and go.mod
	$(TOOLS)/golangci-lint config verify
	$(TOOLS)/golangci-lint run ./...
	go vet -tags=failpoint ./cmd/refship
	go mod tidy -diff

# Apart from lint and CI, because it needs https://vuln.go.dev. Its answer changes without a change here.
vuln: $(TOOLS)/govulncheck ## look for known vulnerabilities in what refship uses
	@$(TOOLS)/govulncheck ./... 2>.ci/bin/vuln.err && exit 0 || status=$$?; \
	cat .ci/bin/vuln.err >&2; \
	if grep -q '^govulncheck: fetching vulnerabilities' .ci/bin/vuln.err; then \
		echo 'vuln: the vulnerability database at https://vuln.go.dev cannot be reached: nothing was checked' >&2; \
	fi; exit $$status

$(TOOLS)/golangci-lint: .ci/tools/go.mod .ci/tools/go.sum
	@echo 'building golangci-lint, which takes some minutes the first time'
	CGO_ENABLED=0 go -C .ci/tools build -trimpath -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/govulncheck: .ci/tools/go.mod .ci/tools/go.sum
	CGO_ENABLED=0 go -C .ci/tools build -trimpath -o $(CURDIR)/$@ golang.org/x/vuln/cmd/govulncheck

# nfpm makes the packages, cyclonedx-gomod lists what is in them, packagelint looks at the Dockerfile and at .goreleaser.yaml. GOARCH is for what is packaged.
$(TOOLS)/nfpm: $(wildcard .ci/tools/packages/go.* .ci/tools/packages/*/*.go)
	mkdir -p $(TOOLS)
	GOARCH= CGO_ENABLED=0 go -C .ci/tools/packages build -trimpath -o $(CURDIR)/$(TOOLS)/ ./packagelint \
		github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod github.com/goreleaser/nfpm/v2/cmd/nfpm

clean: ## remove what was built
	rm -rf bin .ci/bin
