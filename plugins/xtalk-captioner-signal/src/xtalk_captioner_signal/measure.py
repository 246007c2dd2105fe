"""Measure speech: how loud, how noisy, how fast, how high.

The pitch is that of Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound" (1993): the autocorrelation of a window, divided by
that of the window function. The rate is that of De Jong and Wempe, "Praat script to detect
syllable nuclei and measure speech rate automatically" (2009): voiced peaks of the intensity with a
dip between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xtalk.audio import RATE_IN, pcm_to_float

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Flags = npt.NDArray[np.bool_]

__all__ = ["Measures", "measure"]

WINDOW = 640  # samples, 40 ms: two and a half periods of the lowest voice
HOP = 160  # samples, 10 ms
HOPS_A_SECOND = RATE_IN // HOP
LOWEST_HZ, HIGHEST_HZ = 65, 400
VOICED = 0.6  # of the energy is periodic
SILENT_DB = -90.0  # the level of digital silence, and of nothing
ABOVE_NOISE_DB = 6.0  # a frame that is speech is so much louder than the noise
BELOW_LOUDEST_DB = 35.0  # and no more than this below the loudest one
DIP_DB = 2.0  # between two syllables
PAUSE = 30  # hops, 0.3 s; a longer gap between voiced frames is not speech
CLIPPED = 0.999


@dataclass(frozen=True, slots=True)
class Measures:
    """What was found. Levels are in dB below full scale, -90 for silence.

    `voiced_s` is how long there was a voice. `pitch_hz` is its median, `syllables` how many there
    were and `rate` how many a second, pauses of more than 0.3 s left out. They are None where
    nothing tells. `clipped` is the share of samples at full scale.
    """

    seconds: float
    level_db: float
    noise_db: float
    voiced_s: float
    pitch_hz: float | None
    syllables: int
    rate: float | None
    clipped: float


def measure(audio: bytes) -> Measures:
    """The measures of PCM16 at 16 kHz; a second of it takes some 5 ms."""
    import numpy as np

    samples = pcm_to_float(audio[: len(audio) & ~1])
    clipped = float((np.abs(samples) >= CLIPPED).mean()) if samples.size else 0.0
    frames = _frames(samples)
    levels = _levels(frames)
    noise = float(np.percentile(levels, 10)) if levels.size else SILENT_DB
    pitches, strengths = _pitches(frames)
    loudest = float(levels.max(initial=SILENT_DB))
    least = max(noise + ABOVE_NOISE_DB, loudest - BELOW_LOUDEST_DB)
    voiced = (strengths > VOICED) & (levels > least)
    nuclei = _nuclei(levels, voiced)
    spoken = _spoken(voiced)
    loud = levels[voiced] if voiced.any() else levels
    return Measures(
        seconds=samples.size / RATE_IN,
        level_db=_mean_db(loud),
        noise_db=noise,
        voiced_s=float(voiced.sum()) / HOPS_A_SECOND,
        pitch_hz=float(np.median(pitches[voiced])) if voiced.any() else None,
        syllables=len(nuclei),
        rate=len(nuclei) / spoken if nuclei and spoken else None,
        clipped=clipped,
    )


def _frames(samples: Floats) -> Floats:
    """Overlapping windows, shape (frames, WINDOW), none where there is less than one."""
    import numpy as np

    if samples.size < WINDOW:
        return np.zeros((0, WINDOW), np.float32)
    windows: Any = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)
    every: Floats = windows[::HOP]
    return every


def _levels(frames: Floats) -> Floats:
    """The level of the middle 10 ms of each window, in dB."""
    import numpy as np

    middle = frames[:, (WINDOW - HOP) // 2 : (WINDOW + HOP) // 2]
    power = (middle**2).mean(axis=1)
    levels: Floats = np.maximum(10 * np.log10(power + 1e-12), SILENT_DB).astype(np.float32)
    return levels


def _mean_db(levels: Floats) -> float:
    """The level of the mean power."""
    import numpy as np

    if not levels.size:
        return SILENT_DB
    return float(10 * np.log10(np.mean(10 ** (levels.astype(np.float64) / 10))))


def _pitches(frames: Floats) -> tuple[Floats, Floats]:
    """For each window the pitch in Hz, and how much of its energy repeats with it, 0 to 1."""
    import numpy as np

    window = np.hanning(WINDOW).astype(np.float32)
    centred = frames - frames.mean(axis=1, keepdims=True)
    correlation = _autocorrelation(centred * window) / _autocorrelation(window[None])
    shortest, longest = RATE_IN // HIGHEST_HZ, RATE_IN // LOWEST_HZ
    lags = correlation[:, shortest : longest + 1]
    strongest = lags.max(axis=1, initial=0.0)
    # Twice the period fits as well: of peaks nearly as strong the first is the pitch.
    peak = np.zeros_like(lags, dtype=bool)
    peak[:, 1:-1] = (lags[:, 1:-1] >= lags[:, :-2]) & (lags[:, 1:-1] >= lags[:, 2:])
    good = peak & (lags >= 0.9 * strongest[:, None])
    place = np.where(good.any(axis=1), good.argmax(axis=1), lags.argmax(axis=1))
    rows = np.arange(len(lags))
    strength = np.where(good.any(axis=1), lags[rows, place], 0.0)
    return (RATE_IN / (shortest + place)).astype(np.float32), strength.astype(np.float32)


def _autocorrelation(windows: Floats) -> Floats:
    """Of each row, 1 at lag zero, by the power spectrum."""
    import numpy as np

    spectrum = np.abs(np.fft.rfft(windows, 2 * WINDOW, axis=1)) ** 2
    found = np.fft.irfft(spectrum, axis=1)[:, :WINDOW]
    scaled: Floats = (found / np.maximum(found[:, :1], 1e-9)).astype(np.float32)
    return scaled


def _nuclei(levels: Floats, voiced: Flags) -> list[int]:
    """The frames where a syllable is loudest."""
    import numpy as np

    if not voiced.any():
        return []
    smooth = np.convolve(np.pad(levels, 3, mode="edge"), np.hanning(9)[1:-1] / 4.0, "valid")
    floor = float(np.median(levels[voiced])) - 15.0
    nuclei: list[int] = []
    lowest = -np.inf
    for place in range(1, len(smooth) - 1):
        lowest = min(lowest, smooth[place])
        peak = smooth[place - 1] < smooth[place] >= smooth[place + 1]
        if not (peak and voiced[place] and smooth[place] > floor):
            continue
        if not nuclei or lowest < min(smooth[place], smooth[nuclei[-1]]) - DIP_DB:
            nuclei.append(place)
        elif smooth[place] > smooth[nuclei[-1]]:
            nuclei[-1] = place  # the same syllable, and here it is louder
        else:
            continue
        lowest = smooth[place]
    return nuclei


def _spoken(voiced: Flags) -> float:
    """How long somebody spoke, in seconds: the pauses are left out, short gaps are not."""
    import numpy as np

    places: Any = np.flatnonzero(voiced)
    if not places.size:
        return 0.0
    gaps = np.diff(places)
    return float(gaps[gaps <= PAUSE].sum() + (gaps > PAUSE).sum() + 1) / HOPS_A_SECOND
