"""Call into models: the most specific method that the author overrode, one shape for the engine.

    streaming and async   >   streaming   >   one-shot and async   >   one-shot

Sync methods run in the threads of a lease, or directly where the class says `inline`. What
comes back is normalised: text becomes `Text`, bytes become a `SpeechChunk`.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from xtalk.agent import Agent, AgentInput, ReplyPart, Text, ToolCall, ToolResult, Usage
from xtalk.audio import RATE_IN, AudioFrame
from xtalk.characters import Halves, whole
from xtalk.errors import ModelError
from xtalk.speech.interfaces import (
    ASR,
    TTS,
    EndOfTurn,
    SpeechChunk,
    SpeechSpeedController,
    Transcript,
    TurnDetector,
)
from xtalk.threads import Lease, exits_as_errors, run_in_thread

__all__ = [
    "adjust",
    "as_text",
    "change_speed",
    "close_model",
    "judge_turn",
    "open_model",
    "overrides",
    "recognize",
    "respond",
    "synthesize",
]

T = TypeVar("T")

BATCH_S = 0.1  # a thread hop costs what decoding 100 ms does
PARTIAL_S = 1.0  # the least after which a one-shot recogniser is asked again in a segment


def overrides(model: object, base: type, name: str) -> bool:
    """Whether the model's class defines this method itself."""
    method = getattr(type(model), name, None)
    return method is not None and method is not getattr(base, name, None)


async def _call(lease: Lease[Any], function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    if getattr(lease.model, "inline", False):
        with exits_as_errors():
            return function(*args, **kwargs)
    return await lease.run(function, *args, **kwargs)


async def _awaited(answer: Awaitable[T]) -> T:
    with exits_as_errors():
        return await answer


async def _life(model: object, name: str) -> None:
    method = getattr(model, name, None)
    if method is None:
        return
    if inspect.iscoroutinefunction(method):
        await _awaited(method())
    else:
        await run_in_thread(method)


async def open_model(model: object) -> None:
    """The model's `open`, sync or async, if it has one."""
    await _life(model, "open")


async def close_model(model: object) -> None:
    """The model's `close`, sync or async, if it has one."""
    await _life(model, "close")


# --- recognition --------------------------------------------------------------------------------


async def recognize(
    lease: Lease[ASR], frames: AsyncIterator[AudioFrame]
) -> AsyncGenerator[Transcript, None]:
    """One segment: partial transcripts as they change, then exactly one final."""
    asr = lease.model
    if overrides(asr, ASR, "transcribe"):
        async with aclosing(_iterator(asr.transcribe(frames))) as transcripts:
            async for transcript in transcripts:
                if not isinstance(transcript, Transcript):
                    raise ModelError(_unexpected(asr, transcript, "a Transcript"))
                yield transcript
        return
    await _call(lease, asr.reset)
    streams = overrides(asr, ASR, "async_recognize_stream") or overrides(
        asr, ASR, "recognize_stream"
    )
    decode = _stream_decoder(lease) if streams else _one_shot_decoder(lease)
    minimum = _batch_bytes(asr) if streams else 0
    waiting = bytearray()
    text = ""
    async for frame in frames:
        waiting += frame.pcm
        if len(waiting) < minimum:
            continue
        heard = as_text(asr, await decode(bytes(waiting), False))
        waiting.clear()
        if heard and heard != text:
            text = heard
            yield Transcript(text=text)
    yield Transcript(text=as_text(asr, await decode(bytes(waiting), True)), final=True)


def as_text(asr: ASR, answer: Any) -> str:
    """What a recogniser gave. None is nothing heard; ModelError for what is no text."""
    if answer is None:
        return ""
    if not isinstance(answer, str):
        raise ModelError(_unexpected(asr, answer, "text"))
    return answer


def _unexpected(model: object, answer: object, expected: str) -> str:
    return f"{type(model).__name__} gave {type(answer).__name__}, not {expected}."


def _batch_bytes(asr: ASR) -> int:
    hint = asr.stream_chunk_bytes_hint()
    if hint is not None:
        return hint
    takes_any = asr.inline or overrides(asr, ASR, "async_recognize_stream")
    return 0 if takes_any else int(2 * RATE_IN * BATCH_S)


def _stream_decoder(lease: Lease[ASR]) -> Callable[[bytes, bool], Any]:
    asr = lease.model
    if overrides(asr, ASR, "async_recognize_stream"):
        return lambda audio, final: _awaited(asr.async_recognize_stream(audio, is_final=final))
    return lambda audio, final: _call(lease, asr.recognize_stream, audio, is_final=final)


def _one_shot_decoder(lease: Lease[ASR]) -> Callable[[bytes, bool], Any]:
    """Decode the whole segment whenever it has grown by half, and once at its end.

    By half and not by a second, or the cost would grow with the square of the length.
    """
    asr = lease.model
    segment = bytearray()
    decoded = 0
    text = ""

    async def decode(audio: bytes, final: bool) -> str:
        nonlocal decoded, text
        segment.extend(audio)
        further = max(2 * RATE_IN * PARTIAL_S, decoded / 2)
        if not final and len(segment) - decoded < further:
            return text
        decoded = len(segment)
        if not segment:
            return ""
        if overrides(asr, ASR, "async_recognize"):
            text = await _awaited(asr.async_recognize(bytes(segment)))
        else:
            text = await _call(lease, asr.recognize, bytes(segment))
        return text

    return decode


# --- synthesis ----------------------------------------------------------------------------------


async def synthesize(lease: Lease[TTS], text: str) -> AsyncGenerator[SpeechChunk, None]:
    """One sentence as chunks of whole samples."""
    tts = lease.model
    half = b""  # a service may cut its stream in the middle of a sample
    async with aclosing(_most_specific(lease, TTS, "synthesize", text)) as pieces:
        async for piece in pieces:
            if isinstance(piece, SpeechChunk):
                yield piece
                continue
            pcm, rate = (
                (piece.pcm, piece.rate)
                if isinstance(piece, AudioFrame)
                else (bytes(piece), tts.output_rate)
            )
            if half:
                pcm = half + pcm
            even = len(pcm) & ~1
            half = pcm[even:]
            if even:
                yield SpeechChunk(audio=AudioFrame(pcm[:even] if half else pcm, rate))


async def adjust(lease: Lease[Any], change: Callable[[Any], object]) -> None:
    """Call `change` with the model, where its blocking calls run. Raises what that raises."""
    await _call(lease, change, lease.model)


async def change_speed(
    lease: Lease[SpeechSpeedController], pcm: bytes, speed: float, *, last: bool = False
) -> bytes:
    """The audio that is ready; with `last` also what the controller held back."""
    controller = lease.model
    ready = b""
    if pcm:
        if overrides(controller, SpeechSpeedController, "async_process"):
            ready = await _awaited(controller.async_process(pcm, speed))
        else:
            ready = await _call(lease, controller.process, pcm, speed)
    return ready + await _call(lease, controller.flush) if last else ready


# --- the end of a turn ------------------------------------------------------------------------


async def judge_turn(
    lease: Lease[TurnDetector], text: str, *, silence_ms: float, agent_speaking: bool
) -> EndOfTurn:
    """The verdict on a text that this much silence has followed."""
    detector = lease.model
    if overrides(detector, TurnDetector, "async_judge"):
        judging = detector.async_judge(text, silence_ms=silence_ms, agent_speaking=agent_speaking)
        return await _awaited(judging)
    return await _call(
        lease, detector.judge, text, silence_ms=silence_ms, agent_speaking=agent_speaking
    )


# --- the agent ----------------------------------------------------------------------------------


async def respond(lease: Lease[Agent], input: AgentInput) -> AsyncGenerator[ReplyPart, None]:
    """The parts of one reply. Halves of a character that came apart are joined."""
    halves = Halves()
    async with aclosing(_most_specific(lease, Agent, "generate", input)) as parts:
        async for part in parts:
            if isinstance(part, tuple):  # a whole reply: its text, and its tool calls
                text, calls = part
                for call in calls:
                    yield normalise(call)
                part = text
            yield _whole(normalise(part), halves)


def _whole(part: ReplyPart, halves: Halves) -> ReplyPart:
    if isinstance(part, Text):
        return replace(part, text=halves.push(part.text))
    return replace(part, content=whole(part.content)) if isinstance(part, ToolResult) else part


def normalise(part: Any) -> ReplyPart:
    """What an agent yields, as one of the types that the engine and the wrappers see."""
    if isinstance(part, str):
        return Text(text=part)
    if isinstance(part, (Text, ToolCall, ToolResult, Usage, SpeechChunk)):
        return part
    if isinstance(part, Mapping) and part.get("name") == "tool_call_result":
        return _result(**part["args"])  # as agents of the original tell it
    if isinstance(part, Mapping) and "name" in part:
        return ToolCall(part["name"], part.get("args"), id=str(part.get("id") or ""))
    raise ModelError(f"an agent may yield text and tool calls, not {type(part).__name__}")


def _result(name: str, content: Any, args: Mapping[str, Any] | None = None) -> ToolResult:
    return ToolResult(id="", name=name, content=str(content), args=dict(args or {}))


def _most_specific(
    lease: Lease[Any], base: type, method: str, argument: Any
) -> AsyncGenerator[Any, None]:
    """What the first of the method's four forms gives that the class overrides."""
    model = lease.model
    if overrides(model, base, f"async_{method}_stream"):
        return _iterator(getattr(model, f"async_{method}_stream")(argument))
    if overrides(model, base, f"{method}_stream"):
        stream = partial(getattr(model, f"{method}_stream"), argument)
        return _in_place(stream) if getattr(model, "inline", False) else lease.iterate(stream)
    if overrides(model, base, f"async_{method}"):
        return _once(getattr(model, f"async_{method}")(argument))
    return _once(_call(lease, getattr(model, method), argument))


async def _once(answer: Awaitable[Any]) -> AsyncGenerator[Any, None]:
    yield await _awaited(answer)


async def _in_place(stream: Callable[[], Iterable[Any]]) -> AsyncGenerator[Any, None]:
    with exits_as_errors():
        for item in stream():
            yield item


async def _iterator(source: Any) -> AsyncGenerator[Any, None]:
    """An async iterator, or a coroutine that returns one, closed when this is."""
    try:
        with exits_as_errors():
            if inspect.isawaitable(source):
                source = await source
            async for item in source:
                yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
