"""Espeak keeps what the slot promises."""

from __future__ import annotations

from xtalk_tts_espeak.espeak import Espeak

from xtalk.testing.suites import TTSSuite


class TestEspeak(TTSSuite):
    model = Espeak
    sdk = ("espeakng_loader",)

    def test_its_card_names_every_voice(self) -> None:
        assert self.card().voices == Espeak.voices
