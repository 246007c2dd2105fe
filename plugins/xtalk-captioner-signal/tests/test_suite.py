"""SignalCaptioner keeps what the slot promises."""

from __future__ import annotations

from xtalk_captioner_signal.captioner import SignalCaptioner

from xtalk.testing.suites import CaptionerSuite


class TestSignalCaptioner(CaptionerSuite):
    model = SignalCaptioner
    sdk = ("numpy",)
