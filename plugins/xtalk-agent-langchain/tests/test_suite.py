"""DefaultAgent keeps what the slot promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from xtalk_agent_langchain.agent import DefaultAgent

from xtalk.testing.suites import AgentSuite


class TestDefaultAgent(AgentSuite):
    model = DefaultAgent
    params: ClassVar[Mapping[str, Any]] = {
        "model": {"model": "fake", "base_url": "http://127.0.0.1:9/v1"}
    }
    sdk = ("langchain", "langchain_openai", "openai", "httpx", "httpx2", "mcp", "pydantic")

    @pytest.fixture
    def arguments(self, model: dict[str, Any]) -> Mapping[str, Any]:
        return {"model": model}
