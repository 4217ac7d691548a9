#!/usr/bin/env python3
"""Plays ACADA: writes DL0 files and their triggers into the storage tree of the on-site RSE.

usage: acada.py DIRECTORY --night YYYY-MM-DD [--observations 6] [--telescopes 3] [--seconds S] [--large MEGABYTES]
                [--obs-id N] [--clone]

DIRECTORY is ACADA's base, `<data path>/<vo>/<scope>`; the tree below it is `dl0/<telescope>/events/YYYY/MM/DD` and
`dl0/array/<subarray>/events/YYYY/MM/DD`. An observation gives three files per telescope (shower, muon, calibration) and
one of the subarray: 10 with three telescopes. --seconds spreads the observations over that time; --large adds one
observation of one telescope whose shower file has at least that size.

The writer is ACADA's own mock, ctao-acada-mock, when this Python has it. Otherwise, or with --clone, the files of
fixtures/dl0 are copied with fresh names, identifiers and checksums, and stderr says so.

Standard output: one JSON object per file, {"path", "bytes"}, as its trigger appears. Exit code 0: all were written.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import time
import uuid
from array import array
from datetime import datetime, timedelta, timezone
from pathlib import Path

from grow import grow

TELESCOPES = [(1, "LSTN-01"), (2, "LSTN-02"), (5, "MSTN-05"), (6, "MSTN-06")]
SUBARRAY = "ctao-north"
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures/dl0"
BYTES_PER_EVENT = 75_000  # of a full camera, compressed


OUTPUT = sys.stdout


def announce(path):
    print(json.dumps({"path": str(path), "bytes": os.path.getsize(path)}), file=OUTPUT, flush=True)


def keep_output_clean():
    """The mock's C++ part logs to standard output: send that to standard error, and keep the real one for us."""
    global OUTPUT
    OUTPUT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


# --- ACADA's mock -----------------------------------------------------------------------------------------------------
class Announced(list):
    """The mock's list of finished files: it appends to it right after it has made a trigger."""

    def append(self, path):
        super().append(path)
        announce(path)


def mock_observation(directory, start, obs_id, telescopes, events=100, pixels=256):
    """One observation block with about that many events per telescope."""
    from acada_mock.adh import ADHConfig, MockADH, Subarray, Telescope

    rate = 2000.0
    tile = min(20, events)  # small tiles: the mock compresses 200 kB × tile at once, whatever an event's size
    config = ADHConfig(
        base_path=directory, start_time=start, first_sb_id=obs_id, first_obs_id=obs_id, n_sb=1, n_ob_per_sb=1,
        ob_duration_s=events / rate, real_time=False, chunk_size_shower=10 * events, chunk_size_other=10 * events,
        rows_per_tile_shower=tile, rows_per_tile_other=tile, rows_per_tile_swat=tile,
        subarray=Subarray(
            name=SUBARRAY, mean_subarray_rate=rate,
            telescopes=[
                Telescope(id=number, name=name, n_streams=1, n_pixels=pixels, muon_rate=rate / 4, calibration_rate=rate / 8)
                for number, name in telescopes
            ],
        ),
    )
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), MockADH(config) as mock:  # no progress bar
        mock._finished_files = Announced()
        mock.run()
    return len(mock._finished_files)


# --- clones of the fixtures -------------------------------------------------------------------------------------------
BLOCK, CARD = 2880, 80


def ones_complement_sum(data):
    """The FITS checksum's sum: 32-bit big-endian words, carries added back in (FITS 4.0, appendix J)."""
    words = array("I", data)
    if sys.byteorder == "little":
        words.byteswap()
    total = sum(words)
    while total >> 32:
        total = (total >> 32) + (total & 0xFFFFFFFF)
    return total


def ascii_checksum(value):
    """A complement's 16-character form: no characters between the digits and letters (FITS 4.0, appendix J)."""
    columns = []
    for byte in value.to_bytes(4, "big"):
        parts = [byte // 4 + 48 + byte % 4] + [byte // 4 + 48] * 3
        while any(58 <= part <= 64 or 91 <= part <= 96 for part in parts):
            for i in (0, 2):
                if any(58 <= part <= 64 or 91 <= part <= 96 for part in parts[i : i + 2]):
                    parts[i] += 1
                    parts[i + 1] -= 1
        columns.append(parts)
    text = "".join(chr(columns[byte][part]) for part in range(4) for byte in range(4))
    return text[-1] + text[:-1]


class Hdu:
    """One header and its data, with cards that can be replaced."""

    def __init__(self, header, data):
        self.cards = [header[i : i + CARD].decode("ascii") for i in range(0, len(header), CARD)]
        self.data = data

    def find(self, keyword):
        return next((i for i, card in enumerate(self.cards) if card.startswith(f"{keyword:8}=")), None)

    def integer(self, keyword, default=0):
        index = self.find(keyword)
        return default if index is None else int(self.cards[index][10:].split("/")[0])

    def replace(self, keyword, value):
        """The new value in place of the old one; a keyword that is not there stays absent."""
        index = self.find(keyword)
        if index is not None:
            text = f"'{value:8}'" if isinstance(value, str) else f"{value:>20}"
            self.cards[index] = f"{keyword:8}= {text}".ljust(CARD)

    def seal(self):
        """Fresh DATASUM and CHECKSUM, where there were some."""
        if self.find("CHECKSUM") is None:
            return
        datasum = ones_complement_sum(self.data)
        self.replace("DATASUM", str(datasum))
        self.replace("CHECKSUM", "0" * 16)
        total = ones_complement_sum(self.header()) + datasum
        total = (total >> 32) + (total & 0xFFFFFFFF)
        self.replace("CHECKSUM", ascii_checksum(~total & 0xFFFFFFFF))

    def header(self):
        return "".join(self.cards).encode("ascii")


def read_hdus(content):
    hdus, position = [], 0
    while position < len(content):
        end = position
        while not re.search(rb"(?:^|[ ])END {77}", content[end : end + BLOCK]):
            end += BLOCK
        end += BLOCK
        hdu = Hdu(content[position:end], b"")
        axes = [hdu.integer(f"NAXIS{n + 1}") for n in range(hdu.integer("NAXIS"))]
        size = abs(hdu.integer("BITPIX")) // 8 * (hdu.integer("PCOUNT") + prod(axes)) if axes else 0
        size += -size % BLOCK
        hdu.data, position = content[end : end + size], end + size
        hdus.append(hdu)
    return hdus


def prod(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result


def clone(fixture, path, values, at_least=0, trigger=True):
    """A file like the fixture with other header values; the tiles of its last table are repeated to reach a size."""
    hdus = read_hdus(fixture.read_bytes())
    if at_least > fixture.stat().st_size:
        grow(hdus[-1], at_least)
    for hdu in hdus:
        for keyword, value in values.items():
            hdu.replace(keyword, value)
        hdu.seal()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as file:
        for hdu in hdus:
            file.write(hdu.header())
            file.write(hdu.data)
    if trigger:
        path.with_name(path.name + ".trigger").symlink_to(path.name)
        announce(path)


def cloned_observation(directory, start, obs_id, telescopes, large=0):
    evening = (start - timedelta(hours=12)).date()
    stamp = f"{start:%Y%m%dT%H%M%S}_SBID{obs_id:010d}_OBSID{obs_id:010d}"
    common = {"OBS_ID": obs_id, "SB_ID": obs_id, "OBSNIGHT": f"{evening}"}
    for stream, (number, name) in enumerate(telescopes):
        folder = directory / f"dl0/{name}/events/{evening:%Y/%m/%d}"
        for kind in ("MUON", "CAL", "SHOWER"):
            clone(
                fixture_of(f"TEL_{kind}"), folder / f"TEL{number:03d}_SDH{stream:03d}_{stamp}_TEL_{kind}_CHUNK000.fits.fz",
                {**common, "AE_ID": number, "DATASRC": f"SDH{stream:03d}", "DATAID": str(uuid.uuid4())},
                at_least=large if kind == "SHOWER" else 0)
    folder = directory / f"dl0/array/{SUBARRAY}/events/{evening:%Y/%m/%d}"
    clone(
        fixture_of("SUBARRAY"), folder / f"SUB001_SWAT001_{stamp}_SUBARRAY_CHUNK000.fits.fz",
        {**common, "DATAID": str(uuid.uuid4())})
    return 3 * len(telescopes) + 1


def fixture_of(kind):
    return next(FIXTURES.glob(f"*_{kind}_CHUNK000.fits.fz"))


# --- the night --------------------------------------------------------------------------------------------------------
def have_mock():
    try:
        import acada_mock  # noqa: F401
    except ImportError:
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description="plays ACADA: DL0 files and triggers")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--night", required=True, help="the evening, YYYY-MM-DD")
    parser.add_argument("--observations", type=int, default=6)
    parser.add_argument("--telescopes", type=int, default=3, choices=range(1, len(TELESCOPES) + 1))
    parser.add_argument("--seconds", type=float, default=0, help="time over which the observations are spread")
    parser.add_argument("--large", type=int, default=0, help="size of an additional large shower file, in MB")
    parser.add_argument("--obs-id", type=int, default=2_000_000_456, help="identifier of the first observation")
    parser.add_argument("--clone", action="store_true", help="clone the fixtures even where the mock is installed")
    options = parser.parse_args()

    keep_output_clean()
    mock = have_mock() and not options.clone
    if not mock:
        print("acada.py: ACADA's mock is not used (it needs Python >= 3.12); the files are clones of fixtures/dl0", file=sys.stderr)
    start = datetime.fromisoformat(options.night + "T20:00:00").replace(tzinfo=timezone.utc)
    telescopes = TELESCOPES[: options.telescopes]
    begun, expected, written = time.monotonic(), 0, 0
    total = options.observations + bool(options.large)
    for n in range(total):
        pause = begun + options.seconds * n / total - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        block = (options.directory, start + timedelta(minutes=20 * n), options.obs_id + n)
        if n == options.observations:  # the large one, at last
            size = options.large * 1_000_000
            expected += 4
            written += (
                mock_observation(*block, telescopes[:1], events=int(size / BYTES_PER_EVENT * 1.2), pixels=1855)
                if mock else cloned_observation(*block, telescopes[:1], large=size))
        else:
            expected += 3 * len(telescopes) + 1
            written += (mock_observation if mock else cloned_observation)(*block, telescopes)
    if written < expected:
        sys.exit(f"acada.py: only {written} of {expected} files were written")


if __name__ == "__main__":
    main()
