"""The pages that tick off what is shown name the tests that show it: each of them must exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from repository import ROOT

PAGES = ("checklist.md", "traps.md")
NAMED = re.compile(r"`([\w/.-]+\.py)::(\w+)`|`([\w/.-]+\.ts)::([^`]+)`")


def rows(page: str) -> list[list[str]]:
    """The cells of every row whose first is a box, or a number and a box."""
    lines = (ROOT / "docs" / page).read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return [row for row in cells if row[0] in ("[x]", "[ ]")]


def named(page: str) -> list[tuple[str, str]]:
    """The file and the name of every test that the page speaks of."""
    found = NAMED.findall((ROOT / "docs" / page).read_text("utf-8"))
    return [(python or script, name or title) for python, name, script, title in found]


def source(path: str) -> Path:
    """A path is one of the repository, or below core/tests."""
    return next((f for f in (ROOT / path, ROOT / "core" / "tests" / path) if f.exists()), ROOT)


def holds(file: Path, name: str) -> bool:
    """In Python a test is a function, in TypeScript it has a title."""
    text = file.read_text("utf-8")
    if file.suffix == ".ts":
        return f'test("{name}"' in text
    return re.search(rf"^ *(?:async )?(?:def|class) {name}\b", text, re.M) is not None


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    found = named(page)
    missing = [
        f"{path}::{name}"
        for path, name in found
        if not (file := source(path)).is_file() or not holds(file, name)
    ]
    assert found
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_a_box_is_ticked_by_a_test_and_open_for_a_reason(page: str) -> None:
    found = rows(page)
    assert len(found) > 30
    assert not [row for row in found if row[0] == "[x]" and not NAMED.search(row[-1])]
    assert not [row for row in found if row[0] == "[ ]" and len(row[-1]) < 10]
