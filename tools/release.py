"""Release one package: bump its version, move its changelog's section, commit and tag.

python tools/release.py xtalk-tts-espeak first|major|minor|patch

`first` is for a package that was never released: it keeps the version that stands there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from repository import ROOT, packages, version

PARTS = ("major", "minor", "patch")
FIRST = "first"


class Refused(Exception):
    """Why nothing was released, as a sentence."""


def bumped(old: str, part: str) -> str:
    """The version after `old`: this part one higher, those after it 0; the same for `first`."""
    if part == FIRST:
        return old
    numbers = [int(number) for number in old.split(".")]
    place = PARTS.index(part)
    return ".".join(map(str, [*numbers[:place], numbers[place] + 1, *[0] * (2 - place)]))


def moved(changelog: str, new: str) -> str:
    """The changelog with what stood under "Unreleased" under the new version."""
    section = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    if section is None or not section[1].strip():
        raise Refused('CHANGELOG.md says nothing under "## Unreleased": write what is new there')
    return changelog.replace("## Unreleased\n", f"## Unreleased\n\n## {new}\n", 1)


def release(name: str, part: str, root: Path = ROOT) -> str:
    """Bump, commit and tag; the name of the tag. Raises Refused before anything is changed."""
    folder = packages(root).get(name)
    if folder is None:
        raise Refused(f"no package is called {name!r}; there are {', '.join(packages(root))}")
    if _git(root, "status", "--porcelain"):
        raise Refused("the tree has changes that are not committed: commit or drop them first")
    if bool(_git(root, "tag", "--list", f"{name}/v*")) == (part == FIRST):
        raise Refused(
            f"{name} has been released before: name the part of its version that changes"
            if part == FIRST
            else f'{name} was never released: call it "{FIRST}", and it keeps its version'
        )
    old = version(folder)
    new = bumped(old, part)
    pyproject, changelog = folder / "pyproject.toml", folder / "CHANGELOG.md"
    news = moved(changelog.read_text("utf-8"), new)
    text = pyproject.read_text("utf-8")
    pyproject.write_text(text.replace(f'version = "{old}"', f'version = "{new}"', 1), "utf-8")
    changelog.write_text(news, "utf-8")
    _git(root, "commit", "--quiet", "-m", f"Release {name} {new}", "--", str(folder))
    _git(root, "tag", "-a", f"{name}/v{new}", "-m", f"{name} {new}")
    return f"{name}/v{new}"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("part", choices=(FIRST, *PARTS))
    given = parser.parse_args()
    try:
        print(f"tagged {release(given.package, given.part)}; `git push --follow-tags` publishes it")
    except Refused as reason:
        sys.exit(str(reason))
