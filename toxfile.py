"""Give tox one environment for each folder of plugins/, and show it pyenv's interpreters."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State

PLUGINS = sorted(
    path.parent.name.removeprefix("xtalk-")
    for path in Path(__file__).parent.glob("plugins/xtalk-*/pyproject.toml")
)

# pyenv's shims answer only for the versions that are switched on; the folders behind them do.
_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
_bins = sorted(map(str, _pyenv.glob("versions/*/bin")))
os.environ["PATH"] = os.pathsep.join([*_bins, os.environ.get("PATH", "")])
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")


@impl
def tox_extend_envs() -> Iterable[str]:
    return PLUGINS


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Put the plugins into the default list, before the last environment, `clean`."""
    names = core_conf["env_list"].envs
    names[-1:-1] = PLUGINS
