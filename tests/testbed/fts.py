#!/usr/bin/env python3
"""A small FTS: the calls that Rucio's fts3 transfertool makes, real third-party copies (HTTP COPY), and faults on demand.

usage: fts.py --port PORT --state FILE --ca-file PEM [--workers 16]

A file is copied as FTS copies it: size and checksum of the source are checked, then the destination storage fetches the
bytes from the source storage itself, then size and checksum of the destination are checked; a bad copy is removed.
Jobs live in a SQLite file and go on after a restart.

GET /_faults shows the knobs, and how many transfers were made to fail (`failed`); POST /_faults sets those given (JSON); the counted ones run down to 0 by themselves:

  fail_next N        the next N transfers fail                 fail_percent P    P % of all fail (seed: the sequence)
  fail_match REGEX   those to a matching destination fail      offline [HOST:PORT]  this storage has no route
  corrupt_next N     N copies get other bytes before the check (FTS notices and fails the transfer)
  rot_next N         N copies get other bytes of the same size after the check (nobody notices)
  delay S            each takes S seconds longer               hang_next N       N transfers never end
  lose_next N        N jobs are accepted and forgotten         refuse_next N     N requests are answered 503
"""

import argparse
import http.client
import json
import os
import random
import re
import socket
import sqlite3
import ssl
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import PriorityQueue
from urllib.parse import parse_qs, urlsplit

FINAL = {"FINISHED", "FAILED", "CANCELED"}
IDENTITY = {"base_id": "01874efb-4735-4595-bc9c-591aef8240c9", "vos": ["ctao"], "user_dn": "testbed", "roles": [], "level": {}}
TIMEOUT = 60  # seconds for one answer of a storage


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


class TransferError(Exception):
    """A transfer went wrong; the text becomes the transfer's reason, as FTS words it."""


class Faults:
    """What to do wrong, and how often."""

    def __init__(self):
        self.lock = threading.Lock()
        self.random = random.Random(1)
        self.failed = 0
        self.settings = {
            "fail_next": 0, "fail_percent": 0, "seed": 1, "fail_match": "", "offline": [], "corrupt_next": 0,
            "rot_next": 0, "delay": 0, "hang_next": 0, "lose_next": 0, "refuse_next": 0,
        }

    def update(self, changes):
        unknown = changes.keys() - self.settings.keys()
        if unknown:
            raise ValueError(f"unknown fault {', '.join(sorted(unknown))}; known: {', '.join(self.settings)}")
        with self.lock:
            self.settings.update(changes)
            if "seed" in changes:
                self.random.seed(changes["seed"])

    def take(self, counter):
        """One of a counted fault, if any is left."""
        with self.lock:
            left = self.settings[counter] > 0
            self.settings[counter] -= left
        return left

    def before_transfer(self, source, destination):
        for end, url in (("SOURCE", source), ("DESTINATION", destination)):
            if urlsplit(url).netloc in self.settings["offline"]:
                raise TransferError(f"{end} [113] No route to host: {urlsplit(url).netloc} (injected)")
        time.sleep(self.settings["delay"])
        if self.take("hang_next"):
            threading.Event().wait()
        match = self.settings["fail_match"]
        with self.lock:
            unlucky = self.random.random() * 100 < self.settings["fail_percent"]
        if self.take("fail_next") or unlucky or (match and re.search(match, destination)):
            with self.lock:
                self.failed += 1
            raise TransferError("TRANSFER [70] Communication error on send (injected)")

    def shown(self):
        with self.lock:
            return {**self.settings, "failed": self.failed}


class Storages:
    """The storages over HTTPS; each thread has its own connections, and keeps them until it hangs up."""

    def __init__(self, ca_file):
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.local = threading.local()

    def request(self, method, url, headers=(), body=None):
        """(status, headers, text of the body)"""
        parts = urlsplit(url)
        path = re.sub("//+", "/", parts.path)
        kept = self.local.__dict__.setdefault("connections", {})
        for attempt in ("kept", "new"):
            connection = kept.pop(parts.netloc, None) if attempt == "kept" else self.connect(parts.netloc)
            if connection is None:
                continue
            try:
                connection.request(method, path, body, dict(headers))
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if attempt == "new":
                    raise TransferError(f"[HTTP] {method} {parts.netloc}: {error!r}") from error
                continue  # the storage had closed it, or was restarted
            if answer.will_close:
                connection.close()
            else:
                kept[parts.netloc] = connection
            return answer.status, answer.headers, text
        raise AssertionError("unreachable")

    def hang_up(self):
        for connection in self.local.__dict__.pop("connections", {}).values():
            connection.close()

    def connect(self, netloc):
        connection = http.client.HTTPSConnection(netloc, context=self.tls, timeout=TIMEOUT)
        try:
            connection.connect()
        except OSError as error:
            raise TransferError(f"[113] {netloc}: {error}") from error
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def examine(self, url, want_adler32):
        """(size, adler32 or None), or None when there is no such file."""
        status, headers, _ = self.request("HEAD", url, {"Want-Digest": "adler32"} if want_adler32 else {})
        if status == 404:
            return None
        if status != 200:
            raise TransferError(f"STAT HTTP {status}")
        algorithm, _, value = (headers.get("Digest") or "").partition("=")
        return int(headers["Content-Length"]), value.lower().rjust(8, "0") if algorithm.lower() == "adler32" else None

    def copy(self, source, destination):
        """Third-party copy: the destination fetches."""
        self.request("MKCOL", destination.rsplit("/", 1)[0] + "/")  # with all parents; complains when it exists
        status, _, text = self.request("COPY", destination, {
            "Source": re.sub("^davs", "https", source), "Credential": "none", "Overwrite": "T"})
        outcome = text.strip().rsplit("\n", 1)[-1]
        if status not in (200, 201, 202) or not outcome.startswith("success"):
            raise TransferError(f"TRANSFER HTTP {status} {outcome}")

    def overwrite(self, url, size):
        """Other bytes of the same size."""
        self.request("PUT", url, {"Content-Length": str(size)}, os.urandom(size))

    def delete(self, url):
        try:
            self.request("DELETE", url)
        except TransferError:
            pass


class Jobs:
    """The jobs, their queue, and the threads that work it off."""

    def __init__(self, state_file, storages, faults, workers):
        self.storages, self.faults = storages, faults
        self.lock = threading.RLock()
        self.queue, self.sequence = PriorityQueue(), iter(range(1 << 62))
        self.database = sqlite3.connect(state_file, check_same_thread=False, isolation_level=None)
        self.database.execute("pragma journal_mode = wal")
        self.database.execute("pragma synchronous = off")
        self.database.execute("create table if not exists jobs (id text primary key, job text)")
        self.jobs = {key: json.loads(job) for key, job in self.database.execute("select id, job from jobs")}
        self.active = set()  # destinations of transfers that have not ended
        for job in self.jobs.values():
            self.enqueue(job)
        for _ in range(workers):
            threading.Thread(target=self.work, daemon=True).start()

    def save(self, job):
        self.database.execute("insert or replace into jobs values (?, ?)", (job["job_id"], json.dumps(job)))

    def enqueue(self, job):
        for index, file in enumerate(job["files"]):
            if file["file_state"] not in FINAL:
                self.active.add(file["dest_surl"])
                self.queue.put((-(job["priority"] or 3), next(self.sequence), job["job_id"], index))

    def submit(self, request):
        parameters = request.get("params") or {}
        files = [{
            "file_state": "SUBMITTED", "sources": each["sources"], "source_surl": each["sources"][0],
            "dest_surl": each["destinations"][0], "file_metadata": each.get("metadata"), "filesize": each.get("filesize"),
            "checksum": each.get("checksum") or "", "reason": None, "start_time": None, "finish_time": None,
            "staging_start": None, "staging_finished": None,
        } for each in request["files"]]
        job = {
            "job_id": str(uuid.uuid4()), "job_state": "SUBMITTED", "job_type": "N", "params": parameters, "files": files,
            "job_metadata": parameters.get("job_metadata") or {}, "priority": parameters.get("priority", 3),
            "submit_time": now(), "job_finished": None, "reason": None, "vo_name": "ctao",
        }
        if self.faults.take("lose_next"):
            return 200, {"job_id": job["job_id"]}
        with self.lock:
            if self.active & {file["dest_surl"] for file in files}:
                return 409, {"status": "409 Conflict", "message": "a destination already has an active transfer"}
            self.jobs[job["job_id"]] = job
            self.save(job)
            self.enqueue(job)
        return 200, {"job_id": job["job_id"]}

    def view(self, job_id, fields=None):
        """(found, the job as the REST interface shows it)"""
        job = self.jobs.get(job_id)
        if job is None:
            return False, {"job_id": job_id, "http_status": "404 Not Found", "http_message": f'No job with the id "{job_id}" has been found'}
        shown = {key: value for key, value in job.items() if key not in ("files", "params")}
        if fields:
            shown["files"] = [{field: file.get(field) for field in fields} for file in job["files"]]
        return True, {**shown, "http_status": "200 Ok"}

    def end(self, job, file, state, reason=None):
        with self.lock:
            if file["file_state"] in FINAL:
                return
            file.update(file_state=state, reason=reason, finish_time=now())
            self.active.discard(file["dest_surl"])
            states = [each["file_state"] for each in job["files"]]
            if FINAL.issuperset(states):
                done = states.count("FINISHED")
                job["job_state"] = (
                    "CANCELED" if "CANCELED" in states
                    else "FINISHED" if done == len(states)
                    else "FINISHEDDIRTY" if done else "FAILED")
                job["job_finished"] = now()
            self.save(job)
        print(now(), state, file["source_surl"], "->", file["dest_surl"], reason or "", flush=True)

    def cancel(self, job_id):
        for file in self.jobs[job_id]["files"]:
            self.end(self.jobs[job_id], file, "CANCELED", "Job canceled by the user")

    def work(self):
        while True:
            _, _, job_id, index = self.queue.get()
            job = self.jobs[job_id]
            file = job["files"][index]
            with self.lock:
                if file["file_state"] in FINAL:
                    continue
                job["job_state"] = "ACTIVE"
                file.update(file_state="ACTIVE", start_time=file["start_time"] or now())
            reason = "no source"
            for source in file["sources"]:
                file["source_surl"] = source
                try:
                    self.transfer(job["params"], file, source)
                    reason = None
                    break
                except TransferError as error:
                    reason = str(error)
                except Exception as error:  # a defect of this program must not leave a transfer hanging
                    reason = f"GENERAL_FAILURE {error!r}"
            self.storages.hang_up()  # XRootD 5.5 does not bear idle connections well
            self.end(job, file, "FAILED" if reason else "FINISHED", reason)

    def transfer(self, parameters, file, source):
        destination, mode = file["dest_surl"], parameters.get("verify_checksum") or "none"
        algorithm, _, expected = file["checksum"].lower().partition(":")
        if algorithm not in ("", "adler32"):
            raise TransferError(f"CHECKSUM {algorithm} is not supported")
        expected = expected.rjust(8, "0") if expected and mode != "none" else None
        self.faults.before_transfer(source, destination)

        def check(end, url, sum_wanted):
            found = self.storages.examine(url, sum_wanted)
            if found is None:
                raise TransferError(f"{end} [2] No such file or directory")
            size, adler32 = found
            if size != file["filesize"]:
                raise TransferError(f"{end} file size mismatch ({size} != {file['filesize']})")
            if sum_wanted and adler32 != expected:
                raise TransferError(f"{end} CHECKSUM MISMATCH ADLER32 ({adler32} != {expected})")

        check("SOURCE", source, expected and mode in ("source", "both"))
        if not parameters.get("overwrite") and self.storages.examine(destination, False) is not None:
            raise TransferError("DESTINATION Destination file exists and overwrite is not enabled")
        try:
            self.storages.copy(source, destination)
            if self.faults.take("corrupt_next"):
                self.storages.overwrite(destination, file["filesize"])
            check("DESTINATION", destination, expected and mode in ("target", "both"))
        except TransferError:
            self.storages.delete(destination)
            raise
        if self.faults.take("rot_next"):
            self.storages.overwrite(destination, file["filesize"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    jobs: Jobs
    faults: Faults

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path = [part for part in parts.path.split("/") if part]
        if path != ["_faults"] and self.faults.take("refuse_next"):
            return self.answer(503, {"status": "503 Service Unavailable", "message": "injected"})
        match self.command, path:
            case "GET", ["_faults"]:
                return self.answer(200, self.faults.shown())
            case "POST", ["_faults"]:
                try:
                    self.faults.update(json.loads(body))
                except ValueError as error:
                    return self.answer(400, {"message": str(error)})
                return self.answer(200, self.faults.shown())
            case "GET", []:
                return self.answer(200, {"api": {"major": 3, "minor": 14, "patch": 2}})
            case "GET", ["whoami"]:
                return self.answer(200, IDENTITY)
            case "POST" | "PUT", ["jobs"]:
                return self.answer(*self.jobs.submit(json.loads(body)))
            case "GET", ["jobs", ids]:
                fields = parse_qs(parts.query).get("files", [""])[0]
                views = [self.jobs.view(each, fields.split(",") if fields else None) for each in ids.split(",")]
                documents, complete = [view for _, view in views], all(found for found, _ in views)
                if len(documents) == 1:
                    return self.answer(200 if complete else 404, documents[0])
                return self.answer(200 if complete else 207, documents)
            case "GET", ["jobs", job_id, "files"] if job_id in self.jobs.jobs:
                return self.answer(200, self.jobs.jobs[job_id]["files"])
            case "DELETE", ["jobs", job_id] if job_id in self.jobs.jobs:
                self.jobs.cancel(job_id)
                return self.answer(200, self.jobs.view(job_id)[1])
            case "POST", ["jobs", job_id] if job_id in self.jobs.jobs:  # change of priority: accepted
                return self.answer(200, self.jobs.view(job_id)[1])
            case "GET" | "POST", ["ban" | "config", *_]:
                return self.answer(200, {})
        return self.answer(404, {"status": "404 Not Found", "message": parts.path})

    do_GET = do_POST = do_PUT = do_DELETE = handle_request

    def log_request(self, code="-", size="-"):
        if int(code) >= 400:
            super().log_request(code, size)


def main():
    parser = argparse.ArgumentParser(description="a small FTS with real copies")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    Handler.faults = Faults()
    Handler.jobs = Jobs(options.state, Storages(options.ca_file), Handler.faults, options.workers)
    print(now(), "serving on port", options.port, file=sys.stderr, flush=True)
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
