"""The conformance suite, with a grammar and with the language model alone."""

from __future__ import annotations

from xtalk_asr_pocketsphinx.asr import PocketSphinx

from xtalk.testing.suites import ASRSuite


class TestPocketSphinx(ASRSuite):
    model = PocketSphinx
    params = {"phrases": ["what time is it", "what day is it", "hello"]}  # noqa: RUF012
    sdk = ("pocketsphinx",)
    expected = "what time is it"


class TestLanguageModel(ASRSuite):
    model = PocketSphinx
    sdk = ("pocketsphinx",)
    expected = "what time is it"
