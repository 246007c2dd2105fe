"""What the tests of this plugin share: a grammar, and a look at the processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from xtalk_asr_pocketsphinx.asr import PocketSphinx

COMMANDS = """#JSGF V1.0;
grammar commands;
public <command> = what time is it | what is <number> plus <number> | [please] stop
                 | hello [there] | speak (faster | slower) ;
<number> = one | two | three | four | five | six | seven | eight | nine | ten ;
"""

Make = Callable[..., PocketSphinx]


def workers() -> list[int]:
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
