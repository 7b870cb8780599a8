"""The matrices for a GPU: each unfolds, resolves to commands of a GPU, and fits into its hour."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from quantswarm.bench import cli, run
from quantswarm.bench.estimate import Estimate
from quantswarm.bench.load.scenario import scenario_named
from quantswarm.bench.matrix import Matrix, Variant, matrix_named
from quantswarm.bench.selection import select_planned
from quantswarm.bench.subject import fitted
from quantswarm.engines import hardware, llamacpp, vllm
from quantswarm.engines.base import Availability
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.models.errors import NotAvailable

NAMES = ("gpu", "gpu-long-context", "gpu-quality")
MAKING_MIN = 20
"""For weights that are not there yet: docs/gpu.md adds them up."""
GPU = Gpu(index=0, name="A GPU", memory_bytes=141 * 10**9, driver="580", compute_capability="9.0")
HOST = Host(
    cpu="A CPU",
    isa=("avx2", "avx512f"),
    cores=tuple(range(16)),
    core_groups=tuple((core,) for core in range(16)),
    memory_bytes=2**37,
    gpus=(GPU,),
)
NO_GPU = dataclasses.replace(HOST, gpus=(), no_gpu_reason="NVML: Driver Not Loaded")
EVERY = [
    pytest.param(matrix_named(name), variant, id=f"{name}--{variant.name}")
    for name in NAMES
    for variant in matrix_named(name).variants
]


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(llamacpp, "server_binary", lambda: None)


def prepared(matrix: Matrix, variant: Variant) -> Prepared:
    chosen = select_planned(variant.engine, variant.quant, variant.model)
    options = ServeOptions(
        users=matrix.places_of(variant),
        gpu_layers=variant.gpu_layers,
        eager=variant.eager,
        engine_options=dict(variant.options),
    )
    artefact = chosen.artefact
    assert artefact is not None
    # The lengths of a scenario are known without the tokenizer, which is not made yet.
    planned = dataclasses.replace(artefact, tokenizer=None)
    options = fitted(options, scenario_named(matrix.scenario), planned, seed=matrix.seed)
    return prepare(chosen.engine, chosen.recipe, artefact, options, host=HOST, device="cuda")


@pytest.mark.parametrize(("matrix", "variant"), EVERY)
def test_every_variant_resolves_to_a_command_of_a_gpu(matrix: Matrix, variant: Variant) -> None:
    made = prepared(matrix, variant)
    argv = made.command.argv
    assert made.spec.device == "cuda"
    assert made.warnings == ()
    if variant.engine == "vllm":
        assert "--gpu-memory-utilization" in argv
        assert "--enforce-eager" not in argv
        assert argv[argv.index("--max-num-seqs") + 1] == str(max(matrix.users))
        assert argv[argv.index("--dtype") + 1] == "float16"  # as the baseline: one thing differs
    else:
        layers = {"all": "all", "half": "16", "none": "0"}[variant.gpu_layers or ""]
        assert argv[argv.index("-ngl") + 1] == layers
        assert argv[argv.index("-np") + 1] == str(max(variant.users or matrix.users))


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_needs_a_gpu_and_the_baseline_is_one_of_them(name: str) -> None:
    matrix = matrix_named(name)
    assert {variant.needs for variant in matrix.variants} == {"cuda"}
    assert matrix.baseline in {variant.name for variant in matrix.variants}


def test_the_loads_are_those_that_were_promised() -> None:
    matrix = matrix_named("gpu")
    assert matrix.users == (1, 8, 32, 128)
    scenario = scenario_named(matrix.scenario)
    assert (scenario.prompt_tokens, scenario.output_tokens) == (512, 128)
    layers = {(v.quant, v.gpu_layers) for v in matrix.variants if v.engine == "llamacpp"}
    assert layers == {
        (quant, share) for quant in ("f16", "q8_0", "q4_k_m") for share in ("all", "half", "none")
    }


def test_it_is_done_within_an_hour() -> None:
    matrix = matrix_named("gpu")
    cell_s = run._cell_seconds(matrix, scenario_named(matrix.scenario))
    assert Estimate(matrix.cells(), cell_s).minutes_left() + MAKING_MIN < 60


def vllm_for(device: str) -> Callable[[], Availability]:
    return lambda: Availability(available=True, version="0", device=device)


def test_without_a_gpu_it_is_refused_at_once_with_what_would_run_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "host", lambda: NO_GPU)
    out = tmp_path / "run"
    assert cli.main(["bench", "--matrix", "gpu", "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "an NVIDIA GPU" in told.err
    assert "NVML: Driver Not Loaded" in told.err
    assert "the same command measures it there" in told.err
    assert not out.exists()


def test_engines_built_for_the_cpu_are_refused_on_a_host_with_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "host", lambda: HOST)
    for engine in (vllm.ENGINE, llamacpp.ENGINE):
        monkeypatch.setattr(type(engine), "probe", lambda _: vllm_for("cpu")())
    with pytest.raises(NotAvailable, match="computes on the CPU"):
        run.run_matrix(
            matrix_named("gpu"),
            tmp_path / "run",
            resume=False,
            base=ServeOptions(),
            say=lambda _: None,
        )
