"""ElevenLabs keeps what the slots promise, and tells in words what the service fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from fake_elevenlabs import SPLIT, FakeElevenLabs
from xtalk_elevenlabs.asr import ElevenLabsASR
from xtalk_elevenlabs.tts import ElevenLabsTTS

from xtalk.testing.recordings import TEXTS
from xtalk.testing.services import Fault, ServiceChecks, running
from xtalk.testing.suites import ASRSuite, TTSSuite

pytestmark = SPLIT
SDK = ("httpx", "websockets", "xtalk.remote", "xtalk.speech.remote")


class OnLoopback(ServiceChecks):
    """The adaptor at the fake's addresses."""

    params: ClassVar[Mapping[str, Any]] = {}
    sdk = SDK
    limits = ("timeout", "request_timeout")

    @pytest.fixture
    def service(self) -> Iterator[FakeElevenLabs]:
        with running(FakeElevenLabs()) as service:
            yield service

    @pytest.fixture
    def arguments(self, at: dict[str, Any]) -> Mapping[str, Any]:
        return {**at, **self.params}


class TestElevenLabsASR(OnLoopback, ASRSuite):
    """Streaming, the segment ended by us."""

    model = ElevenLabsASR
    params: ClassVar = {"mode": "streaming", "request_timeout": 1.0}
    expected = TEXTS["what-time-is-it"]


class TestElevenLabsASRByPauses(TestElevenLabsASR):
    """Streaming, the segment also cut by the service; each word with its time."""

    params: ClassVar = {
        "mode": "streaming",
        "request_timeout": 1.0,
        "commit_strategy": "vad",
        "include_timestamps": True,
    }


class TestElevenLabsASROffline(TestElevenLabsASR):
    """One request for a segment, and one answer: nothing breaks behind its first piece."""

    params: ClassVar = {"mode": "offline", "request_timeout": 1.0}
    streams = False
    faults: ClassVar = set(Fault) - {Fault.CUT, Fault.SILENCE}


class TestElevenLabsTTS(OnLoopback, TTSSuite):
    """Over HTTP."""

    model = ElevenLabsTTS
    params: ClassVar = {
        "timeout": 1.0,
        "voices": {"Anna": "voice-of-anna", "Ben": "voice-of-ben"},
    }


class TestElevenLabsTTSWithWords(TestElevenLabsTTS):
    """Over the WebSocket."""

    params: ClassVar = {**TestElevenLabsTTS.params, "transport": "websocket"}
