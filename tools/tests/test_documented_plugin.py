"""The plugin of docs/write-a-plugin.md, installed from outside, does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from repository import ROOT

pytestmark = pytest.mark.real_time

PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text("utf-8")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the documented plugin is installed."""
    folder, site = tmp_path_factory.mktemp("plugin"), tmp_path_factory.mktemp("site")
    for name, text in re.findall(r'```\w+ title="(.+?)"\n(.+?)```', PAGE, re.DOTALL):
        (folder / name).write_text(text, "utf-8")
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(folder)], check=True)
    return {**os.environ, "PYTHONPATH": str(site)}


def xtalk(environment: dict[str, str], *arguments: str | Path) -> str:
    command = [sys.executable, "-m", "xtalk.cli", *map(str, arguments)]
    return subprocess.check_output(command, env=environment, text=True)


def test_it_is_listed(environment: dict[str, str]) -> None:
    assert "Beep" in xtalk(environment, "plugins")


def test_it_speaks_by_its_name(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "beeps.wav"
    xtalk({**environment, "XTALK_TTS": "Beep"}, "say", "one two", "-o", out)
    with wave.open(str(out)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(0.4, abs=0.05)
