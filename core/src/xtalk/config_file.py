"""Find the configuration file and read it as a tree. Loads neither pydantic nor a plugin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtalk.errors import ConfigError

__all__ = ["find", "read"]

DEFAULT = "xtalk.toml"


def find(given: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that was given, else that of XTALK_CONFIG, else ./xtalk.toml if there is one."""
    if named := given or environ.get("XTALK_CONFIG"):
        return Path(named)
    return Path(DEFAULT) if os.path.isfile(DEFAULT) else None


def read(path: Path) -> dict[str, Any]:
    """The tree of a TOML file, or of a JSON file; ConfigError names the file and what is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    # The original knew only JSON, whatever the file was called; no TOML begins with a brace.
    kind = "JSON" if path.suffix == ".json" or text.lstrip().startswith("{") else "TOML"
    try:
        tree = json.loads(text) if kind == "JSON" else _toml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid {kind}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected an object at the top, found {type(tree).__name__}")
    return tree


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib
    tree: dict[str, Any] = tomllib.loads(text)
    return tree
