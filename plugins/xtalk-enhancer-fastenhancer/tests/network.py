"""Write an ONNX file with the inputs and outputs of FastEnhancer S, and no trained weights.

It cuts the sound into windows, as FastEnhancer does, and adds them up again: what comes out is
what went in, `n_fft - hop` samples later, and softer where it has been quiet for a while.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STATES = [[1, 36, 48]] * 3  # the shapes of cache_in_2 ... 4


def write(
    path: Path, *, hop: int = 256, n_fft: int = 512, drop: str = "", open_size: bool = False
) -> None:
    """The network; without the output `drop`, or with a size that is left open."""
    delay = n_fft - hop
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    constants = {
        "window": window[None],
        "split": np.array([hop, delay], np.int64),
        "floor": np.array(0.5, np.float32),
        "keep": np.array(0.9, np.float32),
        "take": np.array(0.1, np.float32),
        "one": np.array(1.0, np.float32),
        "loud": np.array(100.0, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Concat", ["cache_in_0", "wav_in"], ["frame"], axis=1),
        node("Identity", ["wav_in"], ["cache_out_0"]),
        # How loud it has been: the state that a session must not share.
        node("Abs", ["frame"], ["absolute"]),
        node("ReduceMean", ["absolute"], ["level"], keepdims=0),
        node("Mul", ["level", "take"], ["new"]),
        node("Mul", ["cache_in_2", "keep"], ["old"]),
        node("Add", ["old", "new"], ["cache_out_2"]),
        node("ReduceMean", ["cache_out_2"], ["mean"], keepdims=0),
        node("Mul", ["mean", "loud"], ["raised"]),
        node("Add", ["raised", "floor"], ["gain_open"]),
        node("Min", ["gain_open", "one"], ["gain"]),
        node("Mul", ["frame", "window"], ["windowed"]),
        node("Mul", ["windowed", "gain"], ["clean"]),
        node("Split", ["clean", "split"], ["begin", "cache_out_1"], axis=1),
        node("Add", ["begin", "cache_in_1"], ["wav_out"]),
        node("Add", ["cache_in_3", "one"], ["cache_out_3"]),
        node("Identity", ["cache_in_4"], ["cache_out_4"]),
    ]
    shapes: dict[str, Any] = {"cache_{}_0": [1, delay], "cache_{}_1": [1, delay]}
    shapes |= {f"cache_{{}}_{number + 2}": shape for number, shape in enumerate(STATES)}
    value = helper.make_tensor_value_info
    wav: list[Any] = ["batch" if open_size else 1, hop]
    inputs = [value("wav_in", TensorProto.FLOAT, wav)]
    inputs += [value(name.format("in"), TensorProto.FLOAT, size) for name, size in shapes.items()]
    outputs = [value("wav_out", TensorProto.FLOAT, [1, hop])]
    outputs += [value(name.format("out"), TensorProto.FLOAT, size) for name, size in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "like FastEnhancer",
        inputs,
        [output for output in outputs if output.name != drop],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
