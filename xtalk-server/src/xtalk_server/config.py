"""The configuration of the server: which file, and its section `[server]`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xtalk import config_file
from xtalk.errors import ConfigError
from xtalk.plugins import Plugins
from xtalk.registry import Registry
from xtalk.settings import Config

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["DEFAULT", "ServerConfig", "Source"]

DEFAULT = Path(__file__).with_name("default.toml")
"""What is used when no configuration is given."""


class ServerConfig(BaseModel):
    """`[server]`; the options of `xtalk serve` win over it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[
        str,
        Field(
            description="address to listen on; any but a loopback address makes the server "
            "reachable for others, whose browsers give a page the microphone only over https"
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0: any free one")] = 7635
    allowed_origins: Annotated[
        list[str],
        Field(
            description="web pages that may connect besides the server's own: "
            '`"https://example.org"`, or `"*"` for every page; only browsers are asked'
        ),
    ] = []
    drain_sec: Annotated[
        float,
        Field(ge=0, description="how long turns may go on after SIGTERM or SIGINT: docs/deploy.md"),
    ] = 10.0
    upload_bytes: Annotated[int, Field(gt=0, description="largest text file that is taken")] = (
        1024 * 1024
    )
    downloads: Annotated[
        bool,
        Field(
            description="whether who knows the id of a session may have what `recording` and "
            "`session_log` of `[service_config]` write of it"
        ),
    ] = False
    ssl_certfile: Annotated[
        str | None, Field(description="file with the certificate, for https and wss")
    ] = None
    ssl_keyfile: Annotated[
        str | None, Field(description="its key, where that file does not hold it")
    ] = None

    @classmethod
    def of(cls, config: Config) -> ServerConfig:
        """The section of that configuration; ConfigError names what is wrong in it."""
        try:
            return cls.model_validate(config.server)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in ("server", *first["loc"]))
            known = ", ".join(cls.model_fields)
            raise ConfigError(f"{path}: {first['msg']}; [server] knows {known}") from None


@dataclass(frozen=True)
class Source:
    """Where the configuration comes from, read once: its section `[server]` and the plugins."""

    given: str | Path | Mapping[str, Any]
    plugins: Plugins
    server: ServerConfig

    @classmethod
    def find(
        cls,
        given: str | Path | Mapping[str, Any] | None = None,
        plugins: Plugins | None = None,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> Source:
        """What was given, else XTALK_CONFIG or ./xtalk.toml, else the embedded default.

        `options` win over its section `[server]`. Raises ConfigError when it cannot be read or
        is wrong; no model is built yet.
        """
        from xtalk.api import Xtalk

        if not isinstance(given, Mapping):
            given = config_file.find(given, os.environ) or DEFAULT
        plugins = Plugins.load() if plugins is None else plugins
        registry = Registry(plugins, Xtalk.MODEL_REGISTRY)
        config = Config.load(given, registry=registry, arguments={"server": options or {}})
        return cls(given, plugins, ServerConfig.of(config))

    def build(self) -> Xtalk:
        """The Xtalk. Blocks: models load here."""
        from xtalk.api import Xtalk

        return Xtalk.from_config(self.given, plugins=self.plugins)
