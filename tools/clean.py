"""The last check: the tree is as it was, and no installed Python was passed over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from repository import PYTHONS, interpreter


def tests_run(report: Path) -> int:
    """How many tests a JUnit report says have run; 0 without a report."""
    if not report.exists():
        return 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)


def problems(work_dir: Path) -> list[str]:
    """What is wrong, in sentences; prints what was found of each Python."""
    found = []
    for version in PYTHONS:
        count = tests_run(work_dir / f"py{version.replace('.', '')}" / "tmp" / "tests.xml")
        if count:
            print(f"Python {version}: {count} tests of the core ran")
        elif interpreter(version):
            found.append(f"Python {version} is installed, but the core's tests did not run on it")
        else:
            print(f"Python {version}: not installed here, so not tested")
    status = subprocess.check_output(["git", "status", "--porcelain"], text=True)
    if status:
        found.append(f"the tree is not as it was committed:\n{status}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(sys.argv[1]))) or 0)
