"""The program of docs/tools.md runs against the fake server; its examples name what exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, call, say
from xtalk_agent_langchain.agent import DefaultAgent

from xtalk import schema

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).parents[3]
README = Path(__file__).parents[1] / "README.md"


def test_the_program_of_the_page_runs(server: FakeOpenAI, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tools.md").read_text("utf-8")
    program = re.search(r'^```python title="shop.py"\n((?s:.*?))^```$', page, re.MULTILINE)
    assert program is not None
    (tmp_path / "shop.py").write_text(program[1], "utf-8")
    server.script(call("price", {"what": "tea"}), say("Four euros."))
    done = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        env={**os.environ, "OPENAI_BASE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Four euros." in done.stdout
    names = [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    assert names == ["get_time", "order", "price", "remember"]


def test_the_table_of_settings_is_complete() -> None:
    told = set(re.findall(r"^\| `([a-z_]+)", README.read_text("utf-8"), re.MULTILINE))
    assert set(schema.json_schema(DefaultAgent)["properties"]) <= told


@pytest.mark.parametrize("page", ["examples/openai.toml"])
def test_the_example_is_checked(
    page: str, server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    config: dict[str, Any] = tomllib.loads((ROOT / page).read_text("utf-8"))
    agent = schema.build(DefaultAgent, config["llm_agent"]["params"])
    assert agent.generate("hello") == "You said: hello."
