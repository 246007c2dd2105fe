"""What a page looks like: pictures for the documentation, barriers for those who cannot see it."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

__all__ = ["Show"]


class Show:
    """Writes pictures into a folder, where one was asked for, and looks for barriers."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._axe = Axe()

    def __call__(self, page: Page, name: str) -> None:
        """A picture of the page as `name`.png."""
        if self._folder is not None:
            page.screenshot(path=self._folder / f"{name}.png", animations="disabled")

    def barriers(self, page: Page) -> None:
        """Fail when axe finds a violation that is serious or critical."""
        found = [
            (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]])
            for each in self._axe.run(page).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert not found, found
