"""Version ranges, as they occur in the requirements of plugins."""

from __future__ import annotations

import pytest

from xtalk.versions import normalized, satisfies, split_requirement


@pytest.mark.parametrize(
    "version, ranges, answer",
    [
        ("0.1.0", ">=0.1,<1", True),
        ("0.1", ">=0.1.0", True),
        ("1.0", ">=0.1,<1", False),
        ("1.0rc1", "<1", False),
        ("1.0rc1", ">=1.0", False),
        ("1.0.dev3", ">=1.0", False),
        ("1.0rc1", ">=0.9", True),
        ("1.0.post1", ">=1.0", True),
        ("0.10", ">0.9", True),
        ("2.0", "!=2", False),
        ("2.1", "==2.*", True),
        ("3.0", "==2.*", False),
        ("3.0", "!=2.*", True),
        ("1.4.5", "~=1.4", True),
        ("2.0", "~=1.4", False),
        ("1.5.0", "~=1.4.2", False),
        ("1.0", "<= 1.0 , >= 1.0", True),
        ("7", "", True),
    ],
)
def test_satisfies(version: str, ranges: str, answer: bool) -> None:
    assert satisfies(version, ranges) is answer


@pytest.mark.parametrize(
    "text, parts",
    [
        ("xtalk-core", ("xtalk-core", "", "")),
        ("Xtalk_Core[testing]>=0.1,<1", ("xtalk-core", ">=0.1,<1", "")),
        ("xtalk.core (>=0.1)", ("xtalk-core", ">=0.1", "")),
        ("grpcio >= 1 ; extra == 'local'", ("grpcio", ">= 1", "extra == 'local'")),
        ("", ("", "", "")),
    ],
)
def test_split_requirement(text: str, parts: tuple[str, str, str]) -> None:
    assert split_requirement(text) == parts


def test_normalized() -> None:
    assert normalized("Xtalk__TTS.edge") == "xtalk-tts-edge"
