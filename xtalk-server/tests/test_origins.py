"""Which pages may connect."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalk_server.origins import is_allowed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost:7635"),
        ("http://localhost:7635", "localhost:7635"),
        ("http://LOCALHOST:7635", "localhost:7635"),
        ("https://talk.example", "talk.example"),
        ("https://talk.example", "talk.example:443"),
        ("http://talk.example:80", "talk.example"),
        ("http://[::1]:7635", "[::1]:7635"),
    ],
)
def test_allowed(origin: str | None, host: str) -> None:
    assert is_allowed(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "localhost:7635"),
        ("http://localhost:8000", "localhost:7635"),
        ("http://localhost", "localhost:7635"),
        ("http://localhost.evil.example:7635", "localhost:7635"),
        ("null", "localhost:7635"),
        ("", "localhost:7635"),
        ("http://localhost:port", "localhost:7635"),
        ("http://localhost:7635", None),
        ("file://", ""),
    ],
)
def test_refused(origin: str, host: str | None) -> None:
    assert not is_allowed(origin, host)


def test_what_the_operator_names_is_allowed() -> None:
    assert is_allowed("https://a.example", "localhost", ["https://a.example"])
    assert is_allowed("null", "localhost", ["*"])
    assert not is_allowed("https://b.example", "localhost", ["https://a.example"])


@settings(deadline=None, derandomize=True)
@given(st.text(), st.text())
def test_no_header_breaks_it(origin: str, host: str) -> None:
    assert is_allowed(origin, host) in (True, False)
