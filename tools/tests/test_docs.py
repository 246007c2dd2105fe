"""Every program and every command of the README and of docs/ runs, in the order of its page.

    python             a whole program
    sh                 commands, one after another until one fails
    console            commands behind "$", and the output that they have but for milliseconds
    toml               a configuration: checked, and xtalk.toml for what follows
    title="name"       any of these is a file of that name for what follows, and is not run

`<!-- not run: the reason -->` before a block leaves it out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repository import ROOT
from xtalk_server.config import DEFAULT
from xtalk_server.testing import running

pytestmark = pytest.mark.real_time

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(
    r'^(<!-- not run: .+ -->\n)?```(\w+)(?: title="(.+?)")?\n((?s:.*?))^```$', re.MULTILINE
)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*\n)((?:[^$].*\n)*)", re.MULTILINE)
DEMO = "localhost:7635"
LIMIT_S = 60

Run = Callable[..., str]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the offline default is served."""
    with running(DEFAULT) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """Runs a program of this environment in the page's folder; gives what it printed."""
    (tmp_path / "core").symlink_to(ROOT / "core")  # for the recordings
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XTALK_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(program: str, option: str, text: str) -> str:
        text = re.sub(r"\S+/bin/(?=xtalk\b)", "", text)
        if DEMO in text:
            text = text.replace(DEMO, request.getfixturevalue("address"))
        done = subprocess.run(
            [program, option, text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, run: Run, tmp_path: Path) -> None:
    markdown = page.read_text("utf-8")
    found = BLOCK.findall(markdown)
    assert len(found) == len(re.findall(r"^ *```\w", markdown, re.MULTILINE))
    for left_out, language, title, text in found:
        if left_out:
            continue
        if title:
            (tmp_path / title).write_text(text, "utf-8")
        elif language == "python":
            run(sys.executable, "-c", text)
        elif language == "sh":
            run("bash", "-euc", text)
        elif language == "console":
            for command, output in COMMAND.findall(text):
                assert timeless(run("bash", "-euc", command)) == timeless(output)
        elif language == "toml":
            (tmp_path / "xtalk.toml").write_text(text, "utf-8")
            run("bash", "-euc", "xtalk config check")
        elif language == "json":
            json.loads(text)
        else:
            raise AssertionError(f"nothing says how to run {language}:\n{text}")


def timeless(output: str) -> str:
    return re.sub(r"\d+ ms", "n ms", output)
