"""A Python contender: does its work on each file and prints the seconds, without the time of its imports.

usage: in_python.py incumbent|astropy|protozfits FILE...
"""

import contextlib
import logging
import os
import sys
import time

logging.disable(logging.CRITICAL)


def incumbent():
    """All local work of ctao-bdms-clients on a file: checksums and metadata, then adler32 in a read of its own."""
    from bdms.acada_ingestion import adler32, verify_and_extract_metadata

    def work(path):
        verify_and_extract_metadata(path)
        adler32(path)

    return work


def astropy():
    """CHECKSUM and DATASUM of every HDU."""
    from astropy.io import fits

    def work(path):
        with fits.open(path) as hdus:
            for hdu in hdus:
                hdu.verify_checksum()

    return work


def protozfits():
    """Every row of the event table, decoded."""
    from protozfits import File

    def work(path):
        with File(path) as file:
            for _ in file.Events:
                pass

    return work


def main():
    name, *files = sys.argv[1:]
    seconds = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they please
    work = {"incumbent": incumbent, "astropy": astropy, "protozfits": protozfits}[name]()
    begin = time.perf_counter()
    for path in files:
        with contextlib.suppress(NotImplementedError):
            work(path)
    print(time.perf_counter() - begin, file=seconds)


if __name__ == "__main__":
    main()
