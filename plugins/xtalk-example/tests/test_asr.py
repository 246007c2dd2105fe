"""FixedASR keeps what the slot promises."""

from __future__ import annotations

from xtalk_example.asr import FixedASR

from xtalk.testing.suites import ASRSuite


class TestFixedASR(ASRSuite):
    model = FixedASR
    expected = "hello"
