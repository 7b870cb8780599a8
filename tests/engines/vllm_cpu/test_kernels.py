"""Every kernel that this processor has, against dequantized weights multiplied in float64."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_weights import allowed, dequantized, error, packed4, random_weights

from quantswarm.engines.vllm_cpu import kernels, layout
from quantswarm.models.errors import NotAvailable, UnknownName

torch = pytest.importorskip("torch")

FOUR_BIT = [name for name in kernels.KERNELS if name.startswith("w4")]
EIGHT_BIT = [name for name in kernels.KERNELS if name.startswith("int8")]
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def need(kernel: str, runs_here: frozenset[str]) -> None:
    if kernel not in runs_here:
        pytest.skip(f"this processor cannot run {kernel}")


def only(kernel: str) -> kernels.Choice:
    return kernels.Choice(few=kernel, many=kernel)


def levels(kernel: str) -> int | None:
    """Steps that activations are rounded to, a side; see csrc/prepare.cpp."""
    if kernel.endswith("amx"):
        return None
    return 127 if kernel.startswith("w4a8") else 32639


@pytest.mark.parametrize("kernel", FOUR_BIT)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.one_of(st.integers(1, 40), st.sampled_from((64, 65, 100))),
    outputs=st.integers(1, 150),
    groups=st.integers(1, 4),
    group=st.sampled_from((32, 64, 96, 128, -1)),
    asymmetric=st.booleans(),
    dtype=st.sampled_from(sorted(DTYPES)),
)
def test_four_bits(runs_here, kernel, rows, outputs, groups, group, asymmetric, dtype):
    need(kernel, runs_here)
    if kernel.endswith("amx"):
        dtype = "bfloat16"
    inputs = 37 * groups if group == -1 else group * groups
    made = random_weights(outputs, inputs, group, asymmetric, rows)
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).to(DTYPES[dtype])
    y = kernels.linear4(x, packed4(made, group), None, only(kernel))
    assert y.dtype == x.dtype
    weights = dequantized(made, group)
    off = (y.double() - x.double() @ weights.double().t()).abs()
    assert bool((off <= allowed(x, weights, made[1], levels(kernel))).all())


@pytest.mark.parametrize("kernel", FOUR_BIT)
@pytest.mark.parametrize(("inputs", "group"), [(2816, 128), (4864, 32), (2816, -1), (9216, 128)])
def test_wide_layers(runs_here, kernel, inputs, group):
    need(kernel, runs_here)
    made = random_weights(48, inputs, group, True)
    x = torch.randn(33, inputs).bfloat16()
    y = kernels.linear4(x, packed4(made, group), None, only(kernel))
    assert error(y, x, dequantized(made, group)) < 1e-2


@pytest.mark.parametrize("kernel", FOUR_BIT)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_products_do_not_saturate(runs_here, kernel, sign):
    need(kernel, runs_here)
    q = torch.full((16, 256), 15, dtype=torch.uint8)
    packed = layout.pack4(q, torch.ones(2, 16), torch.zeros(2, 16, dtype=torch.uint8), 128)
    x = torch.full((3, 256), sign * 127.0).bfloat16()
    y = kernels.linear4(x, packed, None, only(kernel))
    assert torch.equal(y, torch.full((3, 16), sign * 127.0 * 15 * 256).bfloat16())


@pytest.mark.parametrize("kernel", FOUR_BIT)
def test_bias_batches_and_nothing_at_all(runs_here, kernel):
    need(kernel, runs_here)
    made = random_weights(40, 64, 32, False)
    packed, bias = packed4(made, 32), torch.randn(40)
    x = torch.randn(2, 3, 64).bfloat16()
    y = kernels.linear4(x, packed, bias, only(kernel))
    flat = kernels.linear4(x.view(6, 64), packed, None, only(kernel)).float() + bias
    assert y.shape == (2, 3, 40)
    assert torch.allclose(y.view(6, 40).float(), flat, rtol=2e-2, atol=2e-2)
    assert kernels.linear4(x[:0, 0], packed, bias, only(kernel)).shape == (0, 40)
    assert torch.equal(kernels.linear4(x[:, 0] * 0, packed, None, only(kernel)), torch.zeros(2, 40))


@pytest.mark.parametrize("kernel", FOUR_BIT)
def test_rows_do_not_depend_on_their_neighbours(runs_here, kernel):
    """Greedy text must not change with the batch it happens to share."""
    need(kernel, runs_here)
    packed = packed4(random_weights(64, 256, 64, True), 64)
    x = torch.randn(50, 256).bfloat16()
    together = kernels.linear4(x, packed, None, only(kernel))
    for row in (0, 7, 31, 32, 49):
        assert torch.equal(
            kernels.linear4(x[row : row + 1], packed, None, only(kernel)), together[row : row + 1]
        )


@pytest.mark.parametrize("kernel", EIGHT_BIT)
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 20), outputs=st.integers(1, 70), inputs=st.integers(1, 300))
def test_eight_bits_are_summed_exactly(runs_here, kernel, rows, outputs, inputs):
    need(kernel, runs_here)
    q = torch.randint(-128, 128, (outputs, inputs), dtype=torch.int8)
    packed = layout.pack8(q, torch.ones(outputs))
    x = torch.randint(-127, 128, (rows, inputs)).float()
    x[:, 0] = 127  # so that each row's scale is 1, and its integers are itself
    y = kernels.linear8(x, packed, None, kernel)
    assert torch.equal(y, (x.double() @ q.double().t()).float())


@pytest.mark.parametrize("kernel", EIGHT_BIT)
def test_eight_bits_at_their_largest(runs_here, kernel):
    need(kernel, runs_here)
    packed = layout.pack8(torch.full((16, 4096), -128, dtype=torch.int8), torch.full((16,), 0.5))
    x = torch.full((2, 4096), -127.0)
    assert torch.equal(
        kernels.linear8(x, packed, None, kernel), torch.full((2, 16), 127.0 * 64 * 4096)
    )


def test_wrong_shapes_and_types_are_refused_not_read(runs_here):
    packed = packed4(random_weights(40, 64, 32, False), 32)
    choice = kernels.choose4("w4a16", True, runs_here)
    with pytest.raises(RuntimeError, match="other inputs"):
        kernels.linear4(torch.zeros(1, 128), packed, None, choice)
    with pytest.raises(RuntimeError, match="float16"):
        kernels.linear4(torch.zeros(1, 64).half(), packed, None, choice)
    with pytest.raises(RuntimeError, match="bias must be float32"):
        kernels.linear4(torch.zeros(1, 64), packed, torch.zeros(40).bfloat16(), choice)


@pytest.mark.parametrize("mode", kernels.MODES)
def test_torch_compile_gives_the_same_with_any_number_of_rows(runs_here, mode):
    packed = packed4(random_weights(40, 128, 64, True), 64)
    choice = kernels.choose4(mode, False, runs_here)

    def plain(x):
        return kernels.linear4(x * 2, packed, None, choice) + 1

    compiled = torch.compile(plain, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (1, 5, 30):
        x = torch.randn(rows, 128).bfloat16()
        assert torch.equal(compiled(x), plain(x))


def test_the_operators_are_described_as_they_behave(runs_here):
    packed = packed4(random_weights(40, 64, 32, True), 32)
    choice = kernels.choose4("w4a16", True, runs_here)
    numbers = kernels.KERNELS[choice.few], kernels.KERNELS[choice.many], choice.few_rows
    arguments = (torch.randn(3, 64), packed.q, packed.scale, packed.zero, None, 40, *numbers)
    torch.library.opcheck(torch.ops.quantswarm_cpu.linear4.default, arguments)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 40),
    outputs=st.integers(1, 60),
    inputs=st.integers(1, 40).map(lambda n: n * 8),
    kind=st.sampled_from((torch.bfloat16, torch.float16)),
    bias=st.booleans(),
)
def test_weights_kept_in_16_bits_multiply_as_float32(runs_here, rows, outputs, inputs, kind, bias):
    need(kernels.NARROW, runs_here)
    seeded = torch.Generator().manual_seed(rows * outputs)
    weight = torch.randn(outputs, inputs, generator=seeded).to(kind)
    x = torch.randn(rows, inputs, generator=seeded)
    added = torch.randn(outputs, generator=seeded) if bias else None
    y = kernels.linear16(x, weight, added)
    assert (y.dtype, y.shape) == (torch.float32, (rows, outputs))
    wanted = x.double() @ weight.double().t() + (0 if added is None else added.double())
    # Twice the bound of summing in any order: inputs * 2^-24 of the sum of magnitudes.
    magnitudes = x.double().abs() @ weight.double().abs().t() + 4
    assert bool(((y.double() - wanted).abs() <= inputs * 2.0**-23 * magnitudes).all())


def test_the_product_of_16_bits_is_described_as_it_behaves_and_refuses_the_rest(runs_here):
    need(kernels.NARROW, runs_here)
    x, weight = torch.randn(3, 64), torch.randn(40, 64).bfloat16()
    torch.library.opcheck(torch.ops.quantswarm_cpu.linear16.default, (x, weight, torch.randn(40)))
    assert torch.equal(
        kernels.linear16(x.expand(2, 3, 64), weight, None)[1], kernels.linear16(x, weight, None)
    )
    for rows, columns in (
        (x, weight[:, :-8]),
        (x[:, :-1], weight[:, :-1]),
        (x.bfloat16(), weight),
        (x, weight.float()),
    ):
        with pytest.raises(RuntimeError, match="quantswarm_cpu"):
            kernels.linear16(rows, columns, None)


OPENMP = """
import pathlib, sys, torch
torch.ops.load_library(sys.argv[1])
mapped = {pathlib.Path(line.split()[-1]) for line in open("/proc/self/maps")}
print(*{path for path in mapped if path.name.startswith(("libgomp", "libiomp", "libomp"))})
"""


def test_it_computes_on_the_threads_of_pytorch(library):
    """A second OpenMP runtime would have its own threads, bound to nothing, on the same cores."""
    argv = [sys.executable, "-I", "-c", OPENMP, str(library)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert len(done.stdout.split()) == 1
    assert "/torch/lib/" in done.stdout


def test_a_cap_on_instruction_sets_holds(runs_here, monkeypatch):
    monkeypatch.setenv(kernels.ISA_VARIABLE, "avx2")
    assert kernels.choose4("w4a16", False, runs_here).name == "w4a16.avx2"
    assert kernels.choose8(runs_here) == "int8.avx2"
    monkeypatch.setenv(kernels.ISA_VARIABLE, "avx9")
    with pytest.raises(UnknownName, match="avx2"):
        kernels.choose4("w4a16", False, runs_here)


def test_the_choice_by_processor_and_type(monkeypatch):
    monkeypatch.delenv(kernels.ISA_VARIABLE, raising=False)
    everything = frozenset(kernels.KERNELS)
    assert kernels.choose4("w4a8", False, everything).name == "w4a8.vnni+w4a16.amx"
    assert kernels.choose4("w4a16", False, everything).few_rows == 4
    assert kernels.choose4("w4a16", True, everything).name == "w4a16.vnni"
    with pytest.raises(NotAvailable, match="AVX2"):
        kernels.choose4("w4a16", False, frozenset())
