"""What is generated is what the generator makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from generate import pages
from repository import ROOT

PAGES = pages()


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == PAGES[path], "write it anew: nox -s docs"


def test_the_table_of_models_is_in_both_pages() -> None:
    for name in ("README.md", "docs/plugins.md"):
        assert "| `Espeak` |" in PAGES[ROOT / name], f"{name} has no table between its marks"
