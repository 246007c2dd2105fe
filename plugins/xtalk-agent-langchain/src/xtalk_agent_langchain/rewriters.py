"""Language models that rewrite: captions, notes on the conversation, anything by a prompt."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field

from xtalk.model_types import BaseChatModel
from xtalk.rewriter import CAPTION, THOUGHT, Rewriter
from xtalk_agent_langchain.llm import Llm

__all__ = ["DefaultCaptionRewriter", "DefaultThoughtRewriter", "SimpleRewriter"]

Seconds = Annotated[float, Field(gt=0)]


class SimpleRewriter(Rewriter):
    """What the model makes of `system_prompt` and the text. `model` is as for DefaultAgent."""

    def __init__(
        self,
        model: dict[str, Any] | str | BaseChatModel,
        system_prompt: str,
        *,
        timeout_s: Seconds = 20.0,
    ) -> None:
        self._system_prompt = system_prompt
        self._llm = Llm(model, timeout_s=timeout_s, owner=type(self).__name__)

    async def open(self) -> None:
        await self._llm.open()

    async def close(self) -> None:
        await self._llm.close()

    def rewrite(self, text: str) -> str:
        """Blocks, on an event loop and connections of its own."""
        return asyncio.run(self._rewrite_alone(text))

    async def _rewrite_alone(self, text: str) -> str:
        llm = self._llm.again()
        await llm.open()
        try:
            return await self._ask(llm, text)
        finally:
            await llm.close()

    async def async_rewrite(self, text: str) -> str:
        return await self._ask(self._llm, text)

    async def _ask(self, llm: Llm, text: str) -> str:
        from langchain_core.messages import HumanMessage, SystemMessage

        if not text.strip():
            return ""  # servers refuse an empty message
        asked = [SystemMessage(self._system_prompt), HumanMessage(text)]
        return (await llm.complete(asked)).strip()


class DefaultCaptionRewriter(SimpleRewriter):
    """Puts how somebody sounds in one or two plain sentences."""

    def __init__(
        self,
        model: dict[str, Any] | str | BaseChatModel,
        system_prompt: str = CAPTION,
        *,
        timeout_s: Seconds = 20.0,
    ) -> None:
        super().__init__(model, system_prompt, timeout_s=timeout_s)


class DefaultThoughtRewriter(SimpleRewriter):
    """Keeps a short note on what the user wants and feels."""

    def __init__(
        self,
        model: dict[str, Any] | str | BaseChatModel,
        system_prompt: str = THOUGHT,
        *,
        timeout_s: Seconds = 20.0,
    ) -> None:
        super().__init__(model, system_prompt, timeout_s=timeout_s)
