#!/usr/bin/env python3
"""What became of the mutants of the newest revision that has any: counts, and each that no test has noticed."""

import json
import sys
from collections import Counter
from pathlib import Path

root = Path(__file__).resolve().parents[2] / "target" / "mutants"
revisions = [path for path in root.iterdir() if path.is_dir() and path.name != "tree"] if root.exists() else []
if not revisions:
    sys.exit("no mutants were made yet: make mutants")
revision = max(revisions, key=lambda path: path.stat().st_mtime)
outcomes = {}
parts = sorted(revision.iterdir())
for part in parts:
    for found in sorted(part.glob("mutants.out*/outcomes.json")):
        for outcome in json.loads(found.read_text())["outcomes"]:
            scenario = outcome["scenario"]
            if isinstance(scenario, dict):
                outcomes[scenario["Mutant"]["name"]] = outcome["summary"]
counts = Counter(outcomes.values())
done = sum((part / "done").exists() for part in parts)
print(f"revision {revision.name}: {done} parts done, {len(outcomes)} mutants")
for summary, count in counts.most_common():
    print(f"  {summary}: {count}")
for name, summary in sorted(outcomes.items()):
    if summary in ("MissedMutant", "Timeout"):
        print(f"{summary}: {name}")
