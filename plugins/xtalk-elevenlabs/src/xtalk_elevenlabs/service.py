"""What recognition and synthesis share: the key, the addresses, and the service's refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError

from xtalk.errors import ConfigError
from xtalk.remote import Refusal, Remote, Unreadable, explained, read_key

if TYPE_CHECKING:
    import httpx

__all__ = [
    "HTTP",
    "WEBSOCKET",
    "ApiKey",
    "address",
    "admitted",
    "headers",
    "message",
    "query",
    "read",
    "remote",
]

S = TypeVar("S", bound=BaseModel)

HTTP = "https://api.elevenlabs.io"
WEBSOCKET = "wss://api.elevenlabs.io"
VARIABLE = "ELEVENLABS_API_KEY"

ApiKey = Annotated[
    SecretStr | None, Field(description=f"the key; without it the environment's `{VARIABLE}`")
]

# The service's words for what it refuses, as statuses of HTTP. Any other word is a failure.
STATUSES = {
    "auth_error": 401,
    "authorization_error": 401,
    "invalid_api_key": 401,
    "missing_api_key": 401,
    "quota_exceeded": 402,
    "unaccepted_terms": 403,
    "voice_id_does_not_exist": 404,
    "voice_not_found": 404,
    "model_not_found": 404,
    "chunk_size_exceeded": 400,
    "commit_throttled": 400,
    "input_error": 400,
    "invalid_input_message": 400,
    "invalid_request": 400,
    "max_character_limit_exceeded": 400,
    "input_timeout_exceeded": 408,
    "insufficient_audio_activity": 408,
    "session_time_limit_exceeded": 408,
    "queue_overflow": 429,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "system_busy": 429,
    "too_many_concurrent_requests": 429,
}


def remote(timeout: float) -> Remote:
    return Remote(
        name="ElevenLabs",
        check="check that the API key is valid and that the account may use this model and voice",
        reach="check that this machine reaches it, and base_url and realtime_url",
        timeout_s=timeout,
    )


def headers(api_key: SecretStr | str | None) -> dict[str, str]:
    """The header with the key. ConfigError when there is none."""
    return {"xi-api-key": read_key("ElevenLabs", api_key, VARIABLE)}


def address(name: str, url: str, *schemes: str) -> str:
    """The address without a slash at its end. ConfigError when it has another scheme."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ConfigError(f"{name} of ElevenLabs must begin with {' or '.join(schemes)}://")
    return url.rstrip("/")


def query(**options: str | bool | int | None) -> dict[str, str]:
    """Options as the service wants them in an address; those that are None stay away."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
        if value is not None
    }


async def admitted(response: httpx.Response) -> httpx.Response:
    """The response of status 2xx; Refusal otherwise, also for an account without credit."""
    try:
        return await explained(response, lambda answer: answer["detail"]["status"])
    except Refusal as refusal:
        # A key is refused and credit is used up with one and the same status, 401.
        refusal.status = STATUSES.get(refusal.code, refusal.status)
        raise


def message(received: str | bytes) -> Mapping[str, Any]:
    """A message of a WebSocket. Refusal when it is one."""
    found = json.loads(received)
    if not isinstance(found, dict):
        raise Unreadable("message of its protocol")
    if found.get("error"):
        code = str(found.get("message_type") or found["error"])
        raise Refusal(STATUSES.get(code, 500), code if code in STATUSES else "")
    return found


def read(shape: type[S], found: object) -> S:
    """What the service said, if it has this shape; else Unreadable."""
    try:
        return shape.model_validate(found)
    except ValidationError:
        raise Unreadable(f"{shape.__name__.lower()} of its protocol") from None
