"""The messages of CosyVoice's gRPC server, described here, so that any protobuf will do.

What protoc generates runs only with the protobuf that it was generated for, or a newer one.
Numbers and types are the server's; names of messages do not travel.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["message", "parts", "read", "write"]

PACKAGE = "cosyvoice"

# Each field is a name, a type (a scalar of protobuf or another message) and its number; the
# messages in a Request are alternatives.
MESSAGES = {
    "Sft": (("spk_id", "string", 1),),
    "ZeroShot": (("prompt_text", "string", 1), ("prompt_audio", "bytes", 2)),
    "CrossLingual": (("prompt_audio", "bytes", 1),),
    "Instruct2": (("instruct_text", "string", 1), ("prompt_audio", "bytes", 2)),
    "ZeroShotBySpkId": (("spk_id", "string", 1),),
    "Instruct2BySpkId": (("instruct_text", "string", 1), ("spk_id", "string", 2)),
    "Request": (
        ("tts_text", "string", 1),
        ("text_frontend", "bool", 2),
        ("stream", "bool", 3),
        ("speed", "float", 4),
        ("format", "string", 5),
        ("sft_request", "Sft", 6),
        ("zero_shot_request", "ZeroShot", 7),
        ("cross_lingual_request", "CrossLingual", 8),
        ("instruct2_request", "Instruct2", 9),
        ("zero_shot_by_spk_id_request", "ZeroShotBySpkId", 10),
        ("instruct2_by_spk_id_request", "Instruct2BySpkId", 11),
    ),
    "Response": (("tts_audio", "bytes", 1), ("format", "string", 2)),
    "RegisterSpkRequest": (
        ("spk_id", "string", 1),
        ("prompt_text", "string", 2),
        ("prompt_audio_bytes", "bytes", 3),
        ("ori_sample_rate", "int32", 4),
    ),
    # The status is an enumeration: 0 by default, 1 well, 2 failed. It travels as an integer.
    "RegisterSpkResponse": (("status", "int32", 1), ("registered_spk_id", "string", 2)),
}


def write(name: str, **fields: Any) -> bytes:
    """A message, ready to be sent. A field that is a message takes a dict."""
    return bytes(message(name)(**fields).SerializeToString())


def read(name: str, sent: bytes) -> Any:
    """The message in these bytes; ValueError when they hold none."""
    from google.protobuf.message import DecodeError

    try:
        return message(name).FromString(sent)
    except DecodeError:
        raise ValueError(f"this is no {name}") from None


def parts(kind: str) -> tuple[str, ...]:
    """The names of the fields of one of the alternatives in a Request."""
    owner = next(type for name, type, _ in MESSAGES["Request"] if name == kind)
    return tuple(name for name, _, _ in MESSAGES[owner])


def message(name: str) -> Any:
    """The class of a message."""
    return _classes()[name]


@functools.cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


def _file() -> Any:
    """What a .proto file of the table above says."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name="cosyvoice.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        described = file.message_type.add(name=name)
        for field in fields:
            _describe(described, *field)
    return file


def _describe(owner: Any, name: str, kind: str, number: int) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    field = owner.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if kind not in MESSAGES:
        field.type = getattr(Field, f"TYPE_{kind.upper()}")
        return
    field.type, field.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    if not owner.oneof_decl:
        owner.oneof_decl.add(name="request_type")
    field.oneof_index = 0
