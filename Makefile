# dl0-ingest: what a developer and CI run. `make help` lists it.

# The real stack for tests: PostgreSQL, Rucio, three XRootD storages, FTS stand-in, ACADA's mock (tests/testbed/README.md).
# TESTBED: its directory; tests find it by the same variable.
TESTBED ?= /var/tmp/dl0-testbed
export TESTBED

NEXTEST_VERSION = 0.9.143
FUZZ_VERSION = 0.13.2
DENY_VERSION = 0.20.2
MUTANTS_VERSION = 27.1.0

# Cargo features of everything that is built but packages, which have cfitsio. With cfitsio the tests of `verify --cross-check`
# run too; it is C that is compiled once more in every new target directory.
FEATURES ?=
WITH_FEATURES = --workspace --features '$(FEATURES)'

# Every test there is. `tests/adversity.rs` needs root, `tests/real_stack.rs` and the like the real stack: a plain
# `cargo nextest run` has none of them.
EVERYTHING = $(WITH_FEATURES) --lib --bins --test '*'

.PHONY: help demo glibc release test test-quick test-binaries campaign campaign-report mutants soak check licences advisories \
  bench bench-road audit-memory fuzz nextest testbed-up testbed-check testbed-down testbed-wipe test-rucio35

help:                      ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo:                      ## the whole road in one process, with a Rucio in miniature
	cargo run --features '$(FEATURES)' -- demo

# The development build stands for the release, which CI has no time for: it is not optimised, so it has every call that is
# written down. `make release` looks at the program itself.
glibc:                     ## does what is built here start on AlmaLinux 9?
	cargo build --features '$(FEATURES)' --bin dl0-ingest
	.ci/glibc $(TARGET)/debug/dl0-ingest
TARGET = $(or $(CARGO_TARGET_DIR),target)

# Stripped, with the symbols beside it, where debuggers and backtraces find them. No release build can be made to die.
release:                   ## the program for packages, in target/release: CFITSIO in it, symbols in dl0-ingest.debug
	cargo build --release --locked --no-default-features --features cfitsio --bin dl0-ingest
	@! grep -q DL0_INGEST_CRASH_AT $(RELEASE) || { echo '$(RELEASE) has crash points' >&2; exit 1; }
	objcopy --only-keep-debug $(RELEASE) $(RELEASE).debug
	objcopy --strip-all --add-gnu-debuglink=$(RELEASE).debug $(RELEASE) $(RELEASE).stripped
	mv $(RELEASE).stripped $(RELEASE)
	.ci/glibc $(RELEASE)
	@ls -l $(RELEASE) $(RELEASE).debug
RELEASE = $(TARGET)/release/dl0-ingest

check:                     ## format, lints, documentation
	cargo fmt --all --check
	tests/one-build
	cargo clippy $(WITH_FEATURES) --all-targets -- -D warnings
	cargo clippy $(WITH_FEATURES) --test '*' --bench '*' -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc $(WITH_FEATURES) --no-deps --document-private-items --quiet

licences:                  ## licences, sources and banned crates of the dependencies (deny.toml)
	@$(DENY) --version >/dev/null 2>&1 || .ci/cargo-deny $(DENY_VERSION)
	$(DENY) check licenses bans sources
DENY = PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny

advisories:                ## known weaknesses of the dependencies; needs the network (RustSec's database)
	@$(DENY) --version >/dev/null 2>&1 || .ci/cargo-deny $(DENY_VERSION)
	$(DENY) check advisories

# the stack is installed and started while the compiler works
test: nextest              ## all but the longest, the real stack included (Debian 12, as root)
	@$(MAKE) --no-print-directory -j2 testbed-up test-binaries
	cargo nextest run $(EVERYTHING); status=$$?; tests/testbed/down; exit $$status

test-quick: nextest        ## what needs no real stack, no rights and little time
	cargo nextest run $(WITH_FEATURES)

test-binaries: nextest
	cargo nextest run $(EVERYTHING) --no-run

# How long the daemon is killed at random in a campaign, in seconds
CAMPAIGN_KILLS ?= 600

# How long files come while Rucio answers badly at random, in seconds: once on the real stack, once on the embedded Rucio
CAMPAIGN_FAULTS ?= 180

# How long the soak of a campaign takes, in seconds
CAMPAIGN_SOAK ?= 1800

# Triggers of a storm that goes its road to the end, on the embedded Rucio
CAMPAIGN_STORM ?= 20000

# Triggers of a storm on the real stack, which copies three to five files a second
CAMPAIGN_REAL_STORM ?= 300

# Triggers of a storm on the real stack that is taken in and registered, and not copied
CAMPAIGN_BACKLOG ?= 50000

# How long the daemon is suspended on the real stack, in seconds
CAMPAIGN_PAUSE ?= 180

AT_FULL_LENGTH = DL0_INGEST_CRASH_SECONDS=$(CAMPAIGN_KILLS) DL0_INGEST_CRASH_POINTS=all DL0_INGEST_FAULT_SECONDS=$(CAMPAIGN_FAULTS) \
  DL0_INGEST_STORM=$(CAMPAIGN_STORM) DL0_INGEST_REAL_STORM=$(CAMPAIGN_REAL_STORM) \
  DL0_INGEST_REAL_BACKLOG=$(CAMPAIGN_BACKLOG) DL0_INGEST_PAUSE_SECONDS=$(CAMPAIGN_PAUSE) \
  DL0_INGEST_SOAK_SECONDS=$(CAMPAIGN_SOAK) DL0_INGEST_MODEL=deep

# The parts of a campaign, each of an hour at most; .config/nextest.toml says which tests they have.
PARTS = 1 2 3 4 5

# A part that is done is not done again for the same revision: a campaign that was broken off goes on where it was.
campaign: nextest          ## every test at its full length, in five parts; `make campaign-3` is one of them. As root
	@for part in $(PARTS); do $(MAKE) --no-print-directory campaign-$$part || exit; done
	@$(MAKE) --no-print-directory campaign-report

.PHONY: $(PARTS:%=campaign-%)
$(PARTS:%=campaign-%): campaign-%: nextest
	@tests/campaign/part $* $(AT_FULL_LENGTH) -- $(EVERYTHING)

campaign-report:           ## what the parts of a campaign have found, as docs/reports/<date>-campaign.md
	tests/campaign/report.py

# The parts of the mutants, each of an hour at most
MUTANT_PARTS ?= 24

# One change each to the code that gives files up; the tests must notice it. `make mutants-3` is one part; all of them take a day.
mutants: nextest           ## mutants of the release path, in parts; then what no test has noticed
	@cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants --version $(MUTANTS_VERSION)
	@for part in $$(seq $(MUTANT_PARTS)); do tests/mutants/run $$part $(MUTANT_PARTS) || exit; done
	@tests/mutants/report.py

mutants-%: nextest
	@cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants --version $(MUTANTS_VERSION)
	@tests/mutants/run $* $(MUTANT_PARTS)

# How long the soak takes
MINUTES ?= 30

soak: nextest              ## a steady stream of files for MINUTES, with random faults and kills; memory must stay flat
	DL0_INGEST_SOAK_SECONDS=$$(( $(MINUTES) * 60 )) cargo nextest run --profile campaign --test adversity crash::soak --no-capture

bench:                     ## `verify` beside its alternatives, which are installed (Debian 12, root), and its own parts
	cargo build --release
	benches/alternatives/install target/alternatives
	benches/alternatives/compare.py target/release/dl0-ingest target/alternatives/bin/python target/bench-files
	cargo bench --bench fixity

bench-road: testbed-up     ## the daemon on the real stack: registration, latency, idle scans, second copies
	cargo bench --bench road

# Files of the audit that is measured, and how many of them lie in one directory
FILES ?= 100000
DIRECTORY ?= 1000

audit-memory: nextest      ## peak memory and time of an audit of FILES files, DIRECTORY of them in each directory
	DL0_INGEST_AUDIT_FILES=$(FILES) DL0_INGEST_AUDIT_DIRECTORY=$(DIRECTORY) \
	  cargo nextest run --profile campaign --test behaviour cli::audit_memory --no-capture

# How long each target is fuzzed, in seconds
FUZZ_SECONDS ?= 1200
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz:                      ## fuzz each target for FUZZ_SECONDS, seeded with the fixtures (needs a C++ compiler)
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz --version $(FUZZ_VERSION)
	@set -e; for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/corpus/$$target; cp fixtures/dl0/*.fits* fuzz/corpus/$$target/; \
	  cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -print_final_stats=1; \
	done

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version $(NEXTEST_VERSION)

testbed-up:                ## start the real stack, installing what is missing (Debian 12, root)
	tests/testbed/up

testbed-check: testbed-up  ## one file through its whole life, without dl0-ingest
	tests/testbed/check.py

testbed-down:              ## stop it; everything is kept
	tests/testbed/down

testbed-wipe:              ## stop it and delete its data; downloads are kept
	tests/testbed/down --wipe

# The tests that need the real stack, against an older Rucio beside the usual one
test-rucio35: export TESTBED := $(TESTBED)-rucio35
test-rucio35: nextest      ## contract and end-to-end tests against Rucio 35.8
	RUCIO_VERSION=35.8.2 BASE_PORT=17100 tests/testbed/up
	cargo nextest run --workspace --test '*contract*' --test real_stack -E 'not test(/^references::/)'; status=$$?; tests/testbed/down --wipe; exit $$status
