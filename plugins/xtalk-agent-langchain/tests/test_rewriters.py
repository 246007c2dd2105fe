"""Rewriters and embeddings, through the real clients."""

from __future__ import annotations

from typing import Any

import pytest
from asking import run
from fake_openai import KEY, FakeOpenAI
from xtalk_agent_langchain.embeddings import OpenAIEmbeddings
from xtalk_agent_langchain.rewriters import (
    DefaultCaptionRewriter,
    DefaultThoughtRewriter,
    SimpleRewriter,
)

from xtalk import schema
from xtalk.errors import ConfigError, ModelError
from xtalk.plugins import Plugins
from xtalk.rewriter import CAPTION, THOUGHT, Rewriter

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    ("cls", "more", "prompt"),
    [
        (DefaultCaptionRewriter, {}, CAPTION),
        (DefaultThoughtRewriter, {}, THOUGHT),
        (SimpleRewriter, {"system_prompt": "In French: "}, "In French: "),
    ],
)
def test_a_rewriter_asks_with_its_prompt(
    server: FakeOpenAI, model: dict[str, Any], cls: type[Any], more: dict[str, Any], prompt: str
) -> None:
    rewriter = schema.build(cls, {"model": model, **more})
    assert isinstance(rewriter, Rewriter)
    assert rewriter.rewrite("a text").startswith("You said:")

    async def test() -> None:
        await rewriter.open()
        try:
            assert (await rewriter.async_rewrite("a text")).startswith("You said:")
        finally:
            await rewriter.close()

    run(test)
    asked = [("system", prompt), ("user", "a text")]
    for request in server.requests:
        assert [(each["role"], each["content"]) for each in request["messages"]] == asked
    assert len(server.requests) == 2


def test_every_type_is_registered_in_its_slot() -> None:
    plugins = Plugins.load({})
    found = {
        (slot, card.name)
        for slot in ("llm_agent", "caption_rewriter", "thought_rewriter", "embeddings")
        for row, card in plugins.models(slot)
        if row.distribution == "xtalk-agent-langchain"
    }
    assert found == {
        ("llm_agent", "DefaultAgent"),
        ("caption_rewriter", "DefaultCaptionRewriter"),
        ("caption_rewriter", "SimpleRewriter"),
        ("thought_rewriter", "DefaultThoughtRewriter"),
        ("thought_rewriter", "SimpleRewriter"),
        ("embeddings", "OpenAIEmbeddings"),
    }


def test_embeddings_bring_like_texts_together(server: FakeOpenAI) -> None:
    model = schema.build(OpenAIEmbeddings, {"model": "fake", "base_url": server.url})
    try:
        tea, door = model.embed_documents(["tea with milk", "the door code"])
        query = model.embed_query("which code has the door")
    finally:
        model.close()

    def near(vector: list[float]) -> float:
        return sum(a * b for a, b in zip(query, vector, strict=True))

    assert near(door) > near(tea)


def test_embeddings_fail_in_plain_words() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIEmbeddings()
    model = OpenAIEmbeddings(
        "fake", schema.pydantic.SecretStr(KEY), "http://127.0.0.1:9/v1", retries=0
    )
    with pytest.raises(ModelError, match="embeddings model's server cannot be reached"):
        model.embed_query("x")
    model.close()
