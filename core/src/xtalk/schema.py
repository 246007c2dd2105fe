"""The constructor is the schema: a signature becomes a pydantic model and JSON Schema.

A value is checked and converted by the annotation of the argument that takes it
(`Annotated[float, Field(gt=0, description="...")]` is both check and documentation). An argument
without annotation, as in classes written for the original, takes anything; text is then read as
a number or a truth value where its default is one.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from xtalk.errors import ConfigError
from xtalk.suggest import closest

__all__ = [
    "MASK",
    "build",
    "call",
    "check",
    "findings",
    "is_secret",
    "json_schema",
    "masked",
    "nearest",
    "secret_names",
    "settings",
]

MASK = "********"

_SECRET_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "authorization"}
_NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.POSITIONAL_ONLY,
)


def settings(cls: type) -> type[BaseModel]:
    """A pydantic model with one field, and alias, for each argument of the constructor.

    ConfigError for a class whose constructor does not tell its arguments, such as `int`.
    """
    try:
        parameters = inspect.signature(cls).parameters.values()
    except ValueError as error:
        raise ConfigError(
            f"{cls.__qualname__} does not tell its constructor's arguments: {error}"
        ) from error
    named = [parameter for parameter in parameters if parameter.kind in _NAMED]
    hints = {parameter.name: _hint(cls, parameter) for parameter in named}
    more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    model = _model(cls.__name__, named, hints, more)
    if model is None:
        for parameter in named:
            if _model("probe", [parameter], hints, more) is None:
                hints[parameter.name] = Any
        model = _model(cls.__name__, named, hints, more)
    assert model is not None
    return model


def check(cls: type, params: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The given arguments, converted. ConfigError tells of each one that is wrong, by its path.

    Arguments that were not given stay away, so that the constructor's own defaults hold.
    """
    try:
        model = settings(cls)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        checked = model.model_validate(dict(params))
    except pydantic.ValidationError as error:
        raise ConfigError(findings(model, params, path, error)) from None
    given = {
        str(field.alias): getattr(checked, name)
        for name, field in model.model_fields.items()
        if name in checked.model_fields_set
    }
    return {**given, **(checked.model_extra or {})}


def build(cls: type, params: Mapping[str, Any], path: str = "params") -> Any:
    """An instance from checked arguments; the constructor's own exceptions pass."""
    return call(cls, check(cls, params, path))


def call(cls: type, arguments: Mapping[str, Any]) -> Any:
    """`cls(**arguments)`, also for arguments that are positional only."""
    named = dict(arguments)
    positional = [
        named.pop(parameter.name)
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in named
    ]
    return cls(*positional, **named)


def json_schema(cls: type) -> dict[str, Any]:
    """JSON Schema of the constructor's arguments."""
    model = cls if issubclass(cls, BaseModel) else settings(cls)
    schema = model.model_json_schema(schema_generator=_Lenient)
    if "$defs" in schema:
        # Its references begin at the nearest $id, wherever this schema is put.
        schema["$id"] = f"urn:xtalk:{cls.__module__}.{cls.__qualname__}"
    secret = secret_names(model)
    for name, about in schema.get("properties", {}).items():
        about.pop("title", None)
        if name in secret:
            about["writeOnly"] = True
    return schema


# --- secrets and suggestions, also for other parts of the configuration --------------------------


def is_secret(name: str) -> bool:
    """Whether a value of this name must not be shown."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def secret_names(model: type[BaseModel]) -> set[str]:
    """The fields, by alias, whose values must not be shown."""
    return {
        str(field.alias or name)
        for name, field in model.model_fields.items()
        if is_secret(str(field.alias or name)) or "Secret" in str(field.annotation)
    }


def masked(name: str, value: Any) -> Any:
    """The value as it may be shown: secrets and the passwords in addresses are hidden."""
    if isinstance(value, pydantic.SecretStr | pydantic.SecretBytes):
        return MASK
    if isinstance(value, Mapping):
        return {key: masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(name, each) for each in value]
    if is_secret(name) and value not in (None, "", False, True):
        return MASK
    if isinstance(value, str):
        return re.sub(r"(?<=://)[^/@\s]+@", f"{MASK}@", value)
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'voice'?`, or nothing when no known name is near."""
    names = list(known)
    begun = [each for each in names if name and each.startswith(name)]
    near = closest(name, names) or (begun[0] if begun else "")
    return f"; did you mean {near!r}?" if near else ""


# --- from signature to model ---------------------------------------------------------------------


def _hint(cls: type, parameter: inspect.Parameter) -> Any:
    """The argument's type; Any where it has none, or one imported for type checkers only."""
    if parameter.annotation is parameter.empty:
        return Annotated[Any, pydantic.BeforeValidator(partial(_like, parameter.default))]
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    init = next(vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
    names = getattr(inspect.unwrap(init), "__globals__", {})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)[parameter.name]
    except (NameError, AttributeError, TypeError):
        return Any


def _model(
    name: str, parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any], more: bool
) -> type[BaseModel] | None:
    """The model; None when pydantic cannot check one of the types."""
    from pydantic_core import SchemaError

    fields: dict[str, Any] = {
        # The prefix keeps clear of pydantic's own names, such as `json` and `copy`.
        f"a_{parameter.name}": (
            hints[parameter.name],
            Field(
                ... if parameter.default is parameter.empty else parameter.default,
                alias=parameter.name,
            ),
        )
        for parameter in parameters
    }
    config = ConfigDict(
        extra="allow" if more else "forbid", arbitrary_types_allowed=True, title=name
    )
    try:
        return pydantic.create_model(name, __config__=config, **fields)
    except (pydantic.errors.PydanticUserError, SchemaError, TypeError):
        return None


def _like(default: object, value: object) -> object:
    """Text as what the default is: the environment knows only text."""
    if not isinstance(value, str) or not isinstance(default, bool | int | float):
        return value
    if isinstance(default, bool):
        return pydantic.TypeAdapter(bool).validate_python(value)
    try:
        return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
    except ValueError:
        raise ValueError(f"should be a number, like its default {default}") from None


class _Lenient(GenerateJsonSchema):
    """Leaves open what JSON cannot say, such as a class of the plugin's own."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """A default that JSON cannot say is left out, which needs no warning."""


# --- from pydantic's findings to sentences -------------------------------------------------------


def findings(model: type[BaseModel], value: Any, path: str, error: pydantic.ValidationError) -> str:
    """What pydantic found, a line for each place: where, what was found, what would be right."""
    secret = secret_names(model)
    lines: dict[str, list[str]] = {}
    for each in error.errors():
        location = _walkable(value, each["loc"])
        hidden = any(is_secret(part) or part in secret for part in location)
        where = ".".join([path, *location] if path else location)
        lines.setdefault(where, []).append(_sentence(model, location, each, hidden))
    return "\n".join(f"{where}: {' or '.join(texts)}" for where, texts in lines.items())


def _sentence(model: type[BaseModel], location: list[str], error: Any, hidden: bool) -> str:
    owner = model.model_config.get("title") or model.__name__
    names = [str(field.alias or name) for name, field in model.model_fields.items()]
    if error["type"] == "extra_forbidden":
        takes = ", ".join(names) or "no arguments"
        return f"unknown; {owner} takes {takes}{nearest(location[-1], names)}"
    if error["type"] == "missing":
        return f"{owner} needs it, but it is not set"
    found = MASK if hidden else repr(masked("", error["input"]))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{message}, found {found}"


def _walkable(value: Any, location: Iterable[int | str]) -> list[str]:
    """The steps that exist in the value; pydantic adds the branch of a union to its own."""
    steps: list[str] = []
    for step in location:
        try:
            value = value[step]
        except (LookupError, TypeError):
            if steps:
                continue
        steps.append(str(step))
    return steps
