"""Say whether a version lies in a range such as `>=0.3,<1`, without a dependency.

Versions are compared by their release numbers; a pre-release (`1.0rc1`, `1.0.dev2`) comes before
its release and does not satisfy `<1.0`. Epochs and local labels do not occur among plugins.
"""

from __future__ import annotations

import re

__all__ = ["normalized", "satisfies", "split_requirement"]

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)[._-]?(a|b|c|rc|alpha|beta|pre|preview|dev)?", re.I)
_REQUIREMENT = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?")
_RANGE = re.compile(r"(===|==|~=|!=|>=|<=|>|<)\s*([^\s,]+)")


def normalized(name: str) -> str:
    """A distribution's name as it compares: lower case, `-` between the words."""
    return re.sub(r"[-_.]+", "-", name).lower()


def split_requirement(text: str) -> tuple[str, str, str]:
    """Name, range and marker of `name[extra] >=1,<2 ; marker`; empty where there is none."""
    match = _REQUIREMENT.match(text)
    if not match:
        return "", "", ""
    return normalized(match[1]), match[2].strip(), (match[3] or "").strip()


def satisfies(version: str, ranges: str) -> bool:
    """Whether `version` lies in every one of the comma-separated `ranges`."""
    return all(_holds(version, sign, bound) for sign, bound in _RANGE.findall(ranges))


def _holds(version: str, sign: str, bound: str) -> bool:
    if bound.endswith(".*"):
        prefix = _release(bound[:-2])
        same = _release(version, len(prefix))[: len(prefix)] == prefix
        return same if sign == "==" else not same
    ours, theirs = _key(version), _key(bound)
    if sign == "~=":
        prefix = _release(bound)[:-1]
        return ours >= theirs and _release(version, len(prefix))[: len(prefix)] == prefix
    if sign == "<" and theirs[1]:
        return ours[0] < theirs[0]
    return {
        "==": ours == theirs,
        "===": version == bound,
        "!=": ours != theirs,
        ">=": ours >= theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
        "<": ours < theirs,
    }[sign]


def _key(version: str) -> tuple[tuple[int, ...], bool]:
    match = _VERSION.match(version)
    return _release(version, 4), match is not None and match[2] is None


def _release(version: str, length: int = 0) -> tuple[int, ...]:
    match = _VERSION.match(version)
    numbers = [int(number) for number in match[1].split(".")] if match else [0]
    return tuple(numbers + [0] * (length - len(numbers)))
