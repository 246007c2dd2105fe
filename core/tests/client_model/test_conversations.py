"""Random conversations through the whole engine: nothing lost, doubled, reordered or left hanging.

`nox -s soak` runs ten thousand of them.
"""

from __future__ import annotations

import sys

import pytest
from conversations import KINDS, converse

from xtalk.testing import virtual_time

# The long run is for one Python; the others see that nothing of it depends on theirs.
CONVERSATIONS = 300 if sys.version_info[:2] == (3, 11) else 40


@pytest.mark.parametrize("kind", KINDS)
def test_random_conversations(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    for seed in range(CONVERSATIONS // len(KINDS)):
        run = virtual_time.run(converse(seed, kind))
        assert not run.faults, f"{kind}, seed {seed}: " + "; ".join(run.faults)
