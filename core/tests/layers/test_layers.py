"""What the core's source must keep to: who imports whom, and who may ask for time or a thread.

The first is the table of docs/architecture.md. The second is why a test can own the clock.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xtalk

# A module without an entry belongs with the package that it is in. `serving` and the package
# itself only show under other names what lies below them.
LAYERS = (
    "hookspecs errors audio wav events versions wire wire.messages dialogue suggest",
    "speech model_types agent rewriter wire.protocol wire.export schema bus heard transport "
    "threads calls remote config_file log_utils sentences turn_detector retrieval disk answer "
    "clauses alarm downloads characters",
    "plugins registry settings pipeline stages listening turn playback session_log waiting",
    "managers session service limiter",
    "api cli commands testing serving xtalk",
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names.split()}

# The lowest layer that may import what is not in the standard library.
EXTERNAL = {
    "pluggy": 0,
    "numpy": 0,
    "pydantic": 0,
    "pydantic_core": 0,
    "typing_extensions": 0,
    "anyio": 1,
    "starlette": 1,
    "soxr": 0,
    "importlib_metadata": 2,
    "pydantic_settings": 2,
    "tomli": 1,
    "tomllib": 1,  # standard from 3.11
    "websockets": 1,
    "httpx": 1,
    "sounddevice": 4,
    "aiohttp": 4,
    "pytest": 4,
    "_pytest": 4,
    "hypothesis": 4,
}
# Slow to import, or an extra: imported in the function that needs it, save in these places.
LATE = {
    "numpy": {"testing"},
    "soxr": set(),
    "starlette": set(),  # in the adapter of a connection that Starlette made
    "importlib_metadata": set(),
    "pydantic": {"wire", "schema", "settings"},
    "pydantic_core": {"wire"},
    "typing_extensions": {"wire"},
    "pydantic_settings": set(),
    "websockets": set(),
    "httpx": set(),  # an extra of the plugins that need it
    "sounddevice": set(),
    "aiohttp": {"testing"},
    "pytest": {"testing"},
    "hypothesis": {"testing"},
}

FORBIDDEN = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.today",
    "date.today",
    "asyncio.sleep",
    "asyncio.to_thread",
    "anyio.to_thread",
    "anyio.to_thread.run_sync",
    "anyio.to_process.run_sync",
    "threading.Thread",
    "concurrent.futures.ThreadPoolExecutor",
    "concurrent.futures.ProcessPoolExecutor",
    "multiprocessing.Process",
}
FORBIDDEN_METHODS = {"run_in_executor", "set_default_executor", "from_thread"}

# The places that own time or threads, and what each of them may use.
ALLOWED = {
    "threads": FORBIDDEN | FORBIDDEN_METHODS,
    "events": {"time.time"},  # BaseEvent.timestamp, for compatibility
    "session": {"time.time", "time.monotonic", "datetime.now"},  # the one clock
    "agent": {"datetime.now"},  # an AgentInput that was made without a clock
}
OUTSIDE_A_SESSION = ("testing", "cli", "commands")


@dataclass(frozen=True)
class Import:
    """One imported name. `late` means inside a function."""

    target: str
    late: bool
    line: int


def modules(package: Path) -> dict[str, Path]:
    """Every module by its dotted name below the package, "" for the package itself."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, late: bool = False) -> Iterator[Import]:
    """The imports that can happen at run time: not those under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, late, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", late, node.lineno)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.orelse, []), late)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, late or inside)


def dotted(node: ast.AST) -> str:
    """`time.monotonic` for the expression that says so; "" for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


MODULES = modules(Path(xtalk.__file__).parent)
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def place(name: str) -> str:
    """The entry of LAYER that a module of the core falls under."""
    while name and name not in LAYER:
        name = name.rpartition(".")[0]
    return name or "xtalk"


def internal(found: Import) -> str | None:
    """The module of the core that is imported, or None for one from outside."""
    parts = found.target.split(".")
    if parts[0] != "xtalk":
        return None
    name = ".".join(parts[1:])
    return name if name in MODULES else name.rpartition(".")[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_its_layer_and_below(module: str) -> None:
    assert module == "" or place(module) != "xtalk", f"xtalk.{module} has no layer: add it above"
    for found in imports(TREES[module]):
        target = internal(found)
        if target is not None:
            assert LAYER[place(target)] <= LAYER[place(module)], (
                f"xtalk.{module}, line {found.line}: imports {found.target} from a layer above"
            )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_comes_from_outside_is_declared_and_what_is_heavy_comes_late(module: str) -> None:
    for found in imports(TREES[module]):
        package = found.target.partition(".")[0]
        if package == "xtalk" or package in sys.stdlib_module_names:
            continue
        where = f"xtalk.{module}, line {found.line}: {package}"
        assert package in EXTERNAL, f"{where} is no dependency of the core"
        assert EXTERNAL[package] <= LAYER[place(module)], f"{where} is not for this layer"
        if not found.late:
            allowed = LATE.get(package)
            assert allowed is None or module.partition(".")[0] in allowed, (
                f"{where} is slow to import: import it in the function that needs it"
            )


def test_no_two_modules_import_each_other() -> None:
    graph = {
        module: {
            target
            for found in imports(tree)
            if (target := internal(found))
            and target != module
            # A package that loads its own parts late is no circle.
            and not (found.late and target.startswith(f"{module}."))
        }
        for module, tree in TREES.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_time_and_threads_come_from_their_owners(module: str) -> None:
    if module.partition(".")[0] in OUTSIDE_A_SESSION:
        return
    allowed = ALLOWED.get(module, set())
    for node in ast.walk(TREES[module]):
        name = dotted(node)
        used = name if name in FORBIDDEN else name.rpartition(".")[2] if "." in name else ""
        if used in FORBIDDEN or used in FORBIDDEN_METHODS:
            assert used in allowed, f"xtalk.{module}, line {node.lineno}: {name} is not for here"
    for found in imports(TREES[module]):
        assert found.target not in FORBIDDEN - allowed, (
            f"xtalk.{module}, line {found.line}: {found.target} is not for here"
        )
