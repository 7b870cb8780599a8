"""The output layer of a quantized model serves from 16 bits, exactly or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantswarm.engines.vllm_cpu import kernels, settings

pytestmark = pytest.mark.engines
torch = pytest.importorskip("torch")


@pytest.fixture
def layer(monkeypatch, runs_here):
    """Made like vLLM's output layer, without the parallel state that its constructor wants."""
    head = pytest.importorskip("vllm.model_executor.layers.vocab_parallel_embedding").ParallelLMHead
    if kernels.NARROW not in runs_here:
        pytest.skip("this processor has no AVX2")
    made = head.__new__(head)
    torch.nn.Module.__init__(made)
    made.weight = torch.nn.Parameter(torch.randn(48, 64).bfloat16().float(), requires_grad=False)
    return made


@pytest.fixture
def dispatch(monkeypatch, library):
    """vLLM's own choice, after ours was put before it; it says that it was reached."""
    from vllm.model_executor.layers import utils

    from quantswarm.engines.vllm_cpu import output_layer

    def upstream(layer, remove_weight):
        layer.cpu_linear = "upstream"

    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", upstream)
    output_layer.install(library)
    output_layer.install(library)
    return lambda layer: utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)


def config(monkeypatch, quantized):
    import vllm.config

    found = SimpleNamespace(quant_config=object() if quantized else None)
    monkeypatch.setattr(vllm.config, "get_current_vllm_config", lambda: found)


def test_weights_that_16_bits_hold_serve_from_them(layer, dispatch, monkeypatch):
    config(monkeypatch, quantized=True)
    dispatch(layer)
    x = torch.randn(3, 64)
    torch.testing.assert_close(layer.cpu_linear(x, layer.weight, None), x @ layer.weight.t())


def test_other_layers_and_models_are_left_to_vllm(layer, dispatch, monkeypatch):
    config(monkeypatch, quantized=False)
    dispatch(layer)
    assert layer.cpu_linear == "upstream"
    config(monkeypatch, quantized=True)
    other = torch.nn.Linear(64, 48)
    dispatch(other)
    assert other.cpu_linear == "upstream"


@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(48, 64, generator=torch.Generator().manual_seed(0)),
        torch.ones(48, 64, dtype=torch.bfloat16),
        torch.ones(48, 60),
    ],
    ids=["not exact", "not float32", "not a multiple of 8"],
)
def test_weights_that_do_not_fit_are_left_to_vllm(layer, dispatch, monkeypatch, weight):
    config(monkeypatch, quantized=True)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    dispatch(layer)
    assert layer.cpu_linear == "upstream"


def test_who_serves_it_can_be_chosen(monkeypatch, library):
    monkeypatch.setattr(settings, "home", lambda: library.parents[2])
    for asked, served in (("auto", "w16"), ("upstream", "upstream"), ("w16", "w16")):
        monkeypatch.setenv(settings.OUTPUT, asked)
        assert settings.output_layer() == served
    monkeypatch.setattr(settings, "home", lambda: library / "elsewhere")
    monkeypatch.delenv(settings.OUTPUT)
    assert settings.output_layer() == "upstream"
