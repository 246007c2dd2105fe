"""The messages of the service `audio_inference.AudioInferenceService`.

They are built from this table when they are first needed, so that no generated code ties the
package to one version of protobuf.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["HEALTH_CHECK", "RECOGNIZE", "message"]

PACKAGE = "audio_inference"
RECOGNIZE = f"/{PACKAGE}.AudioInferenceService/RecognizeAudio"
HEALTH_CHECK = f"/{PACKAGE}.AudioInferenceService/HealthCheck"

# The fields in the order of their numbers, from 1.
FIELDS = {
    "AudioRequest": (
        ("audio_data", "BYTES"),
        ("audio_data_shape", "repeated INT32"),
        ("audio_path", "STRING"),
        ("sample_rate", "INT32"),
        ("task", "STRING"),
        ("lang", "STRING"),
        ("speaker", "STRING"),
        ("text", "STRING"),
        ("key", "STRING"),
        ("duration", "FLOAT"),
    ),
    "AudioResponse": (
        ("success", "BOOL"),
        ("error_message", "STRING"),
        ("result_text", "STRING"),
        ("inference_time", "FLOAT"),
        ("audio_path", "STRING"),
        ("key", "STRING"),
        ("task", "STRING"),
        ("lang", "STRING"),
        ("speaker", "STRING"),
        ("prompt", "STRING"),
        ("total_time", "FLOAT"),
    ),
    "HealthRequest": (),
    "HealthResponse": (("status", "STRING"), ("message", "STRING")),
}


def message(name: str) -> Any:
    """The class of a message."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@functools.cache
def _pool() -> Any:
    """A pool of our own: another package may know messages of the same names."""
    from google.protobuf import descriptor_pool
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    file = FileDescriptorProto(name="audio_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in FIELDS.items():
        described = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            label = "LABEL_REPEATED" if kind.startswith("repeated") else "LABEL_OPTIONAL"
            described.field.add(
                name=field,
                number=number,
                label=getattr(FieldDescriptorProto, label),
                type=getattr(FieldDescriptorProto, f"TYPE_{kind.split()[-1]}"),
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool
