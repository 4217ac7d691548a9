#!/usr/bin/env python3
"""Does the testbed work? Takes one file through its whole life with Rucio's REST calls alone, without dl0-ingest.

usage: check.py [TESTBED]     exit code 0: every step happened, within its time
"""

import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid
import zlib
from pathlib import Path

TESTBED = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TESTBED", "/var/tmp/dl0-testbed"))
FIXTURE = next((Path(__file__).resolve().parents[2] / "fixtures/dl0").glob("*_TEL_CAL_*.fits.fz"))
STARTED = time.monotonic()

ENDPOINTS = json.loads((TESTBED / "endpoints.json").read_text())
ONSITE = next(name for name, rse in ENDPOINTS["rses"].items() if rse["onsite"])
TLS = ssl.create_default_context(cafile=ENDPOINTS["ca_file"])
WEB = urllib.request.build_opener(urllib.request.HTTPSHandler(context=TLS), urllib.request.ProxyHandler({}))
LOGIN = {"X-Rucio-Account": "ingest", "X-Rucio-Username": "ingest", "X-Rucio-Password": ENDPOINTS["accounts"]["ingest"]}


def web(method, url, headers, body=None):
    """(headers, content) of a successful answer."""
    try:
        with WEB.open(urllib.request.Request(url, body, headers, method=method), timeout=60) as answer:
            return answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"FAILED: {method} {url}: {error.code} {error.read().decode()}")


def call(method, path, body):
    """The lines of Rucio's answer; a mere "Created" has none."""
    headers = {"X-Rucio-Auth-Token": TOKEN, "Content-Type": "application/json"}
    _, content = web(method, ENDPOINTS["rucio_url"] + path, headers, json.dumps(body).encode())
    return [json.loads(line) for line in content.splitlines() if line[:1] in (b"{", b"[")]


def say(*words):
    print(f"{time.monotonic() - STARTED:6.2f} s ", *words, flush=True)


def wait(what, condition, seconds=60):
    until = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > until:
            sys.exit(f"FAILED: {what}: not within {seconds} s")
        time.sleep(0.2)
    say(what)
    return result


TOKEN = web("GET", ENDPOINTS["rucio_url"] + "/auth/userpass", LOGIN)[0]["X-Rucio-Auth-Token"]
dataset = f"/ctao/test/check/{uuid.uuid4().hex}"
lfn = f"{dataset}/{FIXTURE.name}"
file = Path(ENDPOINTS["rses"][ONSITE]["directory"] + lfn)
file.parent.mkdir(parents=True)
shutil.copyfile(FIXTURE, file)
content = FIXTURE.read_bytes()
adler32 = f"{zlib.adler32(content):08x}"
did = {"scope": "test", "name": lfn}


def replicas():
    lines = call("POST", "/replicas/list", {"dids": [did], "all_states": True})
    return lines[0]["states"] if lines else {}


def copies():
    return sorted(rse for rse, state in replicas().items() if state == "AVAILABLE" and rse != ONSITE)


def rule(name, expression, source=None):
    body = {"dids": [{"scope": "test", "name": name}], "account": "ingest", "copies": 1, "rse_expression": expression,
            "source_replica_expression": source, "grouping": "DATASET", "lifetime": None}
    return call("POST", "/rules/", body)[0][0]


call("POST", "/dids", [{"scope": "test", "name": dataset, "type": "DATASET"}])
call("POST", "/dids/attachments", {"ignore_duplicate": True, "attachments": [{
    "scope": "test", "name": dataset, "rse": ONSITE, "dids": [{**did, "bytes": len(content), "adler32": adler32}]}]})
keep = rule(lfn, ONSITE)
rule(dataset, "OFFSITE")
say("registered", lfn)
first, = wait("first copy", copies)
rule(lfn, f"OFFSITE\\{first}", source=first)
wait("second copy", lambda: len(copies()) == 2)
for rse in copies():
    url = "https" + ENDPOINTS["rses"][rse]["davs_url"].removeprefix("davs") + lfn.lstrip("/")
    head, _ = web("HEAD", url, {"Want-Digest": "adler32"})
    if head["Digest"] != f"adler32={adler32}" or web("GET", url, {})[1] != content:
        sys.exit(f"FAILED: {rse} does not hold the file's bytes")
    say(rse, "holds the file's bytes")
call("PUT", f"/rules/{keep}", {"options": {"lifetime": 0, "purge_replicas": True}})
wait("on-site file deleted", lambda: not file.exists())
wait("on-site replica gone", lambda: ONSITE not in replicas())
if len(copies()) != 2:
    sys.exit(f"FAILED: replicas left: {replicas()}")
say("passed")
