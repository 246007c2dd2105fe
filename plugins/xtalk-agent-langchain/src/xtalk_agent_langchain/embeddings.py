"""Text to vectors, by any server that speaks OpenAI's protocol."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import Field, SecretStr

from xtalk.errors import ConfigError
from xtalk_agent_langchain.llm import NO_KEY, address, failure, secret

__all__ = ["OpenAIEmbeddings"]


class OpenAIEmbeddings:
    """Blocks; core calls it in threads. The key comes from here or from OPENAI_API_KEY."""

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        api_key: SecretStr | None = None,
        base_url: str | None = None,
        dimensions: Annotated[int, Field(gt=0)] | None = None,
        *,
        timeout_s: Annotated[float, Field(gt=0)] = 20.0,
        retries: Annotated[int, Field(ge=0)] = 2,
    ) -> None:
        from langchain_openai import OpenAIEmbeddings as Embeddings
        from openai import DefaultHttpxClient

        base_url = address(base_url)
        key = api_key or os.environ.get("OPENAI_API_KEY") or (NO_KEY if base_url else None)
        if key is None:
            raise ConfigError(
                "OpenAIEmbeddings: there is no key; set api_key or OPENAI_API_KEY, "
                "or base_url for a server that needs none"
            )
        self._http = DefaultHttpxClient(timeout=timeout_s)
        self._model: Any = Embeddings(
            model=model,
            api_key=secret("OpenAIEmbeddings", key),
            base_url=base_url,
            dimensions=dimensions,
            timeout=timeout_s,
            max_retries=retries,
            http_client=self._http,
            # Core's passages are short, and a local server takes text, not OpenAI's tokens.
            check_embedding_ctx_length=False,
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return list(self._ask(self._model.embed_documents, texts))

    def embed_query(self, text: str) -> list[float]:
        return list(self._ask(self._model.embed_query, text))

    def _ask(self, method: Any, argument: Any) -> Any:
        try:
            return method(argument)
        except Exception as error:  # whatever the client raises
            told = failure(error, "embeddings model")
            if told is None:
                raise
            raise told[0] from None  # the cause may hold the key

    def close(self) -> None:
        self._http.close()
