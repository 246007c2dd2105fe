"""The constructor is the schema."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pytest
from pydantic import Field, SecretStr

from xtalk import schema
from xtalk.errors import ConfigError

if TYPE_CHECKING:
    from somewhere_else import Unknown


class Voice:
    def __init__(
        self,
        voice: str = "alto",
        *,
        speed: Annotated[float, Field(gt=0, le=2, description="pace")] = 1.0,
        retries: int = 2,
        api_key: str | None = None,
        names: list[str] | None = None,
        hidden: SecretStr | None = None,
    ) -> None:
        self.given = (voice, speed, retries, api_key, names, hidden)


class Needy:
    def __init__(self, host: str, port: int) -> None:
        self.given = (host, port)


class Original:
    """As classes for the original are written: no annotations, and pydantic's own names."""

    def __init__(self, model, json=None, copy=3, ratio=0.5, loud=False, _low=1, **rest):  # type: ignore[no-untyped-def]
        self.given = (model, json, copy, ratio, loud, _low, rest)


class Odd:
    """Types that cannot be looked up or checked."""

    def __init__(self, a: Unknown = 1, b: Fake = None, c: Callable[[], int] = int) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.given = (a, b, c)


class Shape(Protocol):
    def area(self) -> float: ...


class Holder:
    def __init__(self, shape: Shape | None = None, place: Annotated[Any, Field()] = 1) -> None:
        self.given = (shape, place)


class Positional:
    def __init__(self, first: int, /, second: int = 2) -> None:
        self.given = (first, second)


class Colour(Enum):
    RED = "red"


class Painted:
    def __init__(self, colour: Colour = Colour.RED) -> None: ...


class Bare:
    pass


def message(cls: type, params: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        schema.build(cls, params, "tts.params")
    return str(caught.value)


def test_values_are_converted_to_what_the_argument_takes() -> None:
    voice = schema.build(Voice, {"speed": "1.5", "retries": "8", "names": ["a"]})
    assert voice.given[:5] == ("alto", 1.5, 8, None, ["a"])


def test_the_constructor_keeps_its_own_defaults() -> None:
    assert schema.check(Voice, {"voice": "x"}, "p") == {"voice": "x"}


@pytest.mark.parametrize(
    "params, expected",
    [
        (
            {"voce": "x"},
            "tts.params.voce: unknown; Voice takes voice, speed, retries, api_key, names, hidden; "
            "did you mean 'voice'?",
        ),
        ({"speed": 0}, "tts.params.speed: should be greater than 0, found 0"),
        ({"speed": "fast"}, "tts.params.speed: should be a valid number, unable to parse"),
        ({"names": ["a", 7]}, "tts.params.names.1: should be a valid string, found 7"),
        ({"voice": None}, "tts.params.voice: should be a valid string, found None"),
    ],
)
def test_errors_say_where_what_and_what_would_be_right(
    params: dict[str, Any], expected: str
) -> None:
    assert message(Voice, params).startswith(expected)


def test_every_wrong_value_is_said_at_once() -> None:
    lines = message(Voice, {"speed": 9, "retries": "x", "other": 1}).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "tts.params.speed",
        "tts.params.retries",
        "tts.params.other",
    ]


def test_what_is_needed_and_not_set() -> None:
    assert message(Needy, {"host": "a"}) == "tts.params.port: Needy needs it, but it is not set"


@pytest.mark.parametrize("name", ["api_key", "hidden"])
def test_a_secret_is_not_in_the_error(name: str) -> None:
    text = message(Voice, {name: ["sk-123"]})
    assert name in text and "sk-123" not in text and schema.MASK in text


def test_a_class_of_the_original() -> None:
    built = schema.build(
        Original, {"model": "m", "copy": "8", "ratio": "2", "loud": "true", "_low": 0, "more": "1"}
    )
    assert built.given == ("m", None, 8, 2, True, 0, {"more": "1"})


def test_text_that_is_no_number_where_the_default_is_one() -> None:
    text = message(Original, {"model": 1, "copy": "many"})
    assert text == "tts.params.copy: should be a number, like its default 3, found 'many'"


def test_types_that_cannot_be_checked_take_anything() -> None:
    assert schema.build(Odd, {"a": "x", "b": 7}).given == ("x", 7, int)
    assert schema.build(Holder, {"shape": 3}).given == (3, 1)
    schema.json_schema(Odd)


def test_positional_arguments_and_none_at_all() -> None:
    assert schema.build(Positional, {"first": "1", "second": "5"}).given == (1, 5)
    schema.build(Bare, {})
    assert message(Bare, {"x": 1}) == "tts.params.x: unknown; Bare takes no arguments"


def test_json_schema_shows_limits_descriptions_and_secrets() -> None:
    shown = schema.json_schema(Voice)
    assert shown["properties"]["speed"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 2,
        "default": 1.0,
        "description": "pace",
    }
    assert shown["additionalProperties"] is False
    assert shown["properties"]["api_key"]["writeOnly"] is True
    assert schema.json_schema(Needy)["required"] == ["host", "port"]
    assert schema.json_schema(Original)["additionalProperties"] is True


def test_references_stay_within_the_schema() -> None:
    shown = schema.json_schema(Painted)
    assert shown["$id"].startswith("urn:xtalk:") and "Colour" in shown["$defs"]
    assert "$id" not in schema.json_schema(Voice)


@pytest.mark.parametrize(
    "name, secret",
    [
        ("api_key", True),
        ("token", True),
        ("X-Auth-Token", True),
        ("client_secret", True),
        ("password", True),
        ("max_tokens", False),
        ("keyboard", False),
        ("voice", False),
    ],
)
def test_secrets_by_name(name: str, secret: bool) -> None:
    assert schema.is_secret(name) is secret


def test_masking_reaches_into_tables_and_addresses() -> None:
    shown = schema.masked(
        "params",
        {
            "headers": {"api_key": "sk-1"},
            "url": "https://ada:lovelace@example.org/x",
            "tokens": [1],
            "key": "",
        },
    )
    assert shown == {
        "headers": {"api_key": schema.MASK},
        "url": f"https://{schema.MASK}@example.org/x",
        "tokens": [1],
        "key": "",
    }
    assert schema.masked("hidden", SecretStr("x")) == schema.MASK


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("voise", "; did you mean 'voice'?"),
        ("VOICE", "; did you mean 'voice'?"),
        ("footts", "; did you mean 'FooTTS'?"),
        ("max", "; did you mean 'max_connections'?"),
        ("", ""),
        ("qqqq", ""),
    ],
)
def test_which_name_may_be_meant(name: str, answer: str) -> None:
    assert schema.nearest(name, ["voice", "FooTTS", "max_connections"]) == answer
