"""The process that converts ONNX to TFLite; the only module that uses onnx2tf and TensorFlow.

``python -m convert.tflite_worker network.onnx PRECISION calibration.npy out.tflite``

onnx2tf makes a Keras model of the network, TensorFlow's own converter the file. onnx2tf could write
the file, too, but takes ten minutes and twice the memory for it: it saves the Keras model several
times, each time with all weights spelt out in its JSON description.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

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


def main(arguments: list[str]) -> None:
    """Convert as ``arguments`` say: the network, the precision, the pictures, the output."""
    die_with_parent()
    onnx, precision, calibration, out = arguments
    Path(out).write_bytes(convert(Path(onnx), precision, np.load(calibration)))


if __name__ == "__main__":
    main(sys.argv[1:])
