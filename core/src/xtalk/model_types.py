"""The slot interfaces under the import path of the original, for annotations and subclasses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from xtalk.agent import Agent
from xtalk.rewriter import Rewriter
from xtalk.speech.interfaces import (
    ASR,
    TTS,
    VAD,
    Captioner,
    PuntRestorer,
    SpeakerEncoder,
    SpeechEnhancer,
    SpeechSpeedController,
    TurnDetector,
)

__all__ = [
    "ASR",
    "TTS",
    "VAD",
    "Agent",
    "BaseChatModel",
    "Captioner",
    "Embeddings",
    "PuntRestorer",
    "Rewriter",
    "SpeakerEncoder",
    "SpeechEnhancer",
    "SpeechSpeedController",
    "TurnDetector",
]


@runtime_checkable
class BaseChatModel(Protocol):
    """A chat model; langchain's classes satisfy it, and core needs no langchain."""

    def invoke(self, input: Any, *args: Any, **kwargs: Any) -> Any: ...

    async def ainvoke(self, input: Any, *args: Any, **kwargs: Any) -> Any: ...

    def astream(self, input: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]: ...


@runtime_checkable
class Embeddings(Protocol):
    """Text to vectors; langchain's classes satisfy it, and core needs no langchain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...

    def embed_query(self, text: str) -> list[float]: ...
