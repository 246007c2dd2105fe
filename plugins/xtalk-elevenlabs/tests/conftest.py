"""The fake beside the tests, for every test; no key and no proxy of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing.services import KEY, running

sys.path.insert(0, str(Path(__file__).parent))

from fake_elevenlabs import FakeElevenLabs


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def service() -> Iterator[FakeElevenLabs]:
    with running(FakeElevenLabs()) as service:
        yield service


@pytest.fixture
def at(service: FakeElevenLabs) -> dict[str, Any]:
    """The arguments that lead to the fake."""
    return {
        "base_url": f"http://127.0.0.1:{service.port}",
        "realtime_url": f"ws://127.0.0.1:{service.port}",
        "api_key": KEY,
    }
