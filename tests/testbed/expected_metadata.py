#!/usr/bin/env python3
"""What the reference implementation, ctao-bdms-clients, says of DL0 files: one JSON object per file and line.

usage: PYTHON expected_metadata.py FILE...     with the Python of endpoints.json

{"path", "valid": whether all FITS checksums hold, "metadata": the flat keys it would give to Rucio, or null}
"""

import json
import logging
import sys

from bdms.acada_ingestion import FITSVerificationError, verify_and_extract_metadata


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.ERROR)
    for path in sys.argv[1:]:
        try:
            valid, metadata = verify_and_extract_metadata(path)
        except FITSVerificationError:
            valid, metadata = False, {}
        if metadata.pop("missing_required_metadata", False):
            metadata = {}
        print(json.dumps({"path": path, "valid": valid, "metadata": metadata or None}, default=str))


if __name__ == "__main__":
    main()
