"""Inside vLLM: our kernels come first, once, and read every layout that vLLM hands over."""

from __future__ import annotations

import pytest
from made_weights import dequantized, error, random_weights

from quantswarm.engines.vllm_cpu import settings

pytestmark = pytest.mark.engines
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def vllm():
    return pytest.importorskip("vllm.model_executor.kernels.linear", reason="vLLM is not installed")


@pytest.fixture
def with_library(library, monkeypatch):
    monkeypatch.setattr(settings, "home", lambda: library.parents[2])
    for variable in (settings.FOUR_BIT, settings.INT8, "QUANTSWARM_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("with_library")
@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("auto", "QuantswarmW4A16LinearKernel"),
        ("w4a8", "QuantswarmW4A8LinearKernel"),
        ("torch", "QuantswarmTorchInt4LinearKernel"),
    ],
)
def test_the_chosen_kernel_is_first_and_only_once(vllm, monkeypatch, choice, name):
    from vllm.platforms import PlatformEnum

    from quantswarm.engines.vllm_cpu import plugin

    before = list(vllm._POSSIBLE_KERNELS[PlatformEnum.CPU])
    kernels = [kernel for kernel in before if not kernel.__name__.startswith("Quantswarm")]
    monkeypatch.setitem(vllm._POSSIBLE_KERNELS, PlatformEnum.CPU, kernels)
    monkeypatch.setenv(settings.FOUR_BIT, choice)
    upstream = list(kernels)
    plugin.register()
    plugin.register()
    assert [kernel.__name__ for kernel in kernels] == [name, *(k.__name__ for k in upstream)]


def layer_of(q, scale, zero, across):
    """Parameters as vLLM's loaders leave them: GPTQ's layout, or compressed-tensors' across it."""
    from vllm.model_executor.layers.quantization.utils.quant_utils import (
        pack_quantized_values_into_int32 as pack,
    )
    from vllm.scalar_type import scalar_types

    layer = torch.nn.Module()
    made = {
        "qweight": (pack(q.t().int(), scalar_types.uint4, 0), {"input_dim": 0, "output_dim": 1}),
        "scales": (scale, {"output_dim": 1}),
    }
    if zero is not None:
        made["qzeros"] = (pack(zero.int(), scalar_types.uint4, 1), {"output_dim": 1})
    for name, (value, dims) in made.items():
        data = value.t().contiguous() if across else value
        parameter = torch.nn.Parameter(data, requires_grad=False)
        for dim, index in dims.items():
            setattr(parameter, dim, 1 - index if across else index)
        layer.register_parameter(name, parameter)
    layer.bias = None
    return layer


@pytest.mark.usefixtures("vllm", "with_library")
@pytest.mark.parametrize("kind", ["W4A16", "W4A8", "TorchInt4"])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
def test_a_layer_serves_the_product_of_its_checkpoint(kind, across, asymmetric, dtype):
    from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import (
        MPLinearLayerConfig,
    )
    from vllm.scalar_type import scalar_types

    from quantswarm.engines.vllm_cpu import four_bit

    outputs, inputs, group = 64, 256, 64
    made = random_weights(outputs, inputs, group, asymmetric)
    config = MPLinearLayerConfig(
        full_weight_shape=(inputs, outputs),
        partition_weight_shape=(inputs, outputs),
        weight_type=scalar_types.uint4 if asymmetric else scalar_types.uint4b8,
        act_type=dtype,
        group_size=group,
        zero_points=asymmetric,
    )
    q, scale, zero = made
    layer = layer_of(q, scale, zero, across)
    kernel = getattr(four_bit, f"Quantswarm{kind}LinearKernel")(
        config, "qweight", "scales", "qzeros"
    )
    kernel.process_weights_after_loading(layer)
    x = torch.randn(20, inputs).to(dtype)
    y = kernel.apply_weights(layer, x)
    assert y.dtype == dtype
    assert error(y, x, dequantized(made, group)) < 1e-2


@pytest.mark.usefixtures("vllm")
def test_what_cannot_be_served_is_refused_with_a_reason():
    from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import (
        MPLinearLayerConfig,
    )
    from vllm.scalar_type import scalar_types

    from quantswarm.engines.vllm_cpu.four_bit import QuantswarmW4A16LinearKernel

    config = MPLinearLayerConfig(
        (256, 64), (256, 64), scalar_types.uint8b128, torch.bfloat16, 64, False
    )
    assert "4 bits" in (QuantswarmW4A16LinearKernel.can_implement(config)[1] or "")
    config.weight_type, config.group_size = scalar_types.uint4, 48
    assert "multiples of 32" in (QuantswarmW4A16LinearKernel.can_implement(config)[1] or "")


def int8_layer(q, scale, bias):
    """Parameters as vLLM's compressed-tensors scheme registers them."""
    layer = torch.nn.Module()
    layer.logical_widths = [q.shape[0] // 2] * 2
    for name, value in (("weight", q), ("weight_scale", scale), ("bias", bias)):
        layer.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
    for name in ("input_scale", "input_zero_point", "azp_adj"):
        layer.register_parameter(name, None)
    return layer


def int8_kernel(**config):
    from vllm.model_executor.kernels.linear.scaled_mm.ScaledMMLinearKernel import (
        Int8ScaledMMLinearLayerConfig,
    )

    from quantswarm.engines.vllm_cpu.eight_bit import QuantswarmInt8LinearKernel

    made = Int8ScaledMMLinearLayerConfig(**config)
    if not QuantswarmInt8LinearKernel.can_implement(made)[0]:
        return None
    names = ["weight", "weight_scale", "input_scale", "input_zero_point", "azp_adj"]
    return QuantswarmInt8LinearKernel(made, names)


@pytest.mark.usefixtures("vllm", "with_library")
@pytest.mark.parametrize("channelwise", [True, False])
@pytest.mark.parametrize("isa", ["avx2", "amx"])
def test_an_int8_layer_sums_exactly(monkeypatch, channelwise, isa):
    """Rows whose largest value is 127 are their own integers: nothing is left to round."""
    monkeypatch.setenv("QUANTSWARM_CPU_ISA", isa)
    kernel = int8_kernel(
        is_static_input_scheme=False, is_channelwise=channelwise, input_symmetric=True
    )
    q = torch.randint(-128, 128, (64, 256), dtype=torch.int8)
    scale = torch.full((64, 1), 0.25) if channelwise else torch.tensor([0.25, 0.5])
    each = torch.cat([scale.flatten()[i].expand(32) for i in (0, 1)])
    layer = int8_layer(q, scale, torch.ones(64))
    kernel.process_weights_after_loading(layer)
    x = torch.randint(-127, 128, (3, 5, 256)).float()
    x[..., 0] = 127
    y = kernel.apply_weights(layer, x, layer.bias)
    assert torch.equal(y, ((x.double() @ q.double().t()) * each + 1).float())


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("static", [True, False])
def test_other_int8_schemes_are_left_to_upstream(static):
    scheme = {"is_static_input_scheme": static, "input_symmetric": static}
    assert int8_kernel(is_channelwise=True, **scheme) is None
