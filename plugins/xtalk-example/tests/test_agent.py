"""EchoAgent keeps what the slot promises."""

from __future__ import annotations

from xtalk_example.agent import EchoAgent

from xtalk.testing.suites import AgentSuite


class TestEchoAgent(AgentSuite):
    model = EchoAgent
