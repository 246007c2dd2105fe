"""Throw-away plugins: real distributions in a temporary folder, as pip would leave them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from xtalk.plugins import Plugin, Plugins

# A red run is the change's fault and not the dice's; no example has a limit of wall-clock time.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

HEAD = "from xtalk.hookspecs import Model, Slot, hookimpl\n"


class Installed:
    """Plugins that are installed for one test. The machine's own plugins are never loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def add(
        self,
        name: str,
        hooks: str = "",
        *,
        distribution: str | None = None,
        version: str = "1.0",
        requires: Iterable[str] = ("xtalk-core>=0.1,<1",),
        modules: Mapping[str, str] | None = None,
    ) -> str:
        """A distribution `xtalk-<name>` with one entry point; returns its module's name."""
        distribution = distribution or f"xtalk-{name}"
        module = f"throwaway_{name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(HEAD + textwrap.dedent(hooks))
        for other, code in (modules or {}).items():
            (self.folder / f"{other}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(f"{head}{needs}\nName: not a field\n")
        (info / "entry_points.txt").write_text(f"[xtalk]\n{name} = {module}\n")
        self.names.append(name)
        return module

    def environ(self, **more: str) -> dict[str, str]:
        return {"XTALK_LOAD_PLUGINS": " ".join(self.names), **more}

    def load(self, **more: str) -> Plugins:
        return Plugins.load(self.environ(**more))

    def run(self, *arguments: str, code: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """`xtalk` with these arguments, or Python code, in a process of its own."""
        environ = {name: value for name, value in os.environ.items() if "XTALK" not in name}
        environ |= {**self.environ(**more), "PYTHONPATH": str(self.folder)}
        what = ["-c", code] if code else ["-m", "xtalk.cli", *arguments]
        return subprocess.run(
            [sys.executable, *what],
            env=environ, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


def row(plugins: Plugins, name: str) -> Plugin:
    """The row of that name."""
    return next(plugin for plugin in plugins.rows if plugin.name == name)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in os.environ if name.startswith("XTALK")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield Installed(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
