"""What the suite of the slot does not ask."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from xtalk_speed_rubberband.rubberband import RubberbandSpeedController

from xtalk.audio import RATE_OUT, float_to_pcm, pcm_to_float, resample
from xtalk.testing.recordings import recording

PIECE = 2 * RATE_OUT // 50  # bytes, 20 ms


def sine(hz: float, seconds: float = 2.0, rate: int = RATE_OUT) -> bytes:
    return float_to_pcm(0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate))


def paced(controller: RubberbandSpeedController, pcm: bytes, speed: float) -> bytes:
    pieces = [
        controller.process(pcm[start : start + PIECE], speed) for start in range(0, len(pcm), PIECE)
    ]
    return b"".join(pieces) + controller.flush()


def crossings(pcm: bytes) -> int:
    """How often the middle of the sound goes from below zero to above."""
    samples = pcm_to_float(pcm)
    middle = samples[samples.size // 4 : -samples.size // 4]
    return int(((middle[:-1] < 0) & (middle[1:] >= 0)).sum())


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 1.5])
def test_trap_89_pieces_of_20_ms_make_one_tone(speed: float) -> None:
    """The original leaves those under 50 ms as they are, and begins anew with each other."""
    slow = paced(RubberbandSpeedController(), sine(300), speed)
    assert abs(len(slow) / 2 / (2 * RATE_OUT / speed) - 1) < 0.001
    seconds = len(slow) / 2 / RATE_OUT / 2  # of the middle
    assert abs(crossings(slow) / seconds - 300) <= 3


def test_trap_89_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a process for each piece costs more than the piece")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert paced(RubberbandSpeedController(), sine(300), 0.8)


@pytest.mark.parametrize("hz", [80.0, 120.0, 250.0, 1_000.0, 4_000.0])
def test_high_and_low_tones_keep_their_pitch(hz: float) -> None:
    slow = paced(RubberbandSpeedController(), sine(hz, 4.0), 0.7)
    seconds = len(slow) / 2 / RATE_OUT / 2
    assert abs(crossings(slow) / seconds / hz - 1) < 0.01


def test_the_first_audio_comes_within_80_ms() -> None:
    controller = RubberbandSpeedController()
    sound = resample(recording("what-can-you-do"), RATE_OUT).pcm[: 4 * PIECE]
    pieces = [sound[start : start + PIECE] for start in range(0, len(sound), PIECE)]
    assert any(controller.process(piece, 1.5) for piece in pieces)


def test_it_ends_where_the_speech_ended() -> None:
    """What was said last is there, and no hum behind it."""
    sound = np.concatenate([pcm_to_float(sine(300, 1.0)), np.zeros(RATE_OUT // 2, np.float32)])
    slow = pcm_to_float(paced(RubberbandSpeedController(), float_to_pcm(sound), 0.8))
    loud = np.abs(slow) > 0.1
    end = int(np.flatnonzero(loud)[-1]) / RATE_OUT
    assert abs(end - 1.0 / 0.8) < 0.03


def test_another_rate() -> None:
    slow = paced(RubberbandSpeedController(16_000), sine(300, 2.0, 16_000), 0.8)
    assert abs(len(slow) / 2 / (2 * 16_000 / 0.8) - 1) < 0.001


def test_a_long_sentence_in_one_piece() -> None:
    controller = RubberbandSpeedController()
    sound = sine(300, 10.0)
    began = time.process_time()
    slow = controller.process(sound, 0.8) + controller.flush()
    assert time.process_time() - began < 2.0, "a tenth of what it lasts"
    assert abs(len(slow) / (len(sound) / 0.8) - 1) < 0.001


def test_it_says_nothing_of_its_own() -> None:
    """The library writes to stderr what it wonders at."""
    code = (
        "from xtalk_speed_rubberband.rubberband import RubberbandSpeedController as C\n"
        "c = C(); c.process(bytes(960000), 0.7)\n"
        "c.process(bytes(14), 1.5); c.flush(); c.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
