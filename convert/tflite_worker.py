"""The process that converts ONNX to TFLite; the only module that uses onnx2tf and TensorFlow.

``python -m convert.tflite_worker network.onnx PRECISION calibration.npy out.tflite [ranges.npy]``

onnx2tf makes a Keras model of the network, TensorFlow's own converter the file. onnx2tf could write
the file, too, but takes ten minutes and twice the memory for it: it saves the Keras model several
times, each time with all weights spelt out in its JSON description.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.onnx_export import INPUT, OUTPUT
from edge.child import die_with_parent


def convert(onnx: Path, precision: str, calibration: NDArray[np.uint8]) -> bytes:
    """The network in the file ``onnx`` as TFLite; see :func:`convert.tflite_export.to_tflite`."""
    import onnx2tf  # noqa: PLC0415 - seconds, in which main() must have tied it to its parent
    import tensorflow as tf  # noqa: PLC0415 - as above

    model = onnx2tf.convert(
        input_onnx_file_path=str(onnx),
        output_integer_quantized_tflite=precision == "int8",  # it pads with what int8 can express
        disable_model_save=True,
        non_verbose=True,
    )
    module = tf.Module()  # not the model itself: TensorFlow would save that as Keras does
    module.answer = tf.function(
        lambda image: {OUTPUT: model(image)},
        input_signature=[tf.TensorSpec((1, 224, 224, 3), tf.float32, name=INPUT)],
    )
    answer = module.answer.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([answer], module)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        # These alone, so that what cannot be quantised is an error.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: representative(calibration)
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    network: bytes = converter.convert()
    return network


def representative(calibration: NDArray[np.uint8]) -> Iterator[list[NDArray[np.float32]]]:
    """``calibration`` (N, 224, 224, 3) uint8, one by one as the network's input.

    The input scale follows from the range of these values: for exactly 1/255, the first picture is
    given a 0 and a 1.
    """
    for number, picture in enumerate(calibration):
        x = picture[np.newaxis].astype(np.float32) / np.float32(255)
        if number == 0:
            x[0, 0, 0], x[0, 0, 1] = 0, 1
        yield [x]


def with_residual_ranges(network: bytes, ranges: NDArray[np.float32]) -> bytes:
    """``network``, int8, with scales for ``ranges`` (blocks, 2) of what is added to shortcuts.

    TensorFlow's calibration takes them for as large as the sums, because it looks at the memory of
    a convolution's output again after the sum was written there (tensorflow issue 127842). A scale
    that is too large by half makes the error of the network larger by half. Only the addition reads
    these tensors, so nothing else depends on their scale. ValueError if there is another number of
    additions than blocks.
    """
    from tensorflow.lite.tools import flatbuffer_utils as flat  # noqa: PLC0415 - as above

    model = flat.read_model_from_bytearray(bytearray(network))
    (graph,) = model.subgraphs

    def named(operator: Any) -> str:
        return str(flat.opcode_to_name(model, operator.opcodeIndex))

    makers = {output: op for op in graph.operators for output in op.outputs}
    additions = [op for op in graph.operators if named(op) == "ADD"]
    for addition, (low, high) in zip(additions, ranges.tolist(), strict=True):
        for number in addition.inputs:
            maker = makers[number]
            if named(maker) == "CONV_2D" and graph.tensors[maker.inputs[1]].shape[1] == 3:
                scale = max((high - low) / 255, 1e-9)
                stored = graph.tensors[number].quantization
                stored.scale, stored.zeroPoint = [scale], [round(-128 - low / scale)]
    return bytes(flat.convert_object_to_bytearray(model))


def main(arguments: list[str]) -> None:
    """Convert as ``arguments`` say: the network, the precision, the pictures, the output."""
    die_with_parent()
    onnx, precision, calibration, out, *ranges = arguments
    network = convert(Path(onnx), precision, np.load(calibration))
    if ranges:
        network = with_residual_ranges(network, np.load(ranges[0]))
    Path(out).write_bytes(network)


if __name__ == "__main__":
    main(sys.argv[1:])
