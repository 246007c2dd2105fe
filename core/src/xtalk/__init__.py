"""Full-duplex spoken dialogue from replaceable models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtalk.api import Xtalk
    from xtalk.bus import EventBus, Manager
    from xtalk.events import BaseEvent, create_event_class
    from xtalk.hookspecs import Download, Model, Slot, hookimpl
    from xtalk.pipeline import DefaultPipeline, Pipeline
    from xtalk.service import DefaultService, Service

__all__ = [
    "BaseEvent",
    "DefaultPipeline",
    "DefaultService",
    "Download",
    "EventBus",
    "Manager",
    "Model",
    "Pipeline",
    "Service",
    "Slot",
    "Xtalk",
    "create_event_class",
    "hookimpl",
]

_HOME = {
    "BaseEvent": "events",
    "DefaultPipeline": "pipeline",
    "DefaultService": "service",
    "Download": "hookspecs",
    "EventBus": "bus",
    "Manager": "bus",
    "Model": "hookspecs",
    "Pipeline": "pipeline",
    "Service": "service",
    "Slot": "hookspecs",
    "Xtalk": "api",
    "create_event_class": "events",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    """Public names load at first use, so that a plugin's hooks cost no numpy and no engine."""
    if name not in _HOME:
        raise AttributeError(f"module 'xtalk' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"xtalk.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
