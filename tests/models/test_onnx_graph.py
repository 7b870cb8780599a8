"""A graph made here: its products, its cache, and its tensors as a model's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantswarm.models import onnx_graph
from quantswarm.models.errors import BadFile
from quantswarm.models.weight_parts import EMBEDDINGS, HEAD, LAYERS, NORMS, merged

TENSORS: dict[str, np.ndarray[tuple[int, ...], np.dtype[Any]]] = {
    "model.embed_tokens.weight": np.zeros((16, 8), np.float32),
    "model.layers.0.input_layernorm.weight": np.zeros(8, np.float32),
    "model.layers.0.attn.qkv_proj.MatMul.weight_Q4": np.zeros((16, 1, 16), np.uint8),
    "model.layers.0.attn.qkv_proj.MatMul.weight_scales": np.zeros((16, 1), np.float32),
    "model.layers.0.mlp.up_proj.MatMul.weight_quantized": np.zeros((8, 16), np.int8),
    "lm_head.MatMul.weight": np.zeros((8, 16), np.float32),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    blocks = {"bits": 4, "block_size": 32, "accuracy_level": 4, "K": 8, "N": 16}
    names = list(TENSORS)
    nodes = [
        helper.make_node("MatMulNBits", ["x", names[2], names[3]], ["a"], **blocks),
        helper.make_node("MatMulInteger", ["a", names[4]], ["b"]),
        helper.make_node("MatMul", ["b", names[5]], ["c"]),
        helper.make_node("MatMul", ["c", "c"], ["d"]),
    ]
    takes = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8]),
        helper.make_tensor_value_info("past_key_values.0.key", TensorProto.FLOAT16, [1, 1, 1, 4]),
    ]
    gives = [helper.make_tensor_value_info("d", TensorProto.FLOAT, [1, 16])]
    stored = [numpy_helper.from_array(value, name) for name, value in TENSORS.items()]
    graph = helper.make_graph(nodes, "made", takes, gives, stored)
    onnx.save(helper.make_model(graph), str(tmp_path / onnx_graph.GRAPH))
    return tmp_path


def test_products_with_weights_are_counted(folder: Path) -> None:
    assert onnx_graph.products(onnx_graph.graph(folder)) == {
        "MatMulNBits,bits=4,block_size=32,accuracy_level=4": 1,
        "MatMulInteger": 1,
        "MatMul": 1,
    }


def test_the_caches_type(folder: Path) -> None:
    assert onnx_graph.cache_dtype(onnx_graph.graph(folder)) == "float16"


def test_every_byte_is_in_a_part(folder: Path) -> None:
    parts = merged(onnx_graph.parts(onnx_graph.graph(folder)))
    assert sum(part.stored_bytes for part in parts) == sum(v.nbytes for v in TENSORS.values())
    told = {(part.component, part.kind): (part.parameters, part.read) for part in parts}
    assert told == {
        (EMBEDDINGS, "float32"): (128, False),
        (NORMS, "float32"): (0, True),
        (LAYERS, "int4"): (512, True),
        (LAYERS, "scales"): (0, True),
        (LAYERS, "int8"): (128, True),
        (HEAD, "float32"): (128, True),
    }


@pytest.mark.parametrize("content", [None, b"no graph at all"])
def test_what_is_no_graph_is_a_bad_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / onnx_graph.GRAPH).write_bytes(content)
    with pytest.raises(BadFile, match="ONNX graph"):
        onnx_graph.graph(tmp_path)
