"""What `xtalk plugins` must not load, however many plugins are installed."""

from __future__ import annotations

import json
from typing import Any

HEAVY = (
    "numpy",
    "soxr",
    "pydantic",
    "pydantic_settings",
    "fastapi",
    "uvicorn",
    "langchain_core",
    "onnxruntime",
    "anyio",
    "asyncio",
    "xtalk.api",
    "xtalk.settings",
    "xtalk.bus",
)


def test_listing_many_plugins_loads_nothing_heavy(installed: Any) -> None:
    for number in range(20):
        hooks = f"""
            @hookimpl
            def xtalk_tts():
                yield Model("Voice{number}", "voice_{number}:Voice")
        """
        installed.add(f"many-{number}", hooks)
    installed.add("commands", "@hookimpl\ndef xtalk_commands(commands): ...")
    code = """
        import json, sys
        from xtalk.cli import main
        status = main(["plugins"])
        print(json.dumps([status, sorted(sys.modules)]))
    """
    result = installed.run(code="\n".join(line.strip() for line in code.splitlines()))
    assert result.returncode == 0, result.stderr
    *listing, last = result.stdout.splitlines()
    status, modules = json.loads(last)
    assert status == 0
    assert sum("tts: Voice" in line for line in listing) == 20
    assert [name for name in HEAVY if name in modules] == []


def test_the_command_runs_as_a_module(installed: Any) -> None:
    installed.add("sick", "import no_such_sdk")
    installed.add("sore", "@hookimpl\ndef xtalk_tts():\n    1 / 0")
    result = installed.run("plugins")
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.count("BROKEN") == 2
    assert "ZeroDivisionError" in installed.run("--debug", "plugins").stderr


def test_a_reader_that_leaves_early_is_no_problem(installed: Any) -> None:
    code = (
        "import os, sys; from xtalk.cli import main; r, w = os.pipe(); os.close(r); "
        "os.dup2(w, 1); status = main(['plugins']); "
        "print(status, file=sys.stderr)"
    )
    installed.add("some", "")
    result = installed.run(code=code)
    assert result.stderr == "1\n"
