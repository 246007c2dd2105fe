"""ToneTTS keeps what the slot promises."""

from __future__ import annotations

from xtalk_example.tts import ToneTTS

from xtalk.testing.suites import TTSSuite


class TestToneTTS(TTSSuite):
    model = ToneTTS
