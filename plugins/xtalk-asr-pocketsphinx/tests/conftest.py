"""Recognisers that are closed, and a check that nothing of theirs is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xtalk_asr_pocketsphinx.asr import PocketSphinx

COMMANDS = """#JSGF V1.0;
grammar commands;
public <command> = what time is it | what is <number> plus <number> | [please] stop
                 | hello [there] | speak (faster | slower) | what can you do ;
<number> = one | two | three | four | five | six | seven | eight | nine | ten ;
"""


def processes() -> list[int]:
    """The processes below this one, children of the server included; zombies count."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(after_name[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


@pytest.fixture
def commands() -> str:
    """The grammar of the recognisers that `make` builds."""
    return COMMANDS


@pytest.fixture
def workers() -> Callable[[], list[int]]:
    """Look at the processes below this one."""
    return processes


@pytest.fixture
def make() -> Iterator[Callable[..., PocketSphinx]]:
    """Build a recogniser of the commands; all are closed, and must leave nothing."""
    files = len(os.listdir("/proc/self/fd"))
    made: list[PocketSphinx] = []

    def make(original: PocketSphinx | None = None, **params: Any) -> PocketSphinx:
        if original is not None:
            made.append(original.clone())
        else:
            made.append(PocketSphinx(**{"grammar": COMMANDS, **params}))
        return made[-1]

    yield make
    for recogniser in made:
        recogniser.close()
    assert processes() == []
    assert len(os.listdir("/proc/self/fd")) <= files
