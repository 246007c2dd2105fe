"""Microphone and loudspeaker, with a sound card that is not there."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from xtalk.audio import AudioFrame
from xtalk.cli import main
from xtalk.commands.sound_card import SoundCard
from xtalk.errors import NotAvailable


class FakeStream:
    def __init__(self, card: FakeCard, callback: Any, **format: Any) -> None:
        if card.broken:
            raise card.PortAudioError("no device")
        self.callback = callback
        self.format = format
        self.open = True
        card.streams.append(self)

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.open = False


class FakeCard(SimpleNamespace):
    """As much of sounddevice as is used."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__(streams=[], broken=False)

    def RawOutputStream(self, **options: Any) -> FakeStream:
        return FakeStream(self, **options)

    def RawInputStream(self, **options: Any) -> FakeStream:
        return FakeStream(self, **options)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCard:
    card = FakeCard()
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    return card


def play(stream: FakeStream, size: int) -> bytes:
    out = bytearray(size)
    stream.callback(memoryview(out), size // 2, None, None)
    return bytes(out)


def test_the_loudspeaker_plays_in_order_and_falls_silent(fake: FakeCard) -> None:
    with SoundCard() as card:
        (speaker,) = fake.streams
        assert speaker.format == {"samplerate": 48000, "channels": 1, "dtype": "int16"}
        assert play(speaker, 4) == bytes(4)
        card.put(b"\1\2\3\4")
        card.put(b"\5\6")
        assert play(speaker, 4) == b"\1\2\3\4"
        assert play(speaker, 4) == b"\5\6\0\0"
        card.put(b"\7\7\7\7")
        card.clear()
        assert play(speaker, 4) == bytes(4)
    assert not speaker.open


def test_the_microphone_speaks_on_the_loop(fake: FakeCard) -> None:
    got: list[tuple[AudioFrame, str]] = []

    async def record() -> None:
        here = threading.current_thread().name
        with SoundCard() as card:
            card.record(lambda frame: got.append((frame, threading.current_thread().name)))
            stream = fake.streams[-1]
            assert stream.format["blocksize"] == 512
            await asyncio.to_thread(stream.callback, b"\1\2", 1, None, None)
            await asyncio.sleep(0)
        assert got == [(AudioFrame(b"\1\2", 16000), here)]

    asyncio.run(record())


def test_a_device_that_does_not_open_is_one_sentence(fake: FakeCard) -> None:
    fake.broken = True
    with pytest.raises(NotAvailable, match="the loudspeaker cannot be opened: no device"):
        SoundCard().__enter__()


def test_the_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["talk"]) == 1
    assert 'pip install "xtalk-core[mic]"' in capsys.readouterr().err
