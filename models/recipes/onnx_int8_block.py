"""ONNX, 8-bit weights in blocks (MatMulNBits), 8-bit activations."""

from quantswarm.models.onnx_build.build import recipe

RECIPE = recipe(
    "onnx-int8-block",
    "int8",
    "ONNX, 8-bit weights in blocks (MatMulNBits), 8-bit activations",
)
