#!/usr/bin/env python3
"""Columns of DL0 files as protozfits, ACADA's own library, reads and writes them.

usage: PYTHON columns.py read FILE...      with the Python of endpoints.json
       PYTHON columns.py write DIRECTORY

read: one JSON object per column and line, {"path", "table", "column", "rows", "md5"}; the digest is over all rows, each
as the length of its bytes (u32, little-endian) and its bytes, numbers little-endian.
write: files in every compression that is decoded by us, with rows of different lengths, extreme values, and columns of one
value only. One path per line.
"""

import hashlib
import json
import os
import struct
import sys
from pathlib import Path

COMPRESSIONS = ["raw", "zstd5", "diffman16", "fact"]
FORMATS = {"L": "B", "B": "B", "A": "B", "I": "H", "J": "I", "K": "Q", "E": "f", "D": "d"}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("read", "write"):
        sys.exit(__doc__)
    # the library writes to the standard output, which is ours
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    {"read": read, "write": write}[sys.argv[1]](sys.argv[2:], output)


def read(paths, output):
    from protozfits import File

    for path in paths:
        with File(path, pure_protobuf=True) as file:
            tables = [(name, table) for name, table in vars(file).items() if not name.startswith("_")]
            for name, table in tables:
                rows = [table[row] for row in range(len(table))]
                for field in range(1, table.header["TFIELDS"] + 1):
                    column, form = table.header[f"TTYPE{field}"], table.header[f"ZFORM{field}"]
                    digest = hashlib.md5()
                    for row in rows:
                        value = as_bytes(row, column, form[-1])
                        digest.update(struct.pack("<I", len(value)) + value)
                    print(json.dumps({"path": path, "table": name, "column": column, "rows": len(rows),
                                      "md5": digest.hexdigest()}), file=output)


def as_bytes(message, column, letter):
    value = message
    for name in column.split("."):
        value = getattr(value, name)
    if hasattr(value, "data"):
        return value.data
    if isinstance(value, str):
        return value.encode()
    if letter in "ED":
        return struct.pack("<" + FORMATS[letter], value)
    size = struct.calcsize("<" + FORMATS[letter])
    return (int(value) % (1 << 8 * size)).to_bytes(size, "little")


def write(arguments, output):
    import numpy as np
    from protozfits import FlatProtobufZOFits
    from protozfits.anyarray import numpy_to_any_array
    from protozfits.DL0v1_Telescope_pb2 import Event

    random = np.random.default_rng(20260101)
    for compression in COMPRESSIONS:
        path = Path(arguments[0]) / f"{compression}.fits.fz"
        writer = FlatProtobufZOFits(
            n_tiles=10, rows_per_tile=7, compression_block_size_kb=4000, default_compression=compression)
        writer.open(str(path))
        writer.move_to_new_table("Events")
        for row in range(25):
            event = Event(event_id=1000 * row, tel_id=0, event_type=1, event_time_s=2**31 + row)
            pixels = [1, 7, 30, 0, 64][row % 5]
            values = random.integers(0, 65536, pixels * 36) if row % 11 == 0 else random.normal(300, 40, pixels * 36)
            event.pixel_status.CopyFrom(numpy_to_any_array(random.integers(0, 9, 64).astype("u1")))
            event.waveform.CopyFrom(numpy_to_any_array(values.astype("u2")))
            event.pixel_time_shift.CopyFrom(numpy_to_any_array(random.normal(0, 3, pixels).astype("i2")))
            event.first_cell_id.CopyFrom(numpy_to_any_array(np.full(1, row % 3, "u2")))
            writer.write_message(event)
        writer.close()
        print(path, file=output)


if __name__ == "__main__":
    main()
