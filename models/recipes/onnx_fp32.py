"""ONNX, float32 weights and products."""

from quantswarm.models.onnx_build.build import recipe

RECIPE = recipe("onnx-fp32", "fp32", "ONNX, float32 weights and products")
