"""ONNX graphs by component: names of the exporter, packed blocks, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantswarm.models import onnx_parts
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile
from quantswarm.models.part_sizes import PartSize, sizes
from quantswarm.models.weight_parts import of_artefact

onnx = pytest.importorskip("onnx")


def tensor(name: str, kind: str, *shape: int) -> Any:
    """A weight whose data lies in a file that is not there: nothing may need it."""
    made = onnx.TensorProto(name=name, data_type=getattr(onnx.TensorProto, kind), dims=shape)
    made.data_location = onnx.TensorProto.EXTERNAL
    made.external_data.add(key="location", value="model.onnx.data")
    return made


def node(kind: str, name: str, *inputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes)


def written(folder: Path, nodes: list[Any], tensors: list[Any]) -> Path:
    folder.mkdir()
    graph = onnx.helper.make_graph(nodes, "g", [], [], tensors)
    (folder / "model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return folder


def found_in(folder: Path) -> dict[str, PartSize]:
    return {size.part: size for size in sizes(onnx_parts.of_graph(folder, "a test").parts)}


def test_blocks_of_four_bits_with_their_scales(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.MatMul.weight"
    folder = written(
        tmp_path / "m",
        [
            node(
                "MatMulNBits",
                "/model/layers.0/mlp/up_proj/MatMul_Q4",
                *("x", f"{name}_Q4", f"{name}_scales"),
                bits=4,
                block_size=32,
            ),
            node("Gather", "/model/embed_tokens/Gather", "model.embed_tokens.weight", "ids"),
            node("GroupQueryAttention", "/model/layers.0/attn", "x", "cos_cache"),
        ],
        [
            tensor(f"{name}_Q4", "UINT8", 64, 8, 16),
            tensor(f"{name}_scales", "FLOAT", 64, 8),
            tensor("model.embed_tokens.weight", "FLOAT", 100, 256),
            tensor("model.layers.0.input_layernorm.weight", "FLOAT", 256),
            tensor("lm_head.MatMul.weight", "FLOAT", 256, 100),
            tensor("cos_cache", "FLOAT", 512, 32),
        ],
    )
    found = found_in(folder)
    assert found["linear"].parameters == 64 * 256
    assert found["linear"].bits_per_weight == 5  # a float32 scale for 32 weights
    assert found["linear"].dtype == "int4"
    assert found["embeddings"].plain
    assert not found["embeddings"].tied
    assert found["lm_head"].size_bytes == 4 * 256 * 100
    assert found["norms"].parameters == 256
    assert (found["other"].parameters, found["other"].bits_per_weight) == (0, None)


def test_dynamic_int8_and_a_name_that_says_nothing(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "m",
        [
            node(
                "MatMulInteger",
                "/transformer/h.3/mlp/MatMul_quant",
                *("x", "onnx::MatMul_7_quantized", "x_zero", "onnx::MatMul_7_zero_point"),
            ),
            node("Mul", "/transformer/h.3/mlp/scales_mul", "x", "onnx::MatMul_7_scale"),
        ],
        [
            tensor("onnx::MatMul_7_quantized", "INT8", 256, 64),
            tensor("onnx::MatMul_7_zero_point", "INT8"),
            tensor("onnx::MatMul_7_scale", "FLOAT"),
            tensor("transformer.wte.weight", "FLOAT", 100, 256),
        ],
    )
    found = found_in(folder)
    assert set(found) == {"linear", "embeddings"}
    assert found["linear"].dtype == "int8"
    assert found["linear"].size_bytes == 256 * 64 + 1 + 4
    assert found["embeddings"].tied


def artefact(path: Path) -> Artefact:
    return Artefact(
        path=path,
        format="onnx",
        model="m",
        quant="onnx-int4",
        weights_bytes=1,
        sha256="",
        tokenizer=None,
        context_tokens=512,
        random_weights=False,
    )


def test_an_artefact_of_that_format_is_read_so_and_has_no_ceiling(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", [], [tensor("lm_head.MatMul.weight", "FLOAT16", 8, 4)])
    weights = of_artefact(artefact(folder))
    assert weights.stored_bytes == 64
    assert weights.read_bytes() is None
    assert "ONNX" in weights.unknown


@pytest.mark.parametrize("content", [None, b"\xff" * 64])
def test_what_is_no_graph_is_said(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BadFile, match="onnx"):
        of_artefact(artefact(tmp_path))
