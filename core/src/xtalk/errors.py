"""Every exception that xtalk raises on purpose.

    XtalkError
    +-- ConfigError        the configuration is wrong; also a ValueError
    |   +-- MissingModel   a slot that is needed is empty, or its type is not installed
    +-- PluginError        a plugin cannot be loaded or used
    +-- ModelError         a model failed while it worked
    |   +-- ModelTimeout   a model took longer than it may
    |   +-- ModelBusy      a call still runs inside the only clone there is
    +-- ProtocolError      a client sent something that cannot be understood
    +-- AudioError         samples that are not what their format says; also a ValueError
    +-- DownloadError      the files of a model could not be fetched
    +-- NotAvailable       asked for something that this set-up does not have

Messages are whole sentences: who, what was expected, what was found, what to do. They never
hold a key, a transcript or a server's raw answer.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "ConfigError",
    "DownloadError",
    "MissingModel",
    "ModelBusy",
    "ModelError",
    "ModelTimeout",
    "NotAvailable",
    "PluginError",
    "ProtocolError",
    "XtalkError",
]


class XtalkError(Exception):
    """The root of the tree."""


class ConfigError(XtalkError, ValueError):
    """The configuration is wrong. The message names the file and the path inside it."""


class MissingModel(ConfigError):
    """A slot that is needed is empty, or the type it names is not installed."""


class PluginError(XtalkError):
    """A plugin cannot be loaded or used."""


class ModelError(XtalkError):
    """A model failed while it worked. Its text may be shown to a client."""


class ModelTimeout(ModelError):
    """A model took longer than it may."""


class ModelBusy(ModelError):
    """A call still runs inside a clone and no fresh clone can be made."""


class ProtocolError(XtalkError):
    """A client sent something that cannot be understood. Its text may be shown to that client."""


class AudioError(XtalkError, ValueError):
    """Samples that are not what their format says (an odd number of bytes of 16-bit PCM)."""


class DownloadError(XtalkError):
    """The files of a model could not be fetched, or are not what they should be."""


class NotAvailable(XtalkError):
    """Asked for something that this set-up does not have, such as tools of an agent without."""
