"""The five stages of the cascade: their shapes, and `timed`.

    enhance     push   AudioFrame -> AudioFrames          endless and cheap, on every frame
    detect      push   AudioFrame -> Speech events
    transcribe  pull   frames of a segment -> Transcripts one async generator a segment
    respond     pull   AgentInput -> parts of the reply   one a turn
    speak       pull   Sentences -> SpeechChunks          one a turn

A wrapper takes the stage and returns one of the same shape.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

import anyio

from xtalk.agent import AgentInput, ReplyPart
from xtalk.audio import AudioFrame
from xtalk.errors import ModelTimeout
from xtalk.speech.interfaces import Sentence, Speech, SpeechChunk, Transcript

__all__ = [
    "Detect",
    "Enhance",
    "Respond",
    "Speak",
    "Transcribe",
    "WrapDetect",
    "WrapEnhance",
    "WrapRespond",
    "WrapSpeak",
    "WrapTranscribe",
    "timed",
]


class Enhance(Protocol):
    """Push shape: what comes out may lag behind what went in; `flush` brings the rest."""

    def push(self, frame: AudioFrame) -> Sequence[AudioFrame]: ...

    def flush(self) -> Sequence[AudioFrame]: ...


class Detect(Protocol):
    """Push shape: most frames bring no event."""

    def push(self, frame: AudioFrame) -> Sequence[Speech]: ...

    def flush(self) -> Sequence[Speech]: ...


Transcribe = Callable[[AsyncIterator[AudioFrame]], AsyncIterator[Transcript]]
Respond = Callable[[AgentInput], AsyncIterator[ReplyPart]]
Speak = Callable[[AsyncIterator[Sentence]], AsyncIterator[SpeechChunk]]

WrapEnhance = Callable[[Enhance], Enhance]
WrapDetect = Callable[[Detect], Detect]
WrapTranscribe = Callable[[Transcribe], Transcribe]
WrapRespond = Callable[[Respond], Respond]
WrapSpeak = Callable[[Speak], Speak]

log = logging.getLogger(__name__)

T = TypeVar("T")


async def timed(source: AsyncIterator[T], seconds: float, who: str) -> AsyncGenerator[T, None]:
    """The same items; ModelTimeout when one of them takes longer than `seconds` to come.

    The log then names the model, `who`: no client is told of a class. The limit holds for each item
    by itself and does not count the time that the consumer takes, as `fail_after` around a `yield`
    would.
    """
    try:
        while True:
            try:
                with anyio.fail_after(seconds):
                    item = await anext(source)
            except StopAsyncIteration:
                return
            except TimeoutError:
                log.warning("%s was silent for %g s", who, seconds)
                raise ModelTimeout(f"A model was silent for {seconds:g} s.") from None
            yield item
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
