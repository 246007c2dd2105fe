"""From pieces of MP3 to samples, as they come, without the silence at the end."""

from __future__ import annotations

from typing import Any

from xtalk.remote import Unreadable

__all__ = ["RATE", "Mp3", "TailTrim"]

RATE = 24_000  # what edge-tts asks the service for, mono


class Mp3:
    """A decoder into which pieces of any size are pushed: PCM16 at 24 kHz comes out."""

    def __init__(self) -> None:
        import av

        self._decoder = av.CodecContext.create("mp3", "r")
        self._error: type[Exception] = av.FFmpegError

    def push(self, piece: bytes) -> bytes:
        """What can be decoded by now. Unreadable when it is no MP3 of 24 kHz, mono."""
        return self._decode(piece, last=False)

    def flush(self) -> bytes:
        """The last frame, whose end only the end of the stream shows."""
        return self._decode(b"", last=True)

    def _decode(self, piece: bytes, *, last: bool) -> bytes:
        packets = self._decoder.parse(piece) if piece or last else []
        try:
            frames = [frame for packet in packets for frame in self._decoder.decode(packet)]
            frames += self._decoder.decode(None) if last else []
        except self._error:
            raise Unreadable("MP3") from None
        return b"".join(map(_samples, frames))


def _samples(frame: Any) -> bytes:
    if (frame.format.name, frame.sample_rate, frame.layout.name) != ("s16p", RATE, "mono"):
        raise Unreadable("MP3 of 24 kHz, mono")
    return bytes(frame.planes[0])[: 2 * frame.samples]  # a plane may be longer


class TailTrim:
    """Holds silence back until something follows it; at the end only `pad_ms` of it are let go.

    Silent is a frame of `frame_ms` whose level is below `threshold_db` (of full scale). Silence at
    the end that is shorter than `min_silence_ms` stays whole.
    """

    def __init__(
        self, *, threshold_db: float, min_silence_ms: int, frame_ms: int, pad_ms: int
    ) -> None:
        self._level = 32768 * 10 ** (threshold_db / 20)
        self._frame = 2 * max(1, RATE * frame_ms // 1000)
        self._least = 2 * (RATE * min_silence_ms // 1000)
        self._pad = 2 * (RATE * pad_ms // 1000)
        self._rest = b""  # less than a frame
        self._held = bytearray()

    def push(self, pcm: bytes) -> bytes:
        """All up to the last frame that is not silent."""
        pcm = self._rest + pcm
        end = len(pcm) - len(pcm) % self._frame
        self._rest = pcm[end:]
        ready = bytearray()
        for start in range(0, end, self._frame):
            frame = pcm[start : start + self._frame]
            self._held += frame
            if not self._is_silent(frame):
                ready += self._held
                self._held.clear()
        return bytes(ready)

    def flush(self) -> bytes:
        """What is kept of the end."""
        if self._rest and not self._is_silent(self._rest):
            return bytes(self._held) + self._rest
        tail = bytes(self._held) + self._rest
        return tail[: self._pad] if len(tail) >= self._least else tail

    def _is_silent(self, pcm: bytes) -> bool:
        import numpy as np

        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
        return float(np.sqrt(np.mean(samples**2))) < self._level
