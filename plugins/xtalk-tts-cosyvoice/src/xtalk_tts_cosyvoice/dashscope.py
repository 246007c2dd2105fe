"""CosyVoice in DashScope: its duplex WebSocket, one connection a session, one task a sentence.

    client                          service
    run-task (voice, rate, ...)
                                    task-started
    continue-task (text), ...
                                    audio, result-generated, audio, ...
    finish-task
                                    audio, ..., task-finished

At any time `task-failed` may come instead, and the connection is of no use any more. After
`task-finished` it takes the next task.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr

from xtalk.audio import RATE_OUT
from xtalk.errors import ConfigError
from xtalk.remote import (
    SOUND_S,
    Refusal,
    Remote,
    Replay,
    Unreadable,
    WarmSocket,
    exchange,
    open_socket,
    read_key,
)
from xtalk_tts_cosyvoice.text import pieces
from xtalk_tts_cosyvoice.voice import Voice

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["CosyVoice"]

URL = "wss://dashscope.aliyuncs.com/api-ws/v1/inference"
CHECK = "check that DASHSCOPE_API_KEY is valid, and model, voice and url in the configuration"
REACH = "check that this machine reaches it, and url in the configuration"

PARAMETERS = {
    "volume": 50,
    "text_type": "PlainText",
    "rate": 1.0,
    "pitch": 1.0,
    "seed": 0,
    "type": 0,
}
# How the arguments of DashScope's own client are called on the wire.
RENAMED = {"speech_rate": "rate", "pitch_rate": "pitch", "synthesis_type": "type"}
OTHERWISE = {
    "model": "it is an argument of its own",
    "voice": "it is an argument of its own",
    "format": "the voice always sends PCM",
    "sample_rate": "the voice always speaks at 48000 Hz",
    "callback": "the audio goes to the conversation",
}
RATES = (0.5, 2.0)

# The beginnings of DashScope's words for a failure, the more special ones first.
STATUSES = {
    "InvalidApiKey": 401,
    "AccessDenied": 403,
    "Model.AccessDenied": 403,
    "Workspace.AccessDenied": 403,
    "Arrearage": 402,
    "PrepaidBillOverdue": 402,
    "PostpaidBillOverdue": 402,
    "AllocationQuota.FreeTierOnly": 402,
    "CommodityNotPurchased": 402,
    "Throttling": 429,
    "RequestTimeOut": 408,
    "ResponseTimeout": 408,
    "ModelNotFound": 404,
    "Model.NotFound": 404,
    "Invalid": 400,
    "BadRequest": 400,
    "DataInspectionFailed": 400,
}


class CosyVoice(Voice):
    """A voice of DashScope. Audio comes while the sentence is still being spoken.

    `async_synthesize_stream` says one text, `speak` a text that still comes in. ModelError when
    the service fails.
    """

    def __init__(
        self,
        api_key: Annotated[
            SecretStr | None, Field(description="of DashScope; else DASHSCOPE_API_KEY")
        ] = None,
        model: Annotated[str, Field(description="a CosyVoice model")] = "cosyvoice-v3-flash",
        voice: Annotated[
            str, Field(description="a voice of that model, or the id of one that was cloned")
        ] = "longanyang",
        stream_timeout: Annotated[
            float, Field(gt=0, description="seconds to the first piece of audio and between two")
        ] = SOUND_S,
        extra_request_params: Annotated[
            dict[str, Any] | None,
            Field(
                description="volume, speech_rate, pitch_rate, seed, instruction, language_hints, "
                "hot_fix, additional_params, headers, workspace, url, as DashScope's client "
                "takes them, and whatever else goes into the task's parameters"
            ),
        ] = None,
        voices: Annotated[
            tuple[str, ...],
            Field(description="voices of the model that may be asked for in a conversation"),
        ] = (),
        url: Annotated[
            str, Field(pattern="^wss?://", description="the service's address, by region")
        ] = URL,
    ) -> None:
        super().__init__(
            Remote(name="CosyVoice", check=CHECK, reach=REACH, timeout_s=stream_timeout),
            voices=(voice, *voices),
            service_rate=RATE_OUT,
            output_rate=RATE_OUT,
        )
        self._key = SecretStr(read_key("CosyVoice", api_key, "DASHSCOPE_API_KEY"))
        self._model = model
        self._service = _service(extra_request_params or {}, url)
        self._rate = _rate(self._service.parameters["rate"], 1.0)
        self._socket = WarmSocket(self._connect)

    async def open(self) -> None:
        self._socket.warm()

    async def close(self) -> None:
        await self._socket.close()

    def clone(self) -> CosyVoice:
        twin = copy.copy(self)
        twin._socket = WarmSocket(twin._connect)
        return twin

    def set_speed(self, speed: float) -> None:
        """`speed` times the configured rate, as far as the service goes: 0.5 to 2."""
        self._rate = _rate(self._service.parameters["rate"], speed)

    # --- one task -------------------------------------------------------------------------------

    async def _utterance(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        started = asyncio.Event()
        messages = self._messages(texts, started)
        async with (
            self._socket.kept() as connection,
            aclosing(exchange(connection, messages)) as answers,
        ):
            async for answer in answers:
                if isinstance(answer, str):
                    event = _event(answer)
                    if event == "task-finished":
                        break
                    if event == "task-started":
                        started.set()
                elif answer:
                    yield answer

    _sentence = _utterance

    async def _messages(
        self, texts: Replay[str], started: asyncio.Event
    ) -> AsyncGenerator[str, None]:
        task = uuid.uuid4().hex
        yield _message("run-task", task, self._run())
        await started.wait()  # what comes before is refused
        async for text in texts:
            for piece in pieces(text):
                yield _message("continue-task", task, {"input": {"text": piece}})
        yield _message("finish-task", task, {"input": {}})

    def _run(self) -> dict[str, Any]:
        spoken = {
            "voice": self._voice,
            "rate": self._rate,
            "format": "pcm",
            "sample_rate": RATE_OUT,
        }
        return {
            "model": self._model,
            "task_group": "audio",
            "task": "tts",
            "function": "SpeechSynthesizer",
            "input": {},
            "parameters": {**self._service.parameters, **spoken},
        }

    async def _connect(self) -> ClientConnection:
        key = self._key.get_secret_value()
        headers = {**self._service.headers, "Authorization": f"Bearer {key}"}
        return await open_socket(self._service.url, headers=headers)


def _message(action: str, task: str, payload: Mapping[str, Any]) -> str:
    header = {"action": action, "task_id": task, "streaming": "duplex"}
    return json.dumps({"header": header, "payload": payload})


def _event(answer: str) -> str:
    """The name of an event; Refusal when it says that the task failed."""
    try:
        header = json.loads(answer)["header"]
        event = header["event"]
    except (LookupError, TypeError):
        raise Unreadable("event of a task") from None
    if event == "task-failed":
        code = str(header.get("error_code", ""))
        raise Refusal(_status(code), code)
    return str(event)


def _status(code: str) -> int:
    """The status of HTTP that comes nearest to DashScope's word for a failure."""
    for beginning, status in STATUSES.items():
        if code.startswith(beginning):
            return status
    return 500


# --- the configuration --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Service:
    url: str
    headers: Mapping[str, str]
    parameters: Mapping[str, Any]


def _service(extra: Mapping[str, Any], url: str) -> _Service:
    """What the arguments of DashScope's client mean for the address, the headers and a task."""
    for name in extra:
        if name in OTHERWISE:
            raise ConfigError(f"extra_request_params cannot hold {name!r}: {OTHERWISE[name]}")
    rest = dict(extra)
    headers = {str(name): str(value) for name, value in (rest.pop("headers", None) or {}).items()}
    workspace = rest.pop("workspace", None)
    if workspace:
        headers["X-DashScope-WorkSpace"] = str(workspace)
    url = rest.pop("url", None) or url
    more = rest.pop("additional_params", None) or {}
    given = {RENAMED.get(name, name): value for name, value in rest.items() if value is not None}
    parameters = {**PARAMETERS, **given, **more}
    if not isinstance(parameters["rate"], (int, float)):
        raise ConfigError(f"speech_rate should be a number, found {parameters['rate']!r}")
    return _Service(url, headers, parameters)


def _rate(usual: float, speed: float) -> float:
    low, high = RATES
    return min(max(usual * speed, low), high)
