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
    +-- TurnDetectorSuite
    +-- EnhancerSuite
    +-- SpeakerEncoderSuite
    +-- CaptionerSuite
    +-- PuntRestorerSuite
    +-- SpeedControllerSuite
    +-- RewriterSuite
    +-- EmbeddingsSuite

A check that a model cannot pass is overridden, and the override says why with
`@pytest.mark.xfail(reason=...)`; without it the class is refused. The checks call the model as
the engine does: on an event loop, by the most specific method that it overrides. Of a model that
each session has for itself there are clones, each behind a guard of its own; of one that all
sessions share (speaker encoder, captioner, punctuation, rewriters, embeddings) there is one.
"""

from __future__ import annotations

from xtalk.testing.suites.agent import AgentSuite
from xtalk.testing.suites.asr import ASRSuite
from xtalk.testing.suites.base import Suite
from xtalk.testing.suites.captioner import CaptionerSuite
from xtalk.testing.suites.embeddings import EmbeddingsSuite
from xtalk.testing.suites.enhancer import EnhancerSuite
from xtalk.testing.suites.punctuation import PuntRestorerSuite
from xtalk.testing.suites.rewriter import RewriterSuite
from xtalk.testing.suites.speaker import SpeakerEncoderSuite
from xtalk.testing.suites.speed import SpeedControllerSuite
from xtalk.testing.suites.tts import TTSSuite
from xtalk.testing.suites.turn import TurnDetectorSuite
from xtalk.testing.suites.vad import VADSuite

__all__ = [
    "ASRSuite",
    "AgentSuite",
    "CaptionerSuite",
    "EmbeddingsSuite",
    "EnhancerSuite",
    "PuntRestorerSuite",
    "RewriterSuite",
    "SpeakerEncoderSuite",
    "SpeedControllerSuite",
    "Suite",
    "TTSSuite",
    "TurnDetectorSuite",
    "VADSuite",
]
