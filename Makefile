# The real stack for tests: PostgreSQL, Rucio, three XRootD storages, FTS stand-in, ACADA's mock (tests/testbed/README.md).
# TESTBED: its directory; tests find it by the same variable.
TESTBED ?= /var/tmp/dl0-testbed
export TESTBED

.PHONY: testbed-up testbed-check testbed-down testbed-wipe test-rucio35

testbed-up:                ## start it, installing what is missing (Debian 12, root)
	tests/testbed/up

testbed-check: testbed-up  ## one file through its whole life, without dl0-ingest
	tests/testbed/check.py

testbed-down:              ## stop it; everything is kept
	tests/testbed/down

testbed-wipe:              ## stop it and delete its data; downloads are kept
	tests/testbed/down --wipe

# The tests that need the real stack, against an older Rucio beside the usual one
test-rucio35: export TESTBED := $(TESTBED)-rucio35
test-rucio35:
	RUCIO_VERSION=35.8.2 BASE_PORT=17100 tests/testbed/up
	cargo nextest run --features testbed --test contract --test e2e; status=$$?; tests/testbed/down --wipe; exit $$status
