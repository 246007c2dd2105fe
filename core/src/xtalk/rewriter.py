"""What a rewriter must offer: text in, text out (captions, thoughts)."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Rewriter"]


class Rewriter(ABC):
    """Turns one text into another."""

    @abstractmethod
    def rewrite(self, text: str) -> str:
        """The new text. May block."""

    async def async_rewrite(self, text: str) -> str:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.rewrite, text)
