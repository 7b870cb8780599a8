"""What is timed multiplies with the same weights, upstream's kernels too."""

from __future__ import annotations

import pytest

from quantswarm.engines.vllm_cpu import measure, settings

pytestmark = pytest.mark.engines
torch = pytest.importorskip("torch")


@pytest.fixture
def bfloat16(library, monkeypatch):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    monkeypatch.setattr(settings, "home", lambda: library.parents[2])
    threads = torch.get_num_threads()
    yield measure._prepare("bf16")
    torch.set_num_threads(threads)


def test_every_four_bit_product_is_the_same_product(bfloat16):
    made = measure.matrix(128, 256, 64, bfloat16, frozenset())
    x = torch.randn(5, 256).to(bfloat16)
    given = {
        name: product(x).float()
        for name, product in made.products.items()
        if name != "dense" and not name.startswith("int8")
    }
    assert len(given) > 2
    first = next(iter(given.values()))
    for name, y in given.items():
        assert (y - first).norm() < 2e-2 * first.norm(), name


@pytest.mark.usefixtures("bfloat16")
def test_ratios_are_to_the_first_product(capsys):
    shapes = ["--shapes", "32x64,64x128", "--group", "32"]
    effort = ["--rows", "1,3", "--layers", "1", "--rounds", "2"]
    measure.main([*shapes, *effort, "--only", "dense,torch"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["rows 1", "rows 3"]
    assert all("dense" in line and "(1.00x)" in line and "torch" in line for line in lines)
