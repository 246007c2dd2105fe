"""Every plugin of this repository together, none with its dependencies: `tox -e plugins`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

from repository import ROOT, packages
from xtalk import schema
from xtalk.hookspecs import Model
from xtalk.plugins import Plugins

HEAVY = ("numpy", "pydantic", "pydantic_settings", "soxr", "websockets", "asyncio")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.load({})


def ours() -> list[str]:
    return [name for name, folder in packages().items() if folder.parent == ROOT / "plugins"]


def test_each_folder_is_a_sound_plugin(plugins: Plugins) -> None:
    found = [row for row in plugins.rows if row.distribution in ours()]
    assert {row.distribution for row in found} == set(ours())
    assert [row.error for row in found if row.error] == []


def test_the_listing_is_for_programs_too() -> None:
    listing = subprocess.check_output([sys.executable, "-m", "xtalk.cli", "plugins", "--json"])
    listed = json.dumps(json.loads(listing))
    for name in ours():
        assert name in listed


def test_the_hooks_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from xtalk.plugins import Plugins\n"
        "assert Plugins.load({}).rows\n"
        "print(*sys.modules)\n"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert set(loaded).isdisjoint(HEAVY)


def test_each_model_has_a_schema_though_its_sdk_is_not_installed(plugins: Plugins) -> None:
    for slot in plugins.slots:
        for plugin, model in plugins.models(slot):
            if plugin.distribution in ours():
                assert schema.json_schema(target(model))["type"] == "object", model.name


def target(model: Model) -> type:
    module, _, name = model.target.partition(":")
    cls: type = getattr(import_module(module), name)
    return cls


@pytest.mark.parametrize("name", sorted(packages()))
def test_a_package_has_what_all_have(name: str) -> None:
    folder = packages()[name]
    pyproject = (folder / "pyproject.toml").read_text("utf-8")
    assert folder.name in (name, "core")
    assert 'license = "Apache-2.0"' in pyproject
    assert 'requires-python = ">=3.10"' in pyproject
    assert (folder / "README.md").read_text("utf-8").count("\n") > 3
    assert "## Unreleased\n" in (folder / "CHANGELOG.md").read_text("utf-8")
    assert list(folder.glob("src/*/py.typed"))
    assert list(folder.glob("tests/**/test_*.py"))
