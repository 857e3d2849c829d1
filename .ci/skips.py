"""Fail when a test was skipped that `.ci/allowed_skips.txt` does not list, or none was run."""

import sys
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
REAL_FILE = HERE.parent.parent / "shared" / "data" / "finra"

cases = list(ElementTree.parse(sys.argv[1]).iter("testcase"))  # noqa: S314 - written by our pytest
skipped = {
    f"{case.get('classname')}::{case.get('name')}"
    for case in cases
    if case.find("skipped") is not None
}
lines = (HERE / "allowed_skips.txt").read_text().splitlines()
allowed = {line for line in lines if line and not line.startswith("#")}
if REAL_FILE.is_dir():
    allowed = {name for name in allowed if "real_file" not in name}

unexpected = sorted(skipped - allowed)
if unexpected:
    sys.exit("these tests were skipped and must not be:\n  " + "\n  ".join(unexpected))
print(f"{len(cases)} tests, {len(skipped)} skipped, all of those allowed")
if not cases:
    sys.exit("no test was run")
