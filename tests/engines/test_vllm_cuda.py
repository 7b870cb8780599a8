"""vLLM on a GPU: its command, its log's words, and nothing that belongs to CPUs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models import store
from quantswarm.models.errors import UserMistake
from quantswarm.models.recipes import recipe_named

HOST = Host(
    cpu="A CPU",
    isa=("avx2", "avx512f", "amx_tile"),
    cores=tuple(range(16)),
    core_groups=tuple((core,) for core in range(16)),
    memory_bytes=2**37,
    gpus=(Gpu(index=0, name="G", memory_bytes=1, driver="1", compute_capability="9.0"),),
)
LOG = """\
INFO [config.py:1] Initializing a V1 LLM engine with config: model='m', dtype=torch.float16, \
quantization=gptq_marlin, enforce_eager=False, kv_cache_dtype=fp8, device_config=cuda
INFO [__init__.py:923] Using MacheteLinearKernel for mixed-precision linear
INFO [auto_gptq.py:352] Using MacheteLinearKernel for AutoGPTQLinearMethod
INFO [cuda.py:506] Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN'].
INFO [flash_attn.py:1117] Using FlashAttention version 3
INFO [kv_cache_utils.py:2327] GPU KV cache size: 903,424 tokens, Maximum concurrency for 2,048 \
tokens per request: 441.12x
INFO [gpu_model_runner.py:6582] Graph capturing finished in 9 secs, took 0.57 GiB
"""
"""In the words of vLLM 0.32's sources; no run wrote it."""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))


def prepared(quant: str, *, eager: bool = False, **options: str) -> Prepared:
    recipe = recipe_named(quant)
    return prepare(
        engine_named("vllm"),
        recipe,
        store.planned("synthetic/7b", recipe),
        ServeOptions(users=128, eager=eager, engine_options=options),
        host=HOST,
        device="cuda",
    )


def after(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


@pytest.mark.parametrize("quant", ["fp16", "gptq-nearest", "awq-nearest", "fp8-nearest", "fp8-kv"])
def test_nothing_of_the_cpu_reaches_a_gpus_server(quant: str) -> None:
    made = prepared(quant)
    names = set(made.command.env)
    assert names == {"VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE"}
    argv = made.command.argv
    assert "--quantization" not in argv, "vLLM reads it from the checkpoint and picks the kernel"
    assert after(argv, "--gpu-memory-utilization") == "0.9"
    assert after(argv, "--max-num-seqs") == "128"
    assert made.warnings == ()


def test_the_cache_and_the_type_are_asked_for() -> None:
    assert after(prepared("fp8-kv").command.argv, "--kv-cache-dtype") == "fp8"
    assert after(prepared("fp16").command.argv, "--dtype") == "float16"
    assert "--kv-cache-dtype" not in prepared("fp16").command.argv


def test_graphs_are_declared_either_way() -> None:
    compiled, eager = prepared("fp16"), prepared("fp16", eager=True)
    assert "--enforce-eager" not in compiled.command.argv
    assert "CUDA graphs captured" in compiled.command.reasons["eager"]
    assert "--enforce-eager" in eager.command.argv
    assert "CUDA graphs" not in eager.command.reasons["eager"]


@pytest.mark.parametrize("share", ["0", "-0.5", "1.2"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(UserMistake, match="more than 0 and at most 1"):
        prepared("fp16", gpu_memory_utilization=share)


def test_a_linear_backend_is_passed_on() -> None:
    argv = prepared("gptq-nearest", linear_backend="marlin").command.argv
    assert after(argv, "--linear-backend") == "marlin"
    assert "--linear-backend" not in prepared("gptq-nearest").command.argv


def test_the_log_tells_kernels_cache_and_graphs() -> None:
    engine = engine_named("vllm")
    named = engine.kernels(LOG)
    assert {"MacheteLinearKernel", "FLASH_ATTN", "FlashAttention version 3"} <= set(named)
    told = engine.served_with(LOG)
    assert told["kernel"] == "MacheteLinearKernel"
    assert (told["kv_cache_dtype"], told["kv_cache_tokens"]) == ("fp8_e4m3", 903_424)
    assert told["cuda_graphs_gib"] == 0.57
    assert "cuda_graphs_gib" not in engine.served_with("no graph was captured")


@pytest.mark.parametrize(
    "line",
    [
        "Using MarlinLinearKernel for AutoAWQMarlinLinearMethod",
        "Using MarlinLinearKernel for mixed-precision linear",
        "Selected CutlassFP8ScaledMMLinearKernel for CompressedTensorsW8A8Fp8",
        "Selected FlashInferFP8ScaledMMLinearKernel for Fp8LinearMethod",
    ],
)
def test_each_kernel_that_a_gpu_may_be_given_is_recognised(line: str) -> None:
    told = engine_named("vllm").served_with(f"INFO 11-21 [x.py:1] {line}\n")
    assert told["kernel"] == line.split()[1]


@pytest.mark.engines
def test_the_installed_vllm_still_speaks_so() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed")
    root = Path(spec.origin).parent
    said = {
        "model_executor/kernels/linear/__init__.py": (
            "Using %s for mixed-precision linear",
            "Selected %s for %s",
            "MacheteLinearKernel",
            "MarlinLinearKernel",
            "CutlassFP8ScaledMMLinearKernel",
        ),
        "model_executor/layers/quantization/auto_gptq.py": ("Using %s for AutoGPTQLinearMethod",),
        "model_executor/layers/quantization/auto_awq.py": (
            "Using %s for AutoAWQMarlinLinearMethod",
        ),
        "platforms/cuda.py": ("Using %s attention backend",),
        "v1/attention/backends/flash_attn.py": ("Using FlashAttention version %s",),
        "v1/core/kv_cache_utils.py": ("KV cache size: %s tokens",),
        "v1/worker/gpu_model_runner.py": ("Graph capturing finished in %.0f secs, took %.2f GiB",),
    }
    for file, words in said.items():
        text = (root / file).read_text(encoding="utf-8")
        assert [word for word in words if word not in text] == [], file


@pytest.mark.engines
def test_the_plugin_leaves_another_platform_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    platforms = pytest.importorskip("vllm.platforms", reason="vLLM is not installed")
    from vllm.model_executor.kernels import linear

    from quantswarm.engines.vllm_cpu import plugin

    def seen() -> dict[object, list[type]]:
        tables = (linear._POSSIBLE_KERNELS, linear._POSSIBLE_INT8_KERNELS)
        return {(n, key): list(row) for n, table in enumerate(tables) for key, row in table.items()}

    def touched(*_: object) -> None:
        pytest.fail("the plugin went on")

    monkeypatch.setattr(platforms, "current_platform", SimpleNamespace(is_cpu=lambda: False))
    monkeypatch.setattr(plugin, "_ask_for_amx", touched)
    before = seen()
    plugin.register()
    assert seen() == before
