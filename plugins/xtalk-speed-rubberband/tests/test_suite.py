"""RubberbandSpeedController keeps what the slot promises."""

from __future__ import annotations

from xtalk_speed_rubberband.rubberband import RubberbandSpeedController

from xtalk.testing.suites import SpeedControllerSuite


class TestRubberbandSpeedController(SpeedControllerSuite):
    model = RubberbandSpeedController
    sdk = ("pylibrb", "numpy", "pydantic")
    tolerance = 0.01
