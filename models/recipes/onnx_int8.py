"""ONNX dynamic INT8: weights by column beforehand, activations as they come, one scale each."""

from quantswarm.models.onnx_build.build import recipe

RECIPE = recipe(
    "onnx-int8",
    "dynamic",
    "ONNX dynamic INT8: 8-bit weights by column, activations rounded at run time",
)
