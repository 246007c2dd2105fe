"""What recognition and synthesis share: the key, the addresses, and the service's refusals."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr

from xtalk.errors import ConfigError
from xtalk.remote import Refusal, Remote, Unreadable, explained

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
    "remote",
]

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
    check = "check that the API key is valid and that the account may use this model and voice"
    return Remote(name="ElevenLabs", check=check, timeout_s=timeout)


def headers(api_key: SecretStr | str | None) -> dict[str, str]:
    """The header with the key. ConfigError when there is none."""
    key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    key = (key or os.environ.get(VARIABLE, "")).strip()
    if not key:
        raise ConfigError(f"ElevenLabs needs a key; set api_key or the environment's {VARIABLE}")
    return {"xi-api-key": key}


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
