"""The example for authors of devices, against the real server."""

from __future__ import annotations

import array
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from xtalk_example.agent import EchoAgent
from xtalk_example.asr import FixedASR
from xtalk_example.tts import ToneTTS

from xtalk.api import Xtalk
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService
from xtalk.testing.fakes import LoudnessVAD
from xtalk_server.testing import running

pytestmark = pytest.mark.real_time

CLIENT = Path(__file__).parents[2] / "examples" / "device_client.py"


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """Human speech is not needed: the recogniser of the example hears the same in everything."""
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(array.array("h", [8000, -8000] * 8000).tobytes())
    return path


def test_a_device_gets_a_reply(question: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.wav"
    pipeline = DefaultPipeline(FixedASR("go on"), EchoAgent(), ToneTTS(), vad=LoudnessVAD())
    with running(Xtalk(service_prototype=DefaultService(pipeline=pipeline))) as server:
        command = [sys.executable, str(CLIENT), str(question), str(answer), server.ws]
        done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("you: go on\nreply: You said: go on")
    with wave.open(str(answer), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (48000, 1)
        assert file.getnframes() > 4800
        assert any(file.readframes(file.getnframes()))
