"""`nox -s new-plugin`: the copy passes its suite at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from new_plugin import Refused, make

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("tts-foo", "FooTTS"), ("asr-foo", "FooASR"), ("agent-foo", "FooAgent")],
)
def test_the_copy_is_listed_and_passes_its_suite(
    name: str, class_name: str, tmp_path: Path
) -> None:
    folder = make(name, class_name, tmp_path)
    site = tmp_path / "site"
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(folder)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    listing = subprocess.check_output(
        [sys.executable, "-m", "xtalk.cli", "plugins"], env=environment, text=True
    )
    assert class_name in listing
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", folder],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert suite.returncode == 0, suite.stdout
    assert "passed" in suite.stdout


def test_the_copy_asks_for_what_the_page_of_models_shows(tmp_path: Path) -> None:
    readme = (make("tts-foo", "FooTTS", tmp_path) / "README.md").read_text("utf-8")
    assert readme.startswith("# xtalk-tts-foo\n\n`FooTTS` for xtalk.\n")
    assert "\n## What was tested\n\nTODO: " in readme


def test_the_copy_says_nothing_of_the_example(tmp_path: Path) -> None:
    folder = make("tts-foo", "FooTTS", tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "src" / "xtalk_tts_foo" / "tts.py" in files
    for path in files:
        assert "example" not in path.read_text("utf-8").lower(), path


@pytest.mark.parametrize(
    ("name", "class_name", "reason"),
    [("foo", "Foo", "no <slot>-<backend>"), ("tts-foo", "foo tts", "no name of a class")],
)
def test_a_wrong_name_is_refused(name: str, class_name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=reason):
        make(name, class_name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_exists_is_left_alone(tmp_path: Path) -> None:
    make("tts-foo", "FooTTS", tmp_path)
    with pytest.raises(Refused, match="is there already"):
        make("tts-foo", "FooTTS", tmp_path)
