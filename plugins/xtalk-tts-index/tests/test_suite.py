"""IndexTTS and IndexTTS2 keep what the slot promises, and tell in words what their server fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_index_tts import FakeIndexTTS, FakeIndexTTS2
from xtalk_tts_index.voices import IndexTTS, IndexTTS2

from xtalk.testing.services import ServiceChecks, running
from xtalk.testing.suites import TTSSuite

VOICES = [{"name": "anna", "path": "voices/anna.wav"}, {"name": "ben", "path": "voices/ben.wav"}]
PATHS = [voice["path"] for voice in VOICES]


class TestIndexTTS(ServiceChecks, TTSSuite):
    model = IndexTTS
    sdk = ("httpx", "xtalk.speech.remote")

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[FakeIndexTTS]:
        with running(FakeIndexTTS(tmp_path, PATHS)) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeIndexTTS) -> Mapping[str, Any]:
        return {"voices": VOICES, "host": "127.0.0.1", "port": service.port, "timeout": 1.0}


class TestIndexTTS2(ServiceChecks, TTSSuite):
    model = IndexTTS2
    sdk = ("httpx", "xtalk.speech.remote")

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[FakeIndexTTS2]:
        with running(FakeIndexTTS2(tmp_path, PATHS)) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeIndexTTS2) -> Mapping[str, Any]:
        return {"voices": VOICES, "host": "127.0.0.1", "port": service.port, "timeout": 1.0}
