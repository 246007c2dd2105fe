"""Sound that knows its rate: frames of PCM, silence, framing, and conversion.

All audio inside xtalk is PCM16 little-endian mono. The wire carries 16 kHz in and 48 kHz out.
numpy and soxr load at the first conversion, so that importing this module stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xtalk.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "RATE_IN",
    "RATE_OUT",
    "AudioFrame",
    "Framer",
    "Resampler",
    "float_to_pcm",
    "leading_silence",
    "pcm_to_float",
    "resample",
    "silence",
]

RATE_IN = 16_000
RATE_OUT = 48_000


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """PCM16 mono samples and the rate (Hz) at which they were taken."""

    pcm: bytes
    rate: int

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def seconds(self) -> float:
        return len(self.pcm) / (2 * self.rate)

    def check(self) -> AudioFrame:
        """Itself, or AudioError when a sample is cut in half or the rate is impossible."""
        if len(self.pcm) % 2:
            raise AudioError(f"PCM16 needs an even number of bytes, got {len(self.pcm)}")
        if self.rate <= 0:
            raise AudioError(f"a sample rate must be positive, got {self.rate}")
        return self


def silence(seconds: float, rate: int = RATE_OUT) -> AudioFrame:
    """Zero samples of that length, rounded to whole samples."""
    return AudioFrame(bytes(2 * round(seconds * rate)), rate)


def pcm_to_float(pcm: bytes) -> npt.NDArray[np.float32]:
    """Shape (samples,), in [-1, 1)."""
    import numpy as np

    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


def float_to_pcm(samples: npt.ArrayLike) -> bytes:
    """PCM16 of samples in [-1, 1]; louder ones are clipped, not wrapped, and NaN is silence."""
    import numpy as np

    scaled = np.rint(np.asarray(samples, dtype=np.float32) * 32768.0)
    clipped = np.nan_to_num(np.clip(scaled, -32768, 32767), copy=False)
    return bytes(clipped.astype("<i2").tobytes())


def resample(frame: AudioFrame, rate: int) -> AudioFrame:
    """A whole recording at another rate; for a stream use Resampler, which has no seams."""
    if frame.rate == rate:
        return frame
    resampler = Resampler(frame.rate, rate)
    return AudioFrame(resampler.push(frame.pcm) + resampler.flush(), rate)


def leading_silence(pcm: bytes, level: int = 64) -> int:
    """How many samples of PCM16 pass before one is louder than `level` (of 32768)."""
    import numpy as np

    loud = np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)) > level
    first = int(loud.argmax()) if loud.size else 0
    return first if loud.size and loud[first] else loud.size


class Resampler:
    """A stream of PCM16 from one rate to another, with state, so that chunks join without clicks.

    The sound does not depend on how it was cut, and silence stays silence: soxr works on floats,
    for to PCM16 of its own it adds a dither that begins anew with each chunk. Equal rates pass
    through untouched. soxr's QQ quality holds back no samples to speak of (HQ holds back 18 to
    37 ms, which a live conversation would hear as delay).
    """

    def __init__(self, from_rate: int, to_rate: int, quality: str = "QQ") -> None:
        self.from_rate = from_rate
        self.to_rate = to_rate
        self._quality = quality
        self._stream: Any = None
        self._odd = b""

    def push(self, pcm: bytes) -> bytes:
        """What is ready so far; a trailing half sample waits for its other half."""
        if self._odd:
            pcm = self._odd + pcm
        cut = len(pcm) & ~1
        self._odd = pcm[cut:]
        return self._convert(pcm[:cut], last=False)

    def flush(self) -> bytes:
        """The rest. A half sample that never got its other half is dropped."""
        self._odd = b""
        tail = self._convert(b"", last=True)
        self._stream = None
        return tail

    def _convert(self, pcm: bytes, *, last: bool) -> bytes:
        if self.from_rate == self.to_rate:
            return pcm
        if self._stream is None:
            if last:
                return b""
            import soxr

            self._stream = soxr.ResampleStream(
                self.from_rate, self.to_rate, 1, dtype="float32", quality=self._quality
            )
        return float_to_pcm(self._stream.resample_chunk(pcm_to_float(pcm), last=last))


class Framer:
    """Cuts a stream of PCM16 into frames of one size (a voice-activity model wants 512 samples)."""

    def __init__(self, samples: int) -> None:
        self._bytes = 2 * samples
        self._rest = b""

    def push(self, pcm: bytes) -> list[bytes]:
        """Every frame that is now complete."""
        if self._rest:
            pcm = self._rest + pcm
        size = self._bytes
        end = len(pcm) - len(pcm) % size
        self._rest = pcm[end:]
        return [pcm[i : i + size] for i in range(0, end, size)]

    def reset(self) -> None:
        self._rest = b""
