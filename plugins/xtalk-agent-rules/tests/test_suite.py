"""RuleAgent keeps what the slot promises."""

from __future__ import annotations

from xtalk_agent_rules.agent import RuleAgent

from xtalk.testing.suites import AgentSuite


class TestRuleAgent(AgentSuite):
    model = RuleAgent
    prompt = "what is the date"
