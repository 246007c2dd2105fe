"""The configuration of the server: which file, and its section `[server]`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtalk import config_file
from xtalk.plugins import Plugins
from xtalk.registry import Registry
from xtalk.settings import Config, ServerConfig

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["DEFAULT", "ServerConfig", "Source"]

DEFAULT = Path(__file__).with_name("default.toml")
"""What is used when no configuration is given."""


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
        return cls(given, plugins, config.server)

    def build(self) -> Xtalk:
        """The Xtalk. Blocks: models load here."""
        from xtalk.api import Xtalk

        return Xtalk.from_config(self.given, plugins=self.plugins)
