"""Say in words what was measured."""

from __future__ import annotations

from xtalk.speech.interfaces import Captioner
from xtalk_captioner_signal.measure import Measures, measure

__all__ = ["SignalCaptioner", "describe"]

LEAST_S = 0.3  # of sound, to say anything of it
LEAST_VOICE_S = 0.1
LEAST_RATE = 1.0  # syllables a second; what is steadier is no speech
CLIPPED = 0.001  # of the samples


class SignalCaptioner(Captioner):
    """How loud, how noisy, how fast and how high somebody speaks; nothing of moods or persons."""

    def caption(self, audio: bytes) -> str:
        """A sentence or two in English on PCM16 at 16 kHz."""
        return describe(measure(audio))


def describe(found: Measures) -> str:
    """The measures as a caption."""
    if found.seconds < LEAST_S:
        return "There is too little sound to describe."
    if not _is_speech(found):
        return f"No speech is heard; {_background(found.noise_db, found.level_db)}."
    sentences = [f"{_loudness(found)} speech{_pace(found)}{_height(found)}."]
    sentences.append(f"{_upper(_noise(found))}.")
    return " ".join(sentences)


def _is_speech(found: Measures) -> bool:
    enough = found.voiced_s >= LEAST_VOICE_S and found.syllables > 0
    steady = found.voiced_s > 1.5 and (found.rate or 0.0) < LEAST_RATE
    return enough and not steady


def _background(noise_db: float, level_db: float) -> str:
    level = max(noise_db, level_db)
    if level < -65:
        return "it is silent"
    return "there is a faint noise" if level < -45 else "there is a loud noise"


def _loudness(found: Measures) -> str:
    """By the level of the voiced parts; a microphone's gain is in it too."""
    if found.clipped > CLIPPED:
        return "Very loud, overdriven"
    bounds = ((-45, "Very quiet"), (-33, "Quiet"), (-10, "Normally loud"))
    return next((word for bound, word in bounds if found.level_db < bound), "Loud")


def _pace(found: Measures) -> str:
    if found.rate is None or found.syllables < 3:
        return ""  # one or two syllables have no pace
    bounds = ((3.0, "a slow"), (5.5, "a normal"))
    word = next((word for bound, word in bounds if found.rate < bound), "a fast")
    return f" at {word} pace (about {found.rate:.0f} syllables a second)"


def _height(found: Measures) -> str:
    if found.pitch_hz is None:
        return ""
    bounds = ((135, "low"), (180, "medium"))
    word = next((word for bound, word in bounds if found.pitch_hz < bound), "high")
    return f", {word} in pitch (about {round(found.pitch_hz, -1):.0f} Hz)"


def _noise(found: Measures) -> str:
    """By how far the noise lies below the speech."""
    below = found.level_db - found.noise_db
    if below > 35:
        return "the background is quiet"
    return "there is some background noise" if below > 18 else "there is loud background noise"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
