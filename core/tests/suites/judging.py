"""A suite around a model of a test, without an installed plugin."""

from __future__ import annotations

from typing import Any

from xtalk.audio import RATE_IN, float_to_pcm
from xtalk.testing.suites import Suite


def sine(seconds: float, rate: int, frequency: float = 300.0) -> bytes:
    import numpy as np

    return float_to_pcm(0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate))


def suite_of(base: type[Suite[Any]], model_class: type, **attributes: Any) -> Suite[Any]:
    sound = {"sound": lambda self: sine(1.0, RATE_IN)}
    suite = type("Suite", (base,), {"model": model_class, **sound, **attributes})()
    assert isinstance(suite, base)
    return suite


def checks(base: type[Suite[Any]]) -> list[str]:
    """What runs on a model alone, without an installed plugin."""
    package = {name for name in vars(Suite) if name.startswith("test_")}
    own = {name for name in vars(base) if name.startswith("test_")} - package
    return sorted(own - {"test_no_text_does_harm"} if base.slot == "tts" else own)
