"""SileroVAD keeps what the slot promises."""

from __future__ import annotations

from xtalk_vad_silero.silero import SileroVAD

from xtalk.testing.suites import VADSuite


class TestSileroVAD(VADSuite):
    model = SileroVAD
    sdk = ("onnxruntime",)
