"""Recognisers that are closed, and a check that nothing of theirs is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sphinx import COMMANDS, Make, workers
from xtalk_asr_pocketsphinx.asr import PocketSphinx


@pytest.fixture
def make() -> Iterator[Make]:
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
    assert workers() == []
    assert len(os.listdir("/proc/self/fd")) <= files
