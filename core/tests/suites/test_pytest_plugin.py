"""The pytest plugin is light, silent in foreign suites, and its fixtures catch what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def pytest_run(folder: Path, source: str, *options: str) -> str:
    """The output of pytest on one file, in its own process, where every warning is an error."""
    (folder / "test_foreign.py").write_text(source)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, str(folder)], cwd=folder, capture_output=True, text=True, check=False
    ).stdout


def test_a_foreign_suite_does_not_notice_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
import sys, pytest
@pytest.fixture
def virtual_time():
    return "mine"
def test_mine(virtual_time):
    assert virtual_time == "mine"
    heavy = {"numpy", "anyio", "pydantic", "asyncio", "xtalk.threads"}
    assert not heavy & set(sys.modules)
"""
    # Other plugins of this environment import what they like, so that ours is loaded alone.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    options = ("--strict-markers", "-p", "xtalk.testing.pytest_plugin")
    assert "1 passed" in pytest_run(tmp_path, source, *options)


def test_the_marker_is_registered(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.real_time\ndef test_it(): pass\n"
    assert "1 passed" in pytest_run(tmp_path, source, "--strict-markers")


def test_virtual_time_runs_a_coroutine_and_refuses_real_time(tmp_path: Path) -> None:
    source = """
import asyncio, pytest
async def an_hour():
    await asyncio.sleep(3600)
    return "over"
def test_virtual(virtual_time):
    assert virtual_time(an_hour()) == "over"
@pytest.mark.real_time
def test_real(virtual_time):
    pass
"""
    output = pytest_run(tmp_path, source)
    assert "1 passed, 1 error" in output
    assert "cannot run in virtual time" in output


@pytest.mark.real_time
def test_a_thread_that_outlives_its_test_is_named(tmp_path: Path) -> None:
    source = """
import threading, pytest
pytestmark = pytest.mark.usefixtures("no_leaked_threads")
def start(name, target):
    threading.Thread(target=target, name=name, daemon=True).start()
def test_leaks():
    start("leaky", threading.Event().wait)
def test_ends():
    start("brief", lambda: None)
def test_idle_model_threads_may_stay():
    start("xtalk-model", threading.Event().wait)
"""
    output = pytest_run(tmp_path, source)
    assert "3 passed, 1 error" in output
    assert "threads left running: leaky" in output


def test_an_assertion_of_a_suite_explains_itself(tmp_path: Path) -> None:
    source = """
from xtalk.speech.interfaces import VAD
from xtalk.testing.suites import VADSuite
class Nervous(VAD):
    def is_speech(self, frame): return True
class TestNervous(VADSuite):
    model = Nervous
"""
    output = pytest_run(tmp_path, source, "-k", "silence_is_not_speech")
    assert "where True = any(" in output


STALLS = """
import pathlib, pytest
from xtalk.testing import stalls
stalls.StallWatch.__exit__ = lambda watch, *how: setattr(watch, "worst_s", {stall_s})
stalls.StallWatch.__enter__ = lambda watch: watch
runs = []
@pytest.fixture
def fresh():
    runs.append("set up")
    yield
@pytest.mark.real_time
def test_it(fresh):
    runs.append("run")
    assert len(runs) > {enough}, "too early"
"""


@pytest.mark.parametrize(
    ("stall_s", "enough", "says"),
    [
        (0.5, 2, "1 passed"),  # fails once, and is set up and run again
        (0.5, 9, "1 failed"),  # fails every time
        (0.01, 2, "1 failed"),  # the machine did not stand still
    ],
)
def test_a_test_in_real_time_gets_another_chance_when_the_machine_stood_still(
    tmp_path: Path, stall_s: float, enough: int, says: str
) -> None:
    output = pytest_run(tmp_path, STALLS.format(stall_s=stall_s, enough=enough))
    assert says in output
    assert ("run again" in output) == (stall_s > 0.1)
    assert output.count("run again") == (2 if enough == 9 else int(stall_s > 0.1))
