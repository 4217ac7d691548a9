#!/usr/bin/env python3
"""`dl0-ingest verify` beside what an operator could use instead, as whole processes, on the same files, by turns.

usage: compare.py PROGRAM PYTHON DIRECTORY [--rounds 5] [--large MEGABYTES] [--only NAME...]

PROGRAM is the built dl0-ingest, PYTHON an interpreter that has the incumbent, DIRECTORY a place on a real disk for some
1.3 GB of files, which are made when missing. Warm: the files are in the page cache. Cold: they are dropped from it before
each run (the disk's own cache remains). Times are those of the whole process; the Python contenders leave their imports
out, dl0-ingest leaves nothing out. A peak memory below that of this process (some 20 MB) is shown as this process's.
Medians and ranges; nothing is asserted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/testbed"))
from acada import clone, fixture_of  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
XROOTD_SUM = "user.XrdCks.adler32"  # where xrdadler32 remembers what it once computed


def inputs(directory, large):
    """Name and files of each input."""
    sets = {
        f"{large} MB shower file": [("large.fits.fz", large * 1_000_000)],
        "10 MB shower file": [("medium.fits.fz", 10_000_000)],
        "100 kB shower file": [("small.fits.fz", 100_000)],
        "2,000 files of 58 kB": [(f"night/{n // 100:02}/muon-{n:04}.fits.fz", 0) for n in range(2000)],
    }
    for name, files in sets.items():
        paths = [directory / path for path, _ in files]
        for path, (_, size) in zip(paths, files):
            if not path.exists():
                fixture = fixture_of("TEL_SHOWER" if size else "TEL_MUON")
                clone(fixture, path, {"DATAID": str(uuid.uuid4())}, at_least=size, trigger=False)
        yield name, paths


def contenders(program, python):
    """Name, number of cores, and the command for some files. None: not for many files at once."""
    def verify(depth, *more):
        return lambda files: [program, "verify", "--depth", depth, "--summary", *more, *files]

    def in_python(name):
        return lambda files: [python, HERE / "in_python.py", name, *files]

    yield "cat", 1, lambda files: ["cat", *files]
    yield "b3sum", 1, lambda files: ["b3sum", "--num-threads", "1", *files]
    yield "xrdadler32", 1, lambda files: ["xrdadler32", *files] if len(files) == 1 else None
    yield "fitsverify", 1, lambda files: ["fitsverify", "-q", *files]
    yield "astropy: FITS sums", 1, in_python("astropy")
    yield "incumbent: all local work", 1, in_python("incumbent")
    yield "dl0-ingest --depth checksums", 1, verify("checksums")
    yield "dl0-ingest --depth structure", 1, verify("structure")
    yield "dl0-ingest --depth structure", 2, verify("structure")
    yield "protozfits: all events", 1, in_python("protozfits")
    yield "dl0-ingest --depth decode", 1, verify("decode")
    yield "dl0-ingest --depth decode", 2, verify("decode")


def drop_from_cache(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def run(command, cores, files, cold):
    """Seconds, and the peak resident memory in bytes."""
    for path in files:
        if XROOTD_SUM in os.listxattr(path):
            os.removexattr(path, XROOTD_SUM)
        if cold:
            drop_from_cache(path)
    pin = ["taskset", "-c", ",".join(map(str, CORES[:cores]))]
    own_clock = "in_python.py" in str(command[1])
    output = subprocess.PIPE if own_clock else subprocess.DEVNULL
    begin = time.perf_counter()
    process = subprocess.Popen(pin + [str(part) for part in command], stdout=output, stderr=subprocess.DEVNULL)
    printed = process.stdout.read() if own_clock else None
    _, _, usage = os.wait4(process.pid, 0)
    seconds = float(printed) if own_clock else time.perf_counter() - begin
    return seconds, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description="dl0-ingest verify beside its alternatives")
    parser.add_argument("program", type=Path)
    parser.add_argument("python", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1000, help="size of the large file in MB")
    parser.add_argument("--only", nargs="+", help="contenders whose name contains one of these")
    options = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[:3]
    print(f"{len(CORES)} cores, load averages {' '.join(load)}; {options.rounds} rounds by turns")
    for name, files in inputs(options.directory, options.large):
        total = sum(path.stat().st_size for path in files)
        for cold in (False, True):
            print(f"\n{name}, {'cold' if cold else 'warm'} cache")
            print(f"{'':32}{'cores':>6}{'median':>11}{'range':>22}{'GB/s':>8}{'peak memory':>13}")
            measured = {}
            for _ in range(options.rounds):
                for title, cores, command in contenders(options.program, options.python):
                    wanted = not options.only or any(part in title for part in options.only)
                    made = command(files)
                    if wanted and made and cores <= len(CORES):
                        measured.setdefault((title, cores), []).append(run(made, cores, files, cold))
            for (title, cores), runs in measured.items():
                times = [seconds for seconds, _ in runs]
                median = statistics.median(times)
                span = f"{1e3 * min(times):.1f}–{1e3 * max(times):.1f} ms"
                peak = f"{max(peak for _, peak in runs) / 1e6:.0f} MB"
                print(f"{title:32}{cores:>6}{1e3 * median:>8.1f} ms{span:>22}{total / median / 1e9:>8.2f}{peak:>13}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
