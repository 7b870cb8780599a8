"""ONNX dynamic INT8: 8-bit weights by column, activations rounded at run time."""

from quantswarm.models.onnx_build.build import recipe

RECIPE = recipe("onnx-int8", "dynamic", "ONNX dynamic INT8: 8-bit weights by column, activations rounded at run time")
