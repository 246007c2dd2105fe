"""Conformance suites: what every model of a slot must do, as tests that an author inherits.

    class TestMyTTS(TTSSuite):
        model = MyTTS
        params = {"voice": "anna"}
        sdk = ("my_sdk",)

    Suite            registered, imported late, annotated, built from its schema
    +-- ASRSuite
    +-- TTSSuite
    +-- VADSuite
    +-- AgentSuite

A check that a model cannot pass is overridden, and the override says why with
`@pytest.mark.xfail(reason=...)`; without it the class is refused. The checks call the model as
the engine does: on an event loop, by the most specific method that it overrides, each clone
behind a guard of its own.
"""

from __future__ import annotations

from xtalk.testing.suites.agent import AgentSuite
from xtalk.testing.suites.asr import ASRSuite
from xtalk.testing.suites.base import Suite
from xtalk.testing.suites.tts import TTSSuite
from xtalk.testing.suites.vad import VADSuite

__all__ = ["ASRSuite", "AgentSuite", "Suite", "TTSSuite", "VADSuite"]
