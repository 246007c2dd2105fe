"""`xtalk talk` with a recording, in virtual time against a scripted server."""

from __future__ import annotations

import argparse
import array
import asyncio
import json
import math
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from xtalk.api import Xtalk
from xtalk.audio import AudioFrame
from xtalk.cli import main
from xtalk.commands.talk import session_of, with_recording
from xtalk.errors import XtalkError
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.service import DefaultService
from xtalk.session_log import read
from xtalk.testing import virtual_time
from xtalk.testing.client import Connection, MemoryConnection
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.testing.transport import MemoryTransport
from xtalk.wav import write_wav
from xtalk.wire import messages as m
from xtalk.wire.protocol import ServerProtocol

SPEECH_S = 1.0
REPLY = array.array("h", [round(9000 * math.sin(i / 20)) for i in range(48000)]).tobytes()


class Server:
    """Waits until the speech has been sent, then says what the script says."""

    def __init__(self, *script: float | m.ServerMessage | m.TtsChunk) -> None:
        self.script = script
        self.transport = MemoryTransport()
        self.actions: list[str] = []
        self.also: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        # Not a task group, which would wrap the error that a test expects.
        serving = asyncio.create_task(self._serve())
        try:
            yield MemoryConnection(self.transport)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def _serve(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read)
            tasks.start_soon(self.also)
            for step in self.script:
                if isinstance(step, (int, float)):
                    await anyio.sleep(step)
                else:
                    await self.transport.send(ServerProtocol().send(step))

    async def _read(self) -> None:
        while (item := await self.transport.receive()) is not None:
            if isinstance(item, str):
                self.actions.append(json.loads(item)["action"])


def chunks() -> list[m.TtsChunk]:
    return [m.TtsChunk(i + 1, REPLY[i * 19200 : (i + 1) * 19200]) for i in range(5)]


NORMAL = (
    m.SessionInfo(session_id="s"),
    SPEECH_S + 0.5,
    m.UpdateAsr(text="go", turn_id=1),
    m.StopTts(),
    m.FinishAsr(text="go on", turn_id=1),
    m.ToolCalled(name="look", args={"n": 1}),
    0.1,
    m.UpdateResp(text="I am", turn_id=1),
    m.StartTts(),
    *chunks(),
    m.LatencyMetrics(asr_latency_ms=12, tts_first_chunk_ms=3),
    m.FinishResp(text="I am going.", turn_id=1),
    m.TtsFinished(),
)


@pytest.fixture
def question(tmp_path: Path) -> Path:
    loud = array.array("h", [9000, -9000] * round(8000 * SPEECH_S))
    quiet = array.array("h", bytes(2 * 3200))
    path = tmp_path / "question.wav"
    write_wav(path, AudioFrame((loud + quiet).tobytes(), 16000))
    return path


def run(server: Server | Xtalk, question: Path, **options: Any) -> None:
    given = {
        "output": None,
        "url": None,
        "marks": False,
        "timeout": 30.0,
        "json": True,
        "log": None,
    }
    arguments = argparse.Namespace(wav=str(question), **{**given, **options})

    async def talk() -> None:
        connecting = session_of(server) if isinstance(server, Xtalk) else server.connection()
        assert await with_recording(arguments, connecting) == 0

    virtual_time.run(talk())


def test_it_reports_what_was_understood_and_said(
    question: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Server(*NORMAL), question)
    report = json.loads(capsys.readouterr().out)
    assert report["turns"] == [
        {
            "turn": 1,
            "heard": "go on",
            "reply": "I am going.",
            "tools": [{"name": "look", "args": {"n": 1}}],
            "latency_ms": {"asr_latency": 12, "tts_first_chunk": 3},
        }
    ]
    assert report["errors"] == []
    assert report["response_ms"] == pytest.approx(600, abs=32)


def test_it_says_the_same_in_words(question: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Server(*NORMAL), question, json=False)
    said = capsys.readouterr()
    assert "you:   go on\n" in said.out
    assert "reply: I am going.\n" in said.out
    assert "asr_latency 12 ms, tts_first_chunk 3 ms\n" in said.out
    assert "building the models" not in said.out


def test_the_output_holds_both_sides_on_one_clock(question: Path, tmp_path: Path) -> None:
    output = tmp_path / "answer.wav"
    run(Server(*NORMAL), question, output=str(output))
    with wave.open(str(output), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48000, 2, 2)
        samples = array.array("h", file.readframes(file.getnframes()))
    left, right = samples[0::2], samples[1::2]
    assert max(left[: 48000 - 480]) > 8000
    assert max(map(abs, left[48000 + 480 : 57600])) < 1000
    start = next(i for i, sample in enumerate(right) if sample)
    assert start / 48000 == pytest.approx(1.6, abs=0.033)
    assert right[start - 1 : start - 1 + 48000].tobytes() == REPLY


def test_a_recording_without_samples_is_an_output_without_samples(tmp_path: Path) -> None:
    empty, output = tmp_path / "empty.wav", tmp_path / "out.wav"
    write_wav(empty, AudioFrame(b"", 16000))
    with pytest.raises(XtalkError, match="nothing was understood"):
        run(Server(m.SessionInfo(session_id="s")), empty, output=str(output))
    with wave.open(str(output)) as file:
        assert (file.getnframes(), file.getnchannels()) == (0, 2)


def test_a_whole_session_is_heard_as_it_was_synthesised(
    question: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = ScriptedTTS()
    pipeline = DefaultPipeline(
        ScriptedASR(["go on"]), ScriptedAgent(["I am going. ", "Now."]), voice, vad=LoudnessVAD()
    )
    output = tmp_path / "answer.wav"
    xtalk = Xtalk(service_prototype=DefaultService(pipeline=pipeline), plugins=Plugins())
    run(xtalk, question, output=str(output))
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert (turn["heard"], turn["reply"]) == ("go on", "I am going. Now.")
    right = wave_channel(output, 1)
    start = next(i for i, sample in enumerate(right) if sample) - 1
    made = array.array("h", b"".join(voice.synthesize(text) for text in voice.spoken))
    heard = right[start : start + len(made)]
    assert correlation(heard, made) > 0.99


def wave_channel(path: Path, channel: int) -> array.array[int]:
    with wave.open(str(path), "rb") as file:
        return array.array("h", file.readframes(file.getnframes()))[channel :: file.getnchannels()]


def correlation(a: array.array[int], b: array.array[int]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_it_acknowledges_what_it_plays(question: Path) -> None:
    server = Server(*NORMAL)
    run(server, question)
    assert server.actions.count("tts_chunk_played") == 5
    assert server.actions[-1] == "tts_playback_finished"
    assert "vad_speech_start" not in server.actions


def test_it_marks_speech_when_asked(question: Path) -> None:
    server = Server(*NORMAL)
    run(server, question, marks=True)
    marks = [action for action in server.actions if action.startswith("vad_")]
    assert marks == ["vad_speech_start", "vad_speech_end"]


def test_it_waits_in_the_queue(question: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queued = (m.QueueStatus(position=2, limit=1, active=1), 7.0, m.QueueGranted())
    run(Server(*queued, *NORMAL), question)
    assert "in the queue, place 2 ...\n" in capsys.readouterr().err


def test_a_server_that_ends_the_conversation_is_said(question: Path) -> None:
    server = Server(*NORMAL[:1], 0.5)

    async def leave() -> None:
        await anyio.sleep(0.6)
        await server.transport.close(1001, "the server is stopping")

    server.also = leave
    with pytest.raises(XtalkError, match="closed with 1001 the server is stopping"):
        run(server, question)


def test_nothing_understood_is_an_error(question: Path) -> None:
    with pytest.raises(XtalkError, match="nothing was understood within 5 s"):
        run(Server(m.SessionInfo(session_id="s")), question, timeout=5)


def test_a_reply_without_an_end_is_an_error(question: Path) -> None:
    with pytest.raises(XtalkError, match="had not ended after 5 s"):
        run(Server(*NORMAL[:-1]), question, timeout=5)


def test_a_reply_without_sound_is_no_error(
    question: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        m.SessionInfo(session_id="s"),
        1.5,
        m.FinishAsr(text="be quiet", turn_id=1),
        m.FinishResp(text="...", turn_id=1),
        m.InvalidAsrResult(),
    )
    run(Server(*script), question)
    assert json.loads(capsys.readouterr().out)["response_ms"] is None


def test_a_server_that_is_not_there_is_one_sentence(
    question: Path, capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    url = f"ws://127.0.0.1:{unused_port}/ws"
    assert main(["talk", "--wav", str(question), "--url", url]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"xtalk: cannot talk to {url}: ")
    assert len(error.splitlines()) == 1


def test_the_output_needs_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["talk", "-o", "x.wav"]) == 1
    assert "-o needs --wav" in capsys.readouterr().err


FAKES = """
from xtalk.testing import fakes

class Ear(fakes.ScriptedASR):
    def __init__(self) -> None:
        super().__init__(["good morning"])

    def clone(self):
        return self

class Mind(fakes.ScriptedAgent):
    def __init__(self) -> None:
        super().__init__(["Morning."])

    def clone(self):
        return self

class Voice(fakes.ScriptedTTS):
    def __init__(self) -> None:
        super().__init__()

    def clone(self):
        return self
"""


def test_the_log_of_the_session_is_named_and_can_be_read(
    question: Path, installed: Any, tmp_path: Path
) -> None:
    hooks = "".join(
        f"@hookimpl\ndef xtalk_{slot}():\n    yield Model('{name}', 'talk_fakes:{name}')\n"
        for slot, name in (("asr", "Ear"), ("llm_agent", "Mind"), ("tts", "Voice"))
    )
    installed.add("fakes", hooks, modules={"talk_fakes": FAKES})
    chosen = {"XTALK_ASR": "Ear", "XTALK_LLM_AGENT": "Mind", "XTALK_TTS": "Voice"}
    done = installed.run(
        "talk",
        "--json",
        "--wav",
        str(question),
        "--marks",
        "--log",
        str(tmp_path / "logs"),
        **chosen,
    )
    assert done.returncode == 0, done.stderr
    log = read(json.loads(done.stdout)["log"])
    assert [call.stage for call in log.calls] == ["transcribe", "respond", "speak"]
    assert log.ended is not None


def test_a_log_that_was_not_written_is_an_error(
    question: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(XtalkError, match=r"logs: the log of the session could not be written"):
        run(Server(*NORMAL), question, log=str(tmp_path / "logs"))
    assert json.loads(capsys.readouterr().out)["log"] is None


@pytest.mark.parametrize("option", ["--log", "--config"])
def test_what_is_for_a_session_in_here_is_refused_for_a_server(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["talk", "--url", "ws://127.0.0.1:1/ws", option, "x"]) == 1
    assert f"{option} is for a session in here" in capsys.readouterr().err


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
