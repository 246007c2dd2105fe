"""The models of this package keep what their slots promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from fake_openai import FakeOpenAI
from xtalk_agent_langchain.agent import DefaultAgent
from xtalk_agent_langchain.embeddings import OpenAIEmbeddings
from xtalk_agent_langchain.rewriters import (
    DefaultCaptionRewriter,
    DefaultThoughtRewriter,
    SimpleRewriter,
)

from xtalk.testing.suites import AgentSuite, EmbeddingsSuite, RewriterSuite

pytestmark = pytest.mark.real_time

SDK = ("langchain", "langchain_openai", "openai", "httpx", "httpx2", "mcp", "pydantic")
SERVED: Mapping[str, Any] = {"model": {"model": "fake", "base_url": "http://127.0.0.1:9/v1"}}


class TestDefaultAgent(AgentSuite):
    model = DefaultAgent
    params: ClassVar[Mapping[str, Any]] = SERVED
    sdk = SDK

    @pytest.fixture
    def arguments(self, model: dict[str, Any]) -> Mapping[str, Any]:
        return {"model": model}


class TestDefaultCaptionRewriter(RewriterSuite):
    model = DefaultCaptionRewriter
    params: ClassVar[Mapping[str, Any]] = SERVED
    sdk = SDK

    @pytest.fixture
    def arguments(self, model: dict[str, Any]) -> Mapping[str, Any]:
        return {"model": model}


class TestDefaultThoughtRewriter(TestDefaultCaptionRewriter):
    slot = "thought_rewriter"
    model = DefaultThoughtRewriter


class TestSimpleRewriter(RewriterSuite):
    model = SimpleRewriter
    params: ClassVar[Mapping[str, Any]] = {**SERVED, "system_prompt": "In French: "}
    sdk = SDK

    @pytest.fixture
    def arguments(self, model: dict[str, Any]) -> Mapping[str, Any]:
        return {"model": model, "system_prompt": "In French: "}


class TestOpenAIEmbeddings(EmbeddingsSuite):
    model = OpenAIEmbeddings
    params: ClassVar[Mapping[str, Any]] = {"model": "fake", "base_url": "http://127.0.0.1:9/v1"}
    sdk = SDK

    @pytest.fixture
    def arguments(self, server: FakeOpenAI) -> Mapping[str, Any]:
        return {"model": "fake", "base_url": server.url}
