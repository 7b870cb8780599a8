"""ONNX, 4-bit weights in blocks (MatMulNBits), 8-bit activations."""

from quantswarm.models.onnx_build.build import recipe

RECIPE = recipe(
    "onnx-int4", "int4", "ONNX, 4-bit weights in blocks (MatMulNBits), 8-bit activations"
)
