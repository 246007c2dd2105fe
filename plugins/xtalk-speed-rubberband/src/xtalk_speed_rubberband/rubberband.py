"""Speech at another pace with its pitch kept, by the Rubber Band library in this process."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_OUT, float_to_pcm, pcm_to_float
from xtalk.speech.interfaces import SpeechSpeedController

__all__ = ["RubberbandSpeedController"]

SLOWEST, FASTEST = 0.5, 1.5
BLOCK = 2048  # samples at a time, so that a long piece does not hold other threads up


class RubberbandSpeedController(SpeechSpeedController):
    """One stream from the first piece to `flush`, whatever the size of the pieces.

    The first audio comes when 40 to 80 ms have gone in. The speed may change between two pieces;
    one below 0.5 is taken as 0.5, and one above 1.5 as 1.5.
    """

    inline = False  # a whole sentence can come in one piece, and takes some 20 ms a second

    def __init__(
        self,
        sample_rate: Annotated[
            int,
            Field(ge=8_000, le=192_000, description="of the audio, in Hz; here 48000"),
        ] = RATE_OUT,
    ) -> None:
        import pylibrb

        self.sample_rate = sample_rate
        self._library = pylibrb
        self._stretcher: Any = None
        self._clear()

    def _clear(self) -> None:
        self._due = 0.0  # samples that the input so far makes
        self._given = 0
        self._early = 0  # samples from before the first one, to be left out

    def process(self, audio: bytes, speed: float) -> bytes:
        """The audio that is ready: PCM16, between none and several times as much as came."""
        if not audio:
            return b""
        speed = min(max(speed, SLOWEST), FASTEST)
        if self._stretcher is None:
            self._stretcher = self._begin(speed)
        self._stretcher.time_ratio = 1 / speed
        samples = pcm_to_float(audio)
        self._due += samples.size / speed
        ready = b""
        for start in range(0, samples.size, BLOCK):
            self._stretcher.process(samples[None, start : start + BLOCK])
            ready += self._ready()
        return ready

    def flush(self) -> bytes:
        """The rest, so that the stream lasts as long as its speeds say; then a new one begins."""
        import numpy as np

        if self._stretcher is None:
            return b""
        self._stretcher.process(np.zeros((1, 0), np.float32), True)
        left = max(0, round(self._due) - self._given)
        rest = self._ready()[: 2 * left]
        self._stretcher = None
        self._clear()
        return rest

    def clone(self) -> RubberbandSpeedController:
        return type(self)(self.sample_rate)

    def _begin(self, speed: float) -> Any:
        """A stretcher that has heard silence up to the first sample."""
        import numpy as np

        option = self._library.Option
        # The finer engine keeps the pitch within 0.1 %; with its short window it costs no more
        # than the faster one, and answers sooner.
        stretcher = self._library.RubberBandStretcher(
            self.sample_rate,
            1,
            option.PROCESS_REALTIME
            | option.ENGINE_FINER
            | option.WINDOW_SHORT
            | option.THREADING_NEVER,
            1 / speed,
        )
        stretcher.set_max_process_size(BLOCK)
        stretcher.process(np.zeros((1, stretcher.get_preferred_start_pad()), np.float32))
        self._early = stretcher.get_start_delay()
        return stretcher

    def _ready(self) -> bytes:
        """What the stretcher has, without what lies before the first sample."""
        found = []
        while (count := self._stretcher.available()) > 0:
            samples = self._stretcher.retrieve(count)[0]
            early = min(self._early, samples.size)
            self._early -= early
            found.append(float_to_pcm(samples[early:]))
        pcm = b"".join(found)
        self._given += len(pcm) // 2
        return pcm
