"""The plugin's products chosen by engine options."""

from __future__ import annotations

import pytest

from quantswarm.engines import vllm_products
from quantswarm.engines.registry import engine_named
from quantswarm.models.errors import UnknownName


def test_they_become_the_plugins_variables():
    reasons: dict[str, str] = {}
    env = vllm_products.environment({"four_bit": "upstream", "int8": "exact"}, reasons)
    assert env == {"QUANTSWARM_VLLM_4BIT": "upstream", "QUANTSWARM_VLLM_INT8": "exact"}
    assert set(reasons) == set(env)
    assert vllm_products.environment({}, reasons) == {}


@pytest.mark.parametrize("option", ["four_bit", "int8"])
def test_a_product_that_there_is_not(option):
    with pytest.raises(UnknownName, match="upstream"):
        vllm_products.environment({option: "marlin"}, {})


def test_vllm_knows_both():
    assert set(vllm_products.OPTIONS) <= set(engine_named("vllm").options)
