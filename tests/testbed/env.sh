# shellcheck shell=bash disable=SC2034,SC2154
# Settings of the testbed, sourced by up, down and ctl.
#
# Give them in the environment of `up`; it keeps them in $TESTBED/settings.env, so that later only TESTBED must match.
# The environment still comes first.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

TESTBED=$(realpath -m "${TESTBED:-/var/tmp/dl0-testbed}")   # the users postgres and xrootd must be able to enter it
if [ -f "$TESTBED/settings.env" ]; then . "$TESTBED/settings.env"; fi

: "${TESTBED_CACHE:=$repository/target/testbed-cache}"      # downloads and virtual environments, shared by all testbeds
: "${RUCIO_VERSION:=41.5.1}"
: "${BASE_PORT:=17000}"             # every port is this plus a fixed offset; one testbed uses BASE_PORT .. BASE_PORT+99
: "${REPAIRER_REST:=10}"            # seconds a STUCK rule rests before judge-repairer takes it up (production: 1800)
: "${WORKERS:=4}"                   # processes of the HTTPS server; the plain HTTP one has a single process
: "${SCOPES:=acada acada-mock test}"                        # scopes owned by account ingest
TESTBED_CACHE=$(realpath -m "$TESTBED_CACHE")

pg_port=$((BASE_PORT + 32)) http_port=$((BASE_PORT + 80)) https_port=$((BASE_PORT + 43)) fts_port=$((BASE_PORT + 46))
cache_port=$((BASE_PORT + 11))
storage_port() { echo $((BASE_PORT + 90 + $1)); }           # 1, 2, 3

etc=$TESTBED/etc run=$TESTBED/run log=$TESTBED/log tls=$TESTBED/tls pgdata=$TESTBED/postgresql
pgbin=/usr/lib/postgresql/15/bin
rucio_venv=$TESTBED_CACHE/rucio-$RUCIO_VERSION
mock_venv=$TESTBED_CACHE/acada

# Rucio's daemons and their options. Sleeps are short: the defaults are 30 to 600 s.
declare -A daemons=(
  [judge-evaluator]="--sleep-time 1"                  # lets rules follow growing datasets
  [judge-cleaner]="--sleep-time 1"                    # ends expired rules
  [judge-repairer]="--sleep-time 2"                   # retries STUCK rules
  [conveyor-submitter]="--sleep-time 1"               # transfer requests to FTS
  [conveyor-poller]="--sleep-time 1 --older-than 0"   # asks FTS how they went
  [conveyor-finisher]="--sleep-time 1"                # replica AVAILABLE, lock OK
  [reaper]="--sleep-time 2 --delay-seconds 10"        # deletes; with --sleep-time 1 it crashes in each cycle
  [undertaker]="--sleep-time 5"                       # removes expired DIDs
  [abacus-rse]="--sleep-time 3"                       # counters: used space per RSE …
  [abacus-account]="--sleep-time 3"                   # … and per account, which limits are checked against
)
services=(pg cache xrd1 xrd2 xrd3 fts rest rest-http "${!daemons[@]}")        # in the order of their start
