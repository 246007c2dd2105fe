"""Microphone and loudspeaker of this machine, through sounddevice (the extra `mic`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from xtalk.audio import RATE_IN, RATE_OUT, AudioFrame
from xtalk.errors import NotAvailable

__all__ = ["SoundCard"]

FRAME_SAMPLES = 512


class SoundCard:
    """`record` gives the microphone to a function; `put` and `clear` are the loudspeaker.

    Entering it is NotAvailable, in one sentence, where something is missing.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._streams: list[Any] = []

    def __enter__(self) -> SoundCard:
        try:
            import sounddevice
        except ModuleNotFoundError:
            raise NotAvailable(
                'the microphone needs sounddevice: pip install "xtalk-core[mic]"; '
                "or talk with a recording: --wav"
            ) from None
        except OSError as error:
            raise NotAvailable(
                f"sounddevice does not find the library PortAudio ({error}); "
                "install it (Debian: libportaudio2), or talk with a recording: --wav"
            ) from None
        self._sounddevice = sounddevice
        try:
            speaker = sounddevice.RawOutputStream(
                samplerate=RATE_OUT, channels=1, dtype="int16", callback=self._fill
            )
            self._streams.append(speaker)
            speaker.start()
        except sounddevice.PortAudioError as error:
            self.__exit__()
            raise NotAvailable(f"the loudspeaker cannot be opened: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        while self._streams:
            self._streams.pop().close()

    def record(self, send: Callable[[AudioFrame], None]) -> None:
        """Call `send` on this event loop with each frame of 512 samples at 16 kHz."""
        loop = asyncio.get_running_loop()

        def take(data: Any, frames: int, time: Any, status: Any) -> None:
            loop.call_soon_threadsafe(send, AudioFrame(bytes(data), RATE_IN))

        try:
            microphone = self._sounddevice.RawInputStream(
                samplerate=RATE_IN,
                channels=1,
                dtype="int16",
                blocksize=FRAME_SAMPLES,
                callback=take,
            )
            self._streams.append(microphone)
            microphone.start()
        except self._sounddevice.PortAudioError as error:
            raise NotAvailable(f"the microphone cannot be opened: {error}") from None

    def put(self, pcm: bytes) -> None:
        """Play this after what was put before; PCM16 mono at 48 kHz."""
        with self._lock:
            self._waiting += pcm

    def clear(self) -> None:
        """Fall silent and forget what was put."""
        with self._lock:
            self._waiting.clear()

    def _fill(self, out: Any, frames: int, time: Any, status: Any) -> None:
        with self._lock:
            ready = bytes(self._waiting[: len(out)])
            del self._waiting[: len(out)]
        out[:] = ready.ljust(len(out), b"\0")
