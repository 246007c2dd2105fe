"""Where things are in this repository: its packages, and the Pythons that it supports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def packages(root: Path = ROOT) -> dict[str, Path]:
    """The folder of each distribution, by the distribution's name."""
    found = [*root.glob("*/pyproject.toml"), *root.glob("plugins/*/pyproject.toml")]
    folders = sorted(path.parent for path in found)
    return {_field(folder, "name"): folder for folder in folders}


def version(folder: Path) -> str:
    return _field(folder, "version")


def _field(folder: Path, key: str) -> str:
    """A field of [project]; each stands on a line of its own, so no TOML reader is needed."""
    text = (folder / "pyproject.toml").read_text("utf-8")
    line = re.search(rf'^{key} = "(.+)"$', text, re.MULTILINE)
    if line is None:
        raise ValueError(f"{folder}/pyproject.toml has no line {key} = ...")
    return line[1]


def interpreter(python: str) -> str | None:
    """The program of this Python, if it answers: a pyenv shim may have nothing behind it."""
    program = shutil.which(f"python{python}")
    if program is None:
        return None
    answer = subprocess.run([program, "-c", ""], capture_output=True, check=False)
    return program if answer.returncode == 0 else None
