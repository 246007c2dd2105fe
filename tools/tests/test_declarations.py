"""Each package declares what its sources import, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from repository import packages

OTHER_NAMES = {
    "_pytest": "pytest",
    "google": "protobuf",
    "grpc": "grpcio",
    "pydantic_core": "pydantic",
    "yaml": "pyyaml",
}
# Needed without an import here: uvicorn loads three by name, the core's `remote` httpx.
UNSEEN = {"httptools", "uvloop", "websockets", "httpx", "xtalk-core"}
# Imported only where the caller already has it: a WebSocket of Starlette's is handed in.
GIVEN = {"xtalk-core": {"starlette"}}


def declared(pyproject: str) -> tuple[set[str], set[str]]:
    """The names of the dependencies, and with them those of the extras."""
    sections = re.split(r"^\[", pyproject, flags=re.MULTILINE)
    extras = "".join(s for s in sections if s.startswith("project.optional-dependencies"))
    main = re.search(r"^dependencies = \[(.*?)\n?\]$", pyproject, re.DOTALL | re.MULTILINE)
    needed = _names(main[1] if main else "")
    return needed, needed | _names(extras)


def _names(text: str) -> set[str]:
    return {re.split(r"[ \[<>=;~!]", line)[0] for line in re.findall(r'"([^"]+)"', text)}


def imported(folder: Path) -> set[str]:
    modules = set()
    for path in folder.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    roots = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names)
    return {OTHER_NAMES.get(root, root.replace("_", "-")) for root in roots}


@pytest.mark.parametrize("name", packages())
def test_what_is_imported_is_declared_and_what_is_declared_is_imported(name: str) -> None:
    folder = packages()[name]
    needed, known = declared((folder / "pyproject.toml").read_text("utf-8"))
    own = {path.name.replace("_", "-") for path in (folder / "src").iterdir()}
    used = imported(folder) - own - {"xtalk"} - GIVEN.get(name, set())
    assert used <= known, "imported, but not declared"
    assert needed - UNSEEN <= used, "declared, but not imported"
