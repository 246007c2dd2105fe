"""The log of a session: everything that crossed its boundary, complete enough to run it again.

    <folder>/<session id>.jsonl                 one JSON object a line, the first is the header
    <folder>/<session id>.microphone.wav        what the client sent, 16 kHz
    <folder>/<session id>.speech-<rate>.wav     what the voice made, at the voice's own rate

`SessionLog` writes it, off the event loop; `read` gives it back as a `Log`. The format is
described line by line in docs/session-log.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
import wave
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import anyio

from xtalk import events
from xtalk.agent import Text, ToolCall, ToolResult, Usage
from xtalk.audio import RATE_IN, AudioFrame
from xtalk.calls import overrides
from xtalk.disk import Disk
from xtalk.errors import ModelError, XtalkError
from xtalk.schema import masked
from xtalk.speech.interfaces import VAD, Sentence, SpeechChunk, TurnDetector
from xtalk.wav import WavFile

if TYPE_CHECKING:
    from xtalk.session import Session
    from xtalk.speech.interfaces import EndOfTurn

__all__ = [
    "VERSION",
    "Audio",
    "Call",
    "Event",
    "Header",
    "Log",
    "Received",
    "Sent",
    "SessionLog",
    "Step",
    "read",
]

log = logging.getLogger("xtalk.session_log")

VERSION = 1
CLOSE_S = 5.0
TEXT_LIMIT = 4096  # characters kept of a client's message that is not JSON
FIRST = 1000  # before any handler changes the event

# What is decided and what arises beside the messages and the model calls of a turn.
EVENTS = (
    events.CaptionUpdated,
    events.Decision,
    events.ErrorOccurred,
    events.ReplyOver,
    events.RetrievalUpdated,
    events.SpeakerRecognized,
    events.TTSEmotionChanged,
    events.TTSSpeedChanged,
    events.TTSVoiceChanged,
    events.TextForEmbeddingReady,
    events.ThoughtUpdated,
    events.TurnLLMAgentStartRequested,
    events.VADLost,
    events.VADSpeechEnd,
    events.VADSpeechStart,
)
_MODELS = {
    "asr": "get_asr_model",
    "llm_agent": "get_agent",
    "tts": "get_tts_model",
    "vad": "get_vad_model",
    "turn_detector": "get_turn_detector",
    "speech_enhancer": "get_enhancer_model",
    "speech_speed_controller": "get_speed_controller",
}

T = TypeVar("T")
Describe = Callable[[Any], dict[str, Any]]


# --- writing ------------------------------------------------------------------------------------


class SessionLog:
    """Writes the log of one session, as its tap. `close` when nothing happens any more."""

    def __init__(self, session: Session, folder: str | Path) -> None:
        self._session = session
        self._folder = Path(folder)
        self._name = session.id
        self._now = session.clock.now
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._disk = Disk(f"the log of session {session.id}")
        self._lines: BinaryIO | None = None
        self._sound: dict[str, WavFile] = {}
        self._offsets: Counter[str] = Counter()
        self._calls = 0
        pipeline = session.pipeline
        models = {slot: getattr(pipeline, getter)() for slot, getter in _MODELS.items()}
        self._put(self._open, 0)
        passed = timedelta(seconds=self._t)  # this module may just have been imported
        began = session.clock.wall() - passed
        self._write(
            {
                "xtalk_session_log": VERSION,
                "session": session.id,
                "began": began.isoformat(),
                "wall_ms": session.clock.wall_ms() - passed // timedelta(milliseconds=1),
                "config": masked("", _plain(session.config)),
                "models": {slot: type(m).__name__ for slot, m in models.items() if m is not None},
                "vad_frame_samples": getattr(models["vad"], "frame_samples", None),
                "voices": list(getattr(models["tts"], "voices", ()) or ()),
            }
        )
        for event in EVENTS:
            session.subscribe(event, self._event, FIRST)
        if models["speech_enhancer"] is not None:
            session.subscribe(events.EnhancedAudioFrameReceived, self._clean, FIRST)

    async def close(self) -> None:
        self._record("end")
        with anyio.move_on_after(CLOSE_S, shield=True):  # also of a session that was cancelled
            await self._disk.close(self._close)

    # --- messages -------------------------------------------------------------------------------

    def received(self, item: str | bytes) -> None:
        if isinstance(item, str):
            self._put(partial(self._message, self._t, "received", item), 2 * len(item))
        elif len(item) % 2:
            self._record("received", bytes=len(item))
        else:
            self._record("received", audio=self._audio("microphone", AudioFrame(item, RATE_IN)))

    def sent(self, items: list[str | bytes]) -> None:
        for item in items:
            if isinstance(item, str):
                self._put(partial(self._message, self._t, "sent", item), 2 * len(item))
            else:
                self._record("sent", samples=len(item) // 2, crc32=zlib.crc32(item))

    def _message(self, t: float, kind: str, text: str) -> None:
        """In the disk's thread: parsing costs the loop nothing."""
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        if isinstance(body, dict):
            self._line({"t": t, "kind": kind, "message": masked("", body)})
        else:
            self._line({"t": t, "kind": kind, "text": text[:TEXT_LIMIT], "length": len(text)})

    # --- events ---------------------------------------------------------------------------------

    def _event(self, event: events.BaseEvent) -> None:
        names = [f.name for f in dataclasses.fields(event) if f.name not in _BASE_FIELDS]
        fields = {name: getattr(event, name) for name in names}
        self._record("event", event=type(event).__name__, fields=fields)

    def _clean(self, event: events.EnhancedAudioFrameReceived) -> None:
        self._record("clean", samples=len(event.audio_data) // 2)

    # --- model calls ----------------------------------------------------------------------------

    def stage(self, name: str, stage: T) -> T:
        """The stage, watched, if it is one that has a beginning and an end."""
        watch = {
            "transcribe": partial(self._watch_pull, name, _frame, _transcript),
            "respond": partial(self._watch_call, name, _part),
            "speak": partial(self._watch_pull, name, self._said, self._chunk),
        }.get(name)
        return stage if watch is None else cast("T", watch(stage))

    def _watch_pull(self, name: str, give: Describe, take: Describe, stage: Any) -> Any:
        async def watched(inputs: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
            call = self._call(name, None)
            async with (
                aclosing(self._inputs(call, inputs, give)) as given,
                aclosing(self._outputs(call, stage(given), take)) as items,
            ):
                async for item in items:
                    yield item

        return watched

    def _watch_call(self, name: str, take: Describe, stage: Any) -> Any:
        async def watched(given: Any) -> AsyncGenerator[Any, None]:
            call = self._call(name, given)
            outputs = stage(given)
            async with aclosing(
                self._outputs(call, outputs, lambda part: self._chunk_or(part, take))
            ) as items:
                async for item in items:
                    yield item

        return watched

    def _call(self, stage: str, given: Any) -> _Running:
        self._calls += 1
        self._record("call", call=self._calls, stage=stage, input=given)
        return _Running(self._calls, self._now())

    async def _inputs(
        self, call: _Running, inputs: AsyncIterator[Any], describe: Describe
    ) -> AsyncGenerator[Any, None]:
        async for item in inputs:
            self._record("in", call=call.number, **describe(item))
            call.since = self._now()
            yield item
        self._record("in", call=call.number, over=True)
        call.since = self._now()

    async def _outputs(
        self, call: _Running, outputs: AsyncIterator[Any], describe: Describe
    ) -> AsyncGenerator[Any, None]:
        how: dict[str, Any] = {"outcome": "cancelled"}
        try:
            async with aclosing(outputs) as items:  # type: ignore[type-var]
                async for item in items:
                    self._record("out", call=call.number, took=self._took(call), **describe(item))
                    yield item
                    call.since = self._now()  # the listener's time is not the model's
            how = {"outcome": "done"}
        except GeneratorExit:
            how = {"outcome": "left"}  # the listener had heard enough
            raise
        except Exception as error:
            how = {"outcome": "failed", "error": type(error).__name__}
            if isinstance(error, ModelError):  # the others' words may hold anything
                how["message"] = str(error)
            raise
        finally:
            self._record("over", call=call.number, took=self._took(call), **how)

    def _took(self, call: _Running) -> float:
        return self._now() - call.since

    def _said(self, item: Any) -> dict[str, Any]:
        if isinstance(item, Sentence):
            return {"sentence": item}
        return self._chunk(item)

    def _chunk_or(self, part: Any, otherwise: Describe) -> dict[str, Any]:
        return self._chunk(part) if isinstance(part, SpeechChunk) else otherwise(part)

    def _chunk(self, chunk: SpeechChunk) -> dict[str, Any]:
        audio = self._audio(f"speech-{chunk.audio.rate}", chunk.audio)
        index = None if chunk.sentence is None else chunk.sentence.index
        return {"audio": audio, "of": index, "words": chunk.words}

    def model(self, model: T) -> T:
        """A detector, watched: its calls are records of their own."""
        if isinstance(model, VAD):
            watched = _AsyncVAD if overrides(model, VAD, "async_is_speech") else _WatchedVAD
            return cast("T", watched(model, self._voice))
        if isinstance(model, TurnDetector):
            return cast("T", _WatchedTurnDetector(model, partial(self._record, "judged")))
        return model

    def _voice(self, probability: float) -> None:
        """From the loop, or from a thread where the detector runs in one."""
        if threading.get_ident() == self._thread:
            self._record("vad", p=probability)
        else:
            self._loop.call_soon_threadsafe(partial(self._record, "vad", p=probability))

    # --- to the disk ----------------------------------------------------------------------------

    @property
    def _t(self) -> float:
        return self._now() - self._session.began

    def _record(self, kind: str, **fields: Any) -> None:
        shown = masked("", {name: _plain(value) for name, value in fields.items()})
        self._write({"t": self._t, "kind": kind, **shown})

    def _audio(self, what: str, frame: AudioFrame) -> dict[str, Any]:
        offset = self._offsets[what]
        self._offsets[what] += frame.samples
        self._put(partial(self._append, what, frame), len(frame.pcm))
        name = f"{self._name}.{what}.wav"
        return {"file": name, "rate": frame.rate, "offset": offset, "samples": frame.samples}

    def _write(self, record: dict[str, Any]) -> None:
        self._put(partial(self._line, record), 500)

    def _put(self, job: Callable[[], object], size: int) -> None:
        self._disk.put(job, size)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}.jsonl"
        path.touch(0o600, exist_ok=False)
        self._lines = path.open("ab", buffering=0)

    def _line(self, record: dict[str, Any]) -> None:
        assert self._lines is not None
        self._lines.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

    def _append(self, what: str, frame: AudioFrame) -> None:
        if what not in self._sound:
            path = self._folder / f"{self._name}.{what}.wav"
            self._sound[what] = WavFile(path, frame.rate)
        self._sound[what].write(frame.pcm)

    def _close(self) -> None:
        for file in (self._lines, *self._sound.values()):
            if file is not None:
                file.close()


@dataclasses.dataclass
class _Running:
    """A call under way; `since` is when the model was last given what it waits for."""

    number: int
    since: float


class _WatchedVAD(VAD):
    def __init__(self, vad: VAD, tell: Callable[[float], None]) -> None:
        self._vad = vad
        self._tell = tell
        self.frame_samples = vad.frame_samples
        self.inline = vad.inline  # type: ignore[misc]

    def is_speech(self, frame: bytes) -> bool:
        return self._vad.is_speech(frame)

    def speech_probability(self, frame: bytes) -> float:
        probability = float(self._vad.speech_probability(frame))
        self._tell(probability)
        return probability

    def reset(self) -> None:
        self._vad.reset()


class _AsyncVAD(_WatchedVAD):
    """One that is async by nature, and is asked so with a log as without."""

    async def async_is_speech(self, frame: bytes) -> bool:
        speech = await self._vad.async_is_speech(frame)
        self._tell(float(speech))
        return speech


class _WatchedTurnDetector(TurnDetector):
    def __init__(self, detector: TurnDetector, tell: Callable[..., None]) -> None:
        self._detector = detector
        self._tell = tell
        self.inline = detector.inline  # type: ignore[misc]

    def judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        asked = {"text": text, "silence_ms": silence_ms, "agent_speaking": agent_speaking}
        verdict = self._detector.judge(**asked)  # type: ignore[arg-type]
        self._tell(input=asked, verdict=verdict)
        return verdict

    async def async_judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        asked = {"text": text, "silence_ms": silence_ms, "agent_speaking": agent_speaking}
        verdict = await self._detector.async_judge(**asked)  # type: ignore[arg-type]
        self._tell(input=asked, verdict=verdict)
        return verdict

    def clone(self) -> TurnDetector:
        return _WatchedTurnDetector(self._detector.clone(), self._tell)


_BASE_FIELDS = frozenset(f.name for f in dataclasses.fields(events.BaseEvent))


def _frame(frame: AudioFrame) -> dict[str, Any]:
    return {"samples": frame.samples}


def _transcript(transcript: Any) -> dict[str, Any]:
    return {"transcript": transcript}


def _part(part: Any) -> dict[str, Any]:
    for name, kind in _PARTS.items():
        if isinstance(part, kind):
            return {name: part}
    return {"part": type(part).__name__}


_PARTS: Mapping[str, type] = {
    "text": Text,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "usage": Usage,
}


def _plain(value: Any) -> Any:
    """As JSON has it. What it cannot say is named by its type: its words may hold anything."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    return f"<{type(value).__name__}>"


# --- reading ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The first line. `began` is ISO 8601 and `wall_ms` the same moment, time 0 of the log."""

    version: int
    session: str
    began: str
    wall_ms: int
    config: Mapping[str, Any]
    models: Mapping[str, str]
    vad_frame_samples: int | None = None
    voices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audio:
    """A place in one of the WAV files."""

    path: Path
    rate: int
    offset: int
    samples: int

    def pcm(self) -> bytes:
        """PCM16 mono. Raises XtalkError when the file does not hold it."""
        try:
            with wave.open(str(self.path), "rb") as file:
                file.setpos(self.offset)
                return file.readframes(self.samples)
        except (OSError, EOFError, wave.Error) as error:
            raise XtalkError(f"{self.path}: the audio of a log cannot be read: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Received:
    """One frame from the client: a message, text that was none, audio, or so many odd bytes."""

    t: float
    message: Mapping[str, Any] | None = None
    text: str | None = None
    audio: Audio | None = None
    odd_bytes: int = 0

    def item(self) -> str | bytes:
        """The frame again, secrets masked."""
        if self.message is not None:
            return json.dumps(self.message, ensure_ascii=False)
        if self.text is not None:
            return self.text
        return bytes(self.odd_bytes) if self.audio is None else self.audio.pcm()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sent:
    """One frame to the client: a message, or audio by its length and checksum."""

    t: float
    message: Mapping[str, Any] | None = None
    samples: int = 0
    crc32: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What went into a call ("in"), came out of it ("out"), or how it ended ("over").

    `took` is the model's own time (s): since it was asked, or given what it had waited for.
    `fields` depends on the stage: see docs/session-log.md.
    """

    t: float
    kind: str
    took: float = 0.0
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    audio: Audio | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One run of `transcribe`, `respond` or `speak`."""

    t: float
    number: int
    stage: str
    input: Any
    steps: list[Step] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """`name` is the class, or "vad", "judged", "clean" for what the detectors said."""

    t: float
    name: str
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Log:
    """A session, each list in the order in which it happened. `ended` is None if it broke off."""

    header: Header
    received: list[Received] = dataclasses.field(default_factory=list)
    sent: list[Sent] = dataclasses.field(default_factory=list)
    calls: list[Call] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)
    ended: float | None = None

    def of(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


def read(path: str | Path) -> Log:
    """The log in this .jsonl file. XtalkError when it is none, or of another version.

    A last line that was cut short, as by a process that died, is left out.
    """
    path = Path(path)
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise XtalkError(f"{path}: cannot be read: {error.strerror}") from error
    records = _records(path, lines[:-1])  # what follows the last newline is not whole
    return _Reader(path).read(_header(path, next(records, {})), records)


def _records(path: Path, lines: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise XtalkError(f"{path}, line {number}: is not a JSON object")
        yield record


def _header(path: Path, record: dict[str, Any]) -> Header:
    version = record.get("xtalk_session_log")
    if version is None:
        raise XtalkError(f"{path}: is not the log of a session")
    if version != VERSION:
        raise XtalkError(f"{path}: is a log of version {version}; this reads version {VERSION}")
    known = {field.name for field in dataclasses.fields(Header)}
    fields = {name: value for name, value in record.items() if name in known}
    fields["voices"] = tuple(fields.get("voices") or ())
    return Header(version=VERSION, **fields)


class _Reader:
    """Kinds that it does not know are passed over: a later writer may add some."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._calls: dict[int, Call] = {}

    def read(self, header: Header, records: Iterator[dict[str, Any]]) -> Log:
        received: list[Received] = []
        sent: list[Sent] = []
        happened: list[Event] = []
        ended = None
        for record in records:
            t, kind = record.pop("t"), record.pop("kind")
            if kind == "received":
                received.append(self._received(t, record))
            elif kind == "sent":
                sent.append(Sent(t=t, **_only(record, "message", "samples", "crc32")))
            elif kind == "call":
                call = Call(t=t, number=record["call"], **_only(record, "stage", "input"))
                self._calls[call.number] = call
            elif kind in ("in", "out", "over"):
                self._calls[record.pop("call")].steps.append(self._step(t, kind, record))
            elif kind == "event":
                happened.append(Event(t=t, name=record["event"], fields=record["fields"]))
            elif kind in ("vad", "judged", "clean"):
                happened.append(Event(t=t, name=kind, fields=record))
            elif kind == "end":
                ended = t
        return Log(
            header=header,
            received=received,
            sent=sent,
            calls=list(self._calls.values()),
            events=happened,
            ended=ended,
        )

    def _received(self, t: float, record: dict[str, Any]) -> Received:
        audio = self._audio(record.get("audio"))
        odd = record.get("bytes", 0)
        return Received(t=t, audio=audio, odd_bytes=odd, **_only(record, "message", "text"))

    def _step(self, t: float, kind: str, record: dict[str, Any]) -> Step:
        audio, took = self._audio(record.pop("audio", None)), record.pop("took", 0.0)
        return Step(t=t, kind=kind, took=took, fields=record, audio=audio)

    def _audio(self, place: dict[str, Any] | None) -> Audio | None:
        if place is None:
            return None
        # Only a name: a log from somebody else must not point into other folders.
        path = self._folder / Path(place["file"]).name
        return Audio(path=path, **_only(place, "rate", "offset", "samples"))


def _only(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names if name in record}
