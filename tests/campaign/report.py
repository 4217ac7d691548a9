#!/usr/bin/env python3
"""Writes docs/reports/DATE-campaign.md from what the parts of a campaign have left in target/campaign/REVISION/.

    report.py [REVISION]        without one, that of the work tree
"""
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = {
    1: "what needs no real stack",
    2: "kills at random and the soak",
    3: "the real stack",
    4: "the real stack, with kills and wrong answers at random",
    5: "storms of triggers on the real stack",
}
# below this a test is not named for its length alone, in seconds
LONG = 60


def revision() -> str:
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def printed(case: ElementTree.Element) -> list[str]:
    """What a test has printed itself, without what the test harness says around it."""
    texts = [case.findtext("system-out") or "", case.findtext("system-err") or ""]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    harness = ("running 1 test", "test result:", "successes:", "failures:", "test ")
    return [line for line in lines if line and not line.startswith(harness)]


def outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "flaky" if case.find("flakyFailure") is not None else "green"


def main() -> None:
    which = sys.argv[1] if len(sys.argv) > 1 else revision()
    results = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "campaign" / which
    summary, long, troubled, figures, day = [], [], [], [], None
    for part, what in PARTS.items():
        done = [file for file in (results / f"part-{part}.{end}" for end in ("done", "failed")) if file.exists()]
        if not done:
            summary.append(f"| {part} | {what} | not run | | | |")
            continue
        moment, took = done[0].read_text().strip().split(", ")
        day = max(day or "", moment[:10])
        suites = ElementTree.parse(results / f"part-{part}.xml").getroot().iter("testsuite")
        cases = [(suite.get("name").split("::")[-1], case) for suite in suites for case in suite.iter("testcase")]
        ends = [outcome(case) for _, case in cases]
        minutes = f"{int(took.split()[0]) / 60:.0f} min"
        summary.append(f"| {part} | {what} | {len(cases)} | {ends.count('failed')} | {ends.count('flaky')} | {minutes} |")
        for (binary, case), end in zip(cases, ends):
            name, seconds = f"{binary} {case.get('name')}", float(case.get("time"))
            if end != "green":
                troubled.append(f"- `{name}`: {end}, after {seconds:.0f} s")
            if seconds >= LONG:
                long.append((seconds, f"| `{name}` | {seconds:.0f} s | {end} |"))
            if lines := printed(case):
                figures += [f"`{name}`", "", *(f"    {line}" for line in lines), ""]
    if day is None:
        sys.exit(f"no part of a campaign in {results}")
    text = [f"# Campaign of {day}", ""]
    text += [f"Revision `{which}`, {os.cpu_count()} cores, development profile; `make campaign`.", ""]
    text += ["| part | what | tests | failed | flaky | took |", "|---|---|---|---|---|---|", *summary, ""]
    text += ["Not green:" if troubled else "All that ran was green.", "", *troubled, *([""] if troubled else [])]
    text += [f"## Tests of {LONG} s and more", "", "| test | took | outcome |", "|---|---|---|"]
    text += [line for _, line in sorted(long, reverse=True)]
    text += ["", "## Figures that tests print", "", *figures]
    report = ROOT / "docs/reports" / f"{day}-campaign.md"
    report.parent.mkdir(exist_ok=True)
    report.write_text("\n".join(text).rstrip() + "\n")
    print(report)


main()
