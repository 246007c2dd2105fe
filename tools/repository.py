"""Where things are in this repository: its packages, and the Pythons that it supports."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def packages() -> dict[str, Path]:
    """The folder of each distribution, by the distribution's name, the core first."""
    plugins = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    return {
        "xtalk-core": ROOT / "core",
        "xtalk-server": ROOT / "xtalk-server",
        **{folder.name: folder for folder in plugins},
    }


def interpreter(version: str) -> str | None:
    """The program of this Python, if it answers: a pyenv shim may have nothing behind it."""
    program = shutil.which(f"python{version}")
    if program is None:
        return None
    answer = subprocess.run([program, "-c", ""], capture_output=True, check=False)
    return program if answer.returncode == 0 else None
