"""INT8, W8A8: one scale for each output of the weights, one for each token of the activations."""

from quantswarm.models.quantize.build import Method, recipe

RECIPE = recipe(
    Method(name="int8", calibrated=False, grouped=False),
    "8-bit integer weights and activations (W8A8)",
    format="compressed-tensors",
)
