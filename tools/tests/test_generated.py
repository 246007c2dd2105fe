"""What is generated is what the generator makes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from generate import pages
from repository import ROOT

PAGES = pages()


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == PAGES[path], "write it anew: nox -s docs"


def test_the_table_of_models_is_in_both_pages() -> None:
    for name in ("README.md", "docs/models.md"):
        assert "| `Espeak` |" in PAGES[ROOT / name], f"{name} has no table between its marks"


def test_the_layers_of_the_documentation_are_those_that_are_tested() -> None:
    source = (ROOT / "core" / "tests" / "layers" / "test_layers.py").read_text("utf-8")
    tested = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    shown = re.findall(r"^\| \d \| (`.*`) \|$", page, re.MULTILINE)
    # The two packages themselves only show what lies in them.
    assert [row.replace("`", "").split() for row in shown] == [
        [name for name in row.split() if name not in ("wire", "xtalk")] for row in tested
    ]
