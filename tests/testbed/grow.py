"""Makes a ZFITS table larger by repeating its first tile, so that every byte of the heap still belongs to a block."""

import struct

ENTRY = 16  # of the catalog: size and offset of a block, 64 bits each, big-endian
TILE_HEADER = struct.Struct("<4sIQ")  # "TILE", rows, bytes of the blocks


def grow(hdu, at_least):
    """Repeats the first tile of the table until its data have at least that many bytes. The checksums are then stale."""
    tiles, fields, heap = (hdu.integer(keyword) for keyword in ("NAXIS2", "TFIELDS", "ZHEAPPTR"))
    catalog = [struct.unpack_from(">qq", hdu.data, ENTRY * n) for n in range(tiles * fields)]
    _, rows, size = TILE_HEADER.unpack_from(hdu.data, heap)
    end = hdu.integer("NAXIS1") * tiles + hdu.integer("PCOUNT")
    tile = hdu.data[heap : heap + TILE_HEADER.size + size]
    copies = max(1, (at_least - len(hdu.data)) // (len(tile) + ENTRY * fields) + 1)

    def moved(entries, by):
        return b"".join(struct.pack(">qq", size, offset + by if size else 0) for size, offset in entries)

    first, others = catalog[:fields], catalog[fields:]
    entries = [moved(first, n * len(tile)) for n in range(copies + 1)] + [moved(others, copies * len(tile))]
    content = b"".join([*entries, tile * copies, hdu.data[heap:end]])
    hdu.data = content + bytes(-len(content) % 2880)
    tiles += copies
    hdu.replace("NAXIS2", tiles)
    hdu.replace("ZNAXIS2", hdu.integer("ZNAXIS2") + copies * rows)
    # a catalog without spare rows: the heap follows it at once
    hdu.replace("THEAP", tiles * hdu.integer("NAXIS1"))
    hdu.replace("ZHEAPPTR", tiles * fields * ENTRY)
    hdu.replace("PCOUNT", len(content) - tiles * fields * ENTRY)
