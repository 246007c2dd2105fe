"""The log of a session, and the proof that it is complete: the session again without models."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from xtalk import session_log
from xtalk.agent import Agent, Text, ToolCall, ToolResult
from xtalk.audio import AudioFrame
from xtalk.errors import ModelError, XtalkError
from xtalk.pipeline import DefaultPipeline
from xtalk.schema import MASK
from xtalk.service import DefaultService, Host
from xtalk.session import Clock
from xtalk.session_log import Call, Log, Step, read
from xtalk.speech.interfaces import ASR, TTS, VAD, EndOfTurn, Transcript, TurnDetector
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


class WallClock(Clock):
    """A time of day that goes with the loop's time."""

    def __init__(self, wall_ms: int, at: float) -> None:
        self._wall_ms, self._at = wall_ms, at

    def wall_ms(self) -> int:
        return self._wall_ms + round(1000 * (self.now() - self._at))

    def wall(self) -> datetime:
        return datetime.fromtimestamp(0).astimezone() + timedelta(milliseconds=self.wall_ms())


# --- a conversation, logged ---------------------------------------------------------------------


def logged(
    folder: Path,
    converse: Callable[[WireClient], Any],
    *,
    config: dict[str, Any] | None = None,
    latency_s: float = 0.0,
    client: dict[str, Any] | None = None,
    clock: Callable[[int, float], Clock] = WallClock,
    **models: Any,
) -> Log:
    """The log of a conversation in virtual time."""

    async def main() -> None:
        watch = clock(1_700_000_000_000, anyio.current_time())
        slots = {
            "asr": ScriptedASR(),
            "llm_agent": ScriptedAgent(),
            "tts": ScriptedTTS(),
            "vad": LoudnessVAD(),
        }
        service = DefaultService(
            pipeline=DefaultPipeline(**{**slots, **models}),
            service_config={"session_log": str(folder), **(config or {})},
        )
        transport = MemoryTransport(latency_s=latency_s)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Host(service, clock=watch).connect, transport)
            async with WireClient(MemoryConnection(transport), **(client or {})) as caller:
                await caller.wait_for(m.SessionInfo)
                await converse(caller)
            transport.vanish()

    virtual_time.run(main())
    (path,) = folder.glob("*.jsonl")
    return read(path)


class SlowStart(WallClock):
    """A session whose log is a second late, as when its module has to be loaded first."""

    late = 0.0

    def now(self) -> float:
        now, self.late = super().now() + self.late, 1.0
        return now


def test_time_zero_is_the_time_of_day_when_the_session_began(tmp_path: Path) -> None:
    async def ping(client: WireClient) -> None:
        client.send(m.Ping())
        await client.wait_for(m.Pong)

    log = logged(tmp_path, ping, clock=SlowStart)
    pong = next(f for f in log.sent if f.message and f.message["action"] == "pong")
    assert pong.message is not None
    told = pong.message["server_recv_timestamp"]
    assert log.header.wall_ms + 1000 * pong.t == pytest.approx(told, abs=2)
    began = datetime.fromisoformat(log.header.began).timestamp()
    assert 1000 * began == pytest.approx(log.header.wall_ms, abs=2)


# --- the same conversation from its log ---------------------------------------------------------


class Script:
    """Plays the calls of a log, in order, each with the times that its model took."""

    def __init__(self, log: Log, stage: str) -> None:
        self.calls = iter([call for call in log.calls if call.stage == stage])

    async def play(
        self, steps: list[Step], frames: AsyncIterator[AudioFrame] | None = None
    ) -> AsyncIterator[Step]:
        heard = wanted = 0
        for step in steps:
            if step.kind == "in" and frames is not None:
                wanted += step.fields.get("samples", 0)
                while step.fields.get("over") or heard < wanted:
                    try:
                        heard += (await anext(frames)).samples
                    except StopAsyncIteration:
                        break
            elif step.kind == "out":
                await anyio.sleep(step.took)
                yield step
            elif step.kind == "over":
                await self.end(step)

    async def end(self, step: Step) -> None:
        if step.fields["outcome"] in ("cancelled", "left"):
            await anyio.sleep_forever()
        await anyio.sleep(step.took)
        if step.fields["outcome"] == "failed":
            text = step.fields.get("message")
            raise RuntimeError(step.fields["error"]) if text is None else ModelError(text)


class LoggedASR(ASR):
    def __init__(self, script: Script) -> None:
        self.script = script

    def recognize(self, audio: bytes) -> str:
        raise NotImplementedError

    def reset(self) -> None: ...

    def clone(self) -> LoggedASR:
        return self

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        call: Call = next(self.script.calls)
        async for step in self.script.play(call.steps, frames):
            fields = dict(step.fields["transcript"])
            yield Transcript(**{**fields, "words": tuple(fields["words"])})


class LoggedAgent(Agent):
    def __init__(self, script: Script) -> None:
        self.script = script

    def generate(self, input: Any) -> str:
        raise NotImplementedError

    def clone(self) -> LoggedAgent:
        return self

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        call: Call = next(self.script.calls)
        assert call.input["content"] == input["content"]
        async for step in self.script.play(call.steps):
            if "text" in step.fields:
                yield Text(**step.fields["text"])
            elif "tool_call" in step.fields:
                fields = dict(step.fields["tool_call"])
                yield ToolCall(fields.pop("name"), fields.pop("args"), **fields)
            elif "tool_result" in step.fields:
                yield ToolResult(**step.fields["tool_result"])


class LoggedTTS(TTS):
    def __init__(self, log: Log) -> None:
        self.script = Script(log, "speak")
        self.sentences = self._sentences()
        self.changes = iter(
            [
                event.name == "TTSVoiceChanged"
                for event in log.events
                if event.name == "TTSVoiceChanged"
                or event.fields.get("error_type") == "voice_not_changed"
            ]
        )

    def _sentences(self) -> Iterator[tuple[str, list[Step]]]:
        """What was said, and the steps that belong to it."""
        for call in self.script.calls:
            begins = [n for n, step in enumerate(call.steps) if "sentence" in step.fields]
            for begin, end in zip(begins, [*begins[1:], None], strict=True):
                last = [step for step in call.steps if step.fields.get("outcome") != "done"]
                steps = [step for step in call.steps[begin + 1 : end] if step in last]
                yield call.steps[begin].fields["sentence"]["spoken"], steps

    def synthesize(self, text: str) -> bytes:
        raise NotImplementedError

    def clone(self) -> LoggedTTS:
        return self

    def set_voice(self, voice_names: list[str]) -> None:
        if not next(self.changes):
            raise ValueError

    async def async_synthesize_stream(self, text: str, **_: Any) -> AsyncIterator[AudioFrame]:
        spoken, steps = next(self.sentences)
        assert spoken == text
        async for step in self.script.play(steps):
            assert step.audio is not None
            yield AudioFrame(step.audio.pcm(), step.audio.rate)


class LoggedVAD(VAD):
    inline = True

    def __init__(self, log: Log) -> None:
        self.frame_samples = log.header.vad_frame_samples or 512
        self.heard = iter([event.fields["p"] for event in log.of("vad")])

    def is_speech(self, frame: bytes) -> bool:
        raise NotImplementedError

    def speech_probability(self, frame: bytes) -> float:
        return float(next(self.heard, 0.0))

    def clone(self) -> LoggedVAD:
        return self


def run_again(log: Log, folder: Path) -> Log:
    """Its client's frames at their times, its models' answers after the times that they took."""

    async def main() -> None:
        clock = WallClock(log.header.wall_ms, 0.0)
        pipeline = DefaultPipeline(
            asr=LoggedASR(Script(log, "transcribe")),
            llm_agent=LoggedAgent(Script(log, "respond")),
            tts=LoggedTTS(log),
            vad=LoggedVAD(log) if "vad" in log.header.models else None,
        )
        config = {**log.header.config, "session_log": str(folder)}
        host = Host(DefaultService(pipeline=pipeline, service_config=config), clock=clock)
        transport = MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, transport)
            while not transport.sent:
                await anyio.lowlevel.checkpoint()
                if host.sessions:
                    clock._at = anyio.current_time()
            (session,) = host.sessions.values()
            for item in log.received:
                await anyio.sleep_until(session.began + item.t)
                transport.push(item.item())
            assert log.ended is not None
            await anyio.sleep_until(session.began + log.ended)
            transport.vanish()

    virtual_time.run(main())
    (path,) = folder.glob("*.jsonl")
    return read(path)


def told(log: Log) -> list[Any]:
    """What the client was sent; without what is another's each time."""
    own = {"session_id", "server_recv_timestamp"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in own and k[-3:] != "_ms"}
        return value

    return [plain(item.message) or (item.samples, item.crc32) for item in log.sent]


def figures(log: Log) -> list[int]:
    return [
        value
        for item in log.sent
        if item.message and item.message["action"] == "latency_metrics"
        for name, value in item.message["data"].items()
    ]


async def a_whole_life(client: WireClient) -> None:
    """A clean turn, a cough, an interruption, a failing model, changes of voice, nonsense."""

    async def say(seconds: float) -> None:
        speech = tone(seconds, rate=16_000, level=8000)
        if client._pauses_itself:
            await client.say_with_marks(speech)
        else:
            await client.say(speech)

    async def turn() -> None:
        before = len(client.timeline)
        await say(1.0)
        await client.wait_until_heard(after=before)

    await turn()
    client.send(m.ChangeVoice(voice_name="high"))
    client.send(m.ChangeVoice(voice_name="nobody"))
    await anyio.sleep(0.5)  # or a thread and the loop would race to the next answer
    client._outbox.append("no JSON")
    client._outbox.append(b"odd")
    client._outgoing.set()
    await anyio.sleep(0.5)
    before = len(client.timeline)
    await say(1.0)
    await client.wait_for(m.StartTts, after=before)
    await anyio.sleep(0.7)
    await say(0.4)  # a cough
    await anyio.sleep(1.2)
    await say(1.0)  # an interruption
    await anyio.sleep(6)
    await turn()
    before = len(client.timeline)
    await say(1.0)
    await client.wait_for(m.Error, after=before)
    await anyio.sleep(16)  # a ping


@pytest.mark.parametrize("kind", ["server VAD", "marks", "slow line"])
def test_the_same_messages_come_of_the_log_alone(tmp_path: Path, kind: str) -> None:
    replies: list[Any] = [
        ["Hello. ", "How are you?"],
        LONG,
        LONG,
        [ToolCall("look", {"api_key": "sk-1", "place": "here"}), "It is here."],
        [ModelError("The agent is down.")],
    ]
    turns = iter(replies)
    log = logged(
        tmp_path / "first",
        a_whole_life,
        asr=ScriptedASR(
            ["hello there", "tell me something", "", "stop that please", "where", "x y"]
        ),
        llm_agent=ScriptedAgent(lambda _: next(turns, ["Yes."])),
        tts=ScriptedTTS(speed=3),
        vad=None if kind == "marks" else LoudnessVAD(),
        client={"pauses_itself": kind == "marks"},
        latency_s=0.06 if kind == "slow line" else 0.0,
    )
    again = run_again(log, tmp_path / "second")
    assert len(log.sent) > 60
    actions = [item.message["action"] for item in log.sent if item.message]
    assert {"finish_resp", "stop_tts", "tool_called", "error", "voice_changed"} <= set(actions)
    assert told(again) == told(log)
    for before, after in zip(log.sent, again.sent, strict=True):
        assert after.t == pytest.approx(before.t, abs=0.002)
    assert figures(again) == pytest.approx(figures(log), abs=1)


# --- what is in it ------------------------------------------------------------------------------


async def one_turn(client: WireClient) -> None:
    await client.say(tone(1.0, rate=16_000, level=8000))
    await client.wait_until_heard()


def test_every_boundary_is_there(tmp_path: Path) -> None:
    log = logged(tmp_path, one_turn)
    assert log.header.models == {
        "asr": "ScriptedASR",
        "llm_agent": "ScriptedAgent",
        "tts": "ScriptedTTS",
        "vad": "LoudnessVAD",
    }
    assert [call.stage for call in log.calls] == ["transcribe", "respond", "speak"]
    hear, think, speak = log.calls
    finals = [s for s in hear.steps if s.kind == "out" and s.fields["transcript"]["final"]]
    assert finals[0].fields["transcript"]["text"] == think.input["content"] == "hello there"
    assert finals[0].took == pytest.approx(0.05)
    assert [s.fields["text"]["text"] for s in think.steps if s.kind == "out"] == [
        "Hello. ",
        "How are you?",
    ]
    assert think.steps[0].took == pytest.approx(0.1)
    assert [
        s.fields["sentence"]["text"].strip() for s in speak.steps if "sentence" in s.fields
    ] == [
        "Hello.",
        "How are you?",
    ]
    assert [call.steps[-1].fields["outcome"] for call in log.calls] == ["left", "done", "done"]
    (over,) = log.of("ReplyOver")
    assert over.fields["heard"] == "Hello. How are you?"
    assert log.of("Decision") and log.of("vad") and log.of("VADSpeechEnd")


def test_the_audio_beside_it_is_what_came_and_what_was_made(tmp_path: Path) -> None:
    log = logged(tmp_path, one_turn)
    heard = b"".join(item.audio.pcm() for item in log.received if item.audio)
    assert tone(1.0, rate=16_000, level=8000) in heard
    made = [s.audio.pcm() for s in log.calls[2].steps if s.audio]
    assert b"".join(made) == tone(0.3) + tone(0.6)


def test_a_detector_of_turns_is_watched(tmp_path: Path) -> None:
    class Sure(TurnDetector):
        def judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
            return EndOfTurn(kind="complete", reason="sure")

    log = logged(tmp_path, one_turn, turn_detector=Sure())
    assert log.of("judged")[0].fields["verdict"]["reason"] == "sure"


def test_a_detector_in_a_thread_is_watched(tmp_path: Path) -> None:
    class Slow(LoudnessVAD):
        inline = False

    log = logged(tmp_path, one_turn, vad=Slow())
    assert {event.fields["p"] for event in log.of("vad")} == {0.0, 1.0}


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    async def converse(client: WireClient) -> None:
        client.send(m.ChangeLlmModel(model_name="big", api_key="sk-client"))
        await client.say(tone(1.0, rate=16_000, level=8000))
        await client.wait_for(m.ToolCalled)
        await anyio.sleep(3)

    agent = ScriptedAgent(
        [ToolCall("post", {"password": "sk-tool"}), "Done.", RuntimeError("sk-e")]
    )
    log = logged(tmp_path, converse, llm_agent=agent, config={"my_token": "sk-config"})
    (path,) = tmp_path.glob("*.jsonl")
    assert "sk-" not in path.read_text()
    assert log.header.config["my_token"] == MASK


def test_it_is_the_owners_alone_and_named_by_the_session(tmp_path: Path) -> None:
    log = logged(tmp_path / "deep", one_turn)
    paths = sorted((tmp_path / "deep").iterdir())
    assert [path.name for path in paths] == [
        f"{log.header.session}.{end}" for end in ("jsonl", "microphone.wav", "speech-48000.wav")
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


def test_without_it_nothing_is_in_the_way(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            assert call.session.tap is None
            assert call.session.watched(marker := object()) is marker

    run(main)


# --- reading ------------------------------------------------------------------------------------


def test_a_log_that_broke_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = logged(tmp_path, one_turn)
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    log = read(path)
    assert log.ended is None and whole.ended is not None
    assert log.sent == whole.sent[: len(log.sent)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not the log of a session"),
        ('{"a": 1}\n', "is not the log of a session"),
        ('{"xtalk_session_log": 2}\n', "is a log of version 2; this reads version 1"),
        ("hello\n", "line 1: is not a JSON object"),
    ],
)
def test_what_is_no_log_is_refused_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(XtalkError, match=words):
        read(tmp_path / "x.jsonl")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(XtalkError, match=r"none\.jsonl: cannot be read"):
        read(tmp_path / "none.jsonl")


def test_the_audio_of_a_strange_log_stays_in_its_folder(tmp_path: Path) -> None:
    head = {"xtalk_session_log": 1, "session": "s", "began": "", "wall_ms": 0, "config": {}}
    place = {"file": "../../secret.wav", "rate": 16_000, "offset": 0, "samples": 1}
    record = {"t": 0, "kind": "received", "audio": place}
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps({**head, 'models': {}})}\n{json.dumps(record)}\n")
    assert read(path).received[0].audio.path == tmp_path / "secret.wav"


def test_a_full_disk_costs_only_the_log(talk: Any, run: Any, tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        async with talk(config={"session_log": str(tmp_path / "file")}) as call:
            await call.say()
            await call.client.wait_until_heard()

    run(main)
    assert "the log of session" in caplog.text


def test_the_version_is_in_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs/session-log.md"
    assert f'"xtalk_session_log": {session_log.VERSION}' in page.read_text()
