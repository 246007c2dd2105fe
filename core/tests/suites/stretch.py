"""A small time stretch (overlap-add of waveforms alike), for a suite to be tested with."""

from __future__ import annotations

from typing import Any

from xtalk.audio import float_to_pcm, pcm_to_float
from xtalk.speech.interfaces import SpeechSpeedController

HOP = 960  # samples of output a step, 20 ms
REACH = 480  # how far the best place is looked for


class Stretch(SpeechSpeedController):
    """Takes, for each step of the output, the input that goes on best with what came before."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        import numpy as np

        self.input = np.zeros(0, np.float32)
        self.place = 0.0  # where the next step would be taken from, in samples of `input`
        self.tail: Any = None
        self.ramp = np.linspace(0, 1, HOP, endpoint=False, dtype=np.float32)
        self.taken, self.owed = 0, 0.0

    def limited(self, speed: float) -> float:
        return min(max(speed, 0.5), 1.5)

    def process(self, audio: bytes, speed: float) -> bytes:
        import numpy as np

        self.input = np.concatenate([self.input, pcm_to_float(audio)])
        speed = self.limited(speed)
        self.owed += len(audio) / 2 / speed
        steps = []
        while self.place + 2 * HOP + REACH <= self.input.size:
            steps.append(self.step(speed))
        return self.given(b"".join(map(float_to_pcm, steps)))

    def step(self, speed: float) -> Any:
        import numpy as np

        start = round(self.place)
        if self.tail is None:
            self.tail = self.input[start : start + HOP]
        begin = max(0, start - REACH)
        near = self.input[begin : start + REACH + HOP]
        likeness = np.correlate(near, self.tail, "valid")
        start = begin + int(np.argmax(likeness))
        here = self.input[start : start + HOP]
        step = self.tail + self.ramp * (here - self.tail)
        self.tail = self.input[start + HOP : start + 2 * HOP]
        self.place += HOP * speed
        old = max(0, int(self.place) - REACH)
        self.input, self.place = self.input[old:], self.place - old
        return step

    def given(self, pcm: bytes) -> bytes:
        self.taken += len(pcm) // 2
        return pcm

    def flush(self) -> bytes:
        rest = max(0, round(self.owed) - self.taken)
        left = self.input[int(self.place) :][:rest] if self.tail is not None else self.input[:rest]
        self.begin()
        return float_to_pcm(left)
