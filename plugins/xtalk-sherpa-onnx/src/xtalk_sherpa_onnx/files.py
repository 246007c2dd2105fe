"""Where the files of a model are, and on what it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from xtalk.downloads import locate
from xtalk.errors import ConfigError

__all__ = ["Provider", "Threads", "check_tokens", "find_file", "onnx_file", "provider_of"]

Threads = Annotated[int, Field(ge=1, description="of one call, for the network itself")]
Provider = Annotated[
    str,
    Field(description="cpu, or what else the installed sherpa-onnx was built for: cuda, coreml"),
]


def onnx_file(model: str, prefer: str = "model.onnx") -> Path:
    """The network of a model that is given by a path or by the name under which it was fetched.

    A folder must hold one; of several it is the one with the preferred name, else the only one
    that is not quantised. ConfigError, which says what to do, when there is none.
    """
    path = locate(model)
    if path.is_file():
        return path
    found = sorted(path.glob("*.onnx"))
    full = [file for file in found if "int8" not in file.name]
    for candidates in ([file for file in found if file.name == prefer], full, found):
        if len(candidates) == 1:
            return candidates[0]
    what = ", ".join(file.name for file in found) or "none"
    raise ConfigError(f"expected one .onnx file in {path}, found {what}; give the path of the file")


def find_file(file: str | Path, who: str) -> Path:
    """A path that must exist, or the name of a model that was fetched."""
    path = Path(file).expanduser()
    if path.exists():
        return path
    if path.parent != Path():
        raise ConfigError(f"{who}: there is no {path}")
    return locate(str(file))


def check_tokens(path: Path) -> None:
    """Each line must be a symbol and its number, where that of a space is left out; ConfigError."""
    try:
        lines = [line for line in path.read_text("utf-8").split("\n") if line]
    except UnicodeDecodeError:
        lines = ["not UTF-8"]
    except OSError as error:
        raise ConfigError(f"the tokens {path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if len(parts) not in (1, 2) or not parts[-1].isdecimal():
            raise ConfigError(f"{path}, line {number}, is not a token and its number")
    if not lines:
        raise ConfigError(f"{path} holds no tokens")


def provider_of(device: str) -> str:
    """sherpa-onnx's provider for a torch device as the original's configurations name it."""
    kind = device.partition(":")[0].strip().lower()
    providers = {"": "cpu", "auto": "cpu", "cpu": "cpu", "cuda": "cuda", "mps": "coreml"}
    if kind not in providers:
        raise ConfigError(f"device is {device!r}, expected auto, cpu, cuda or mps")
    return providers[kind]
