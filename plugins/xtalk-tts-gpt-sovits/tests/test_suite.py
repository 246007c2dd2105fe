"""GPTSoVITS keeps what the slot promises, and tells in words what its server fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from fake_gpt_sovits import FakeGPTSoVITS
from xtalk_tts_gpt_sovits.voice import GPTSoVITS

from xtalk.testing.services import Fault, ServiceChecks, running
from xtalk.testing.suites import TTSSuite

PATHS = ["voices/anna.wav", "voices/ben.wav"]


class TestGPTSoVITS(ServiceChecks, TTSSuite):
    model = GPTSoVITS
    params: ClassVar = {"ref_audio_paths": PATHS, "streaming_mode": True, "timeout": 1.0}
    sdk = ("httpx", "xtalk.speech.remote")

    @pytest.fixture
    def service(self) -> Iterator[FakeGPTSoVITS]:
        with running(FakeGPTSoVITS(PATHS)) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeGPTSoVITS) -> Mapping[str, Any]:
        return {**self.params, "port": service.port}


class TestGPTSoVITSWhole(TestGPTSoVITS):
    """Without streaming_mode the server answers in one piece, so nothing breaks behind it."""

    params: ClassVar = {"ref_audio_paths": PATHS, "timeout": 1.0}
    streams = False
    faults: ClassVar = set(Fault) - {Fault.CUT, Fault.SILENCE}
