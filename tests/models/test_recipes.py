"""The contract that every recipe keeps; a new file in the folder is held to it by being there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import quantswarm.models.recipes as package
from quantswarm.models.errors import UnknownName
from quantswarm.models.recipes import Recipe, recipe_named, recipes

ALL = recipes()


@pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
def test_a_recipe_is_described(recipe: Recipe) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", recipe.name)
    assert recipe.format
    assert recipe.summary
    assert all(isinstance(flag, str) for flags in recipe.serve_flags.values() for flag in flags)
    assert all(recipe_named(alias) is recipe for alias in recipe.aliases)


@pytest.mark.parametrize("path", sorted(Path(package.__path__[0]).glob("[!_]*.py")), ids=str)
def test_a_file_is_named_after_its_recipe(path: Path) -> None:
    assert path.stem in {name.replace("-", "_") for name in ALL}


def test_names_and_aliases_do_not_collide() -> None:
    aliases = [alias for recipe in ALL.values() for alias in recipe.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(ALL)


def test_the_first_set_is_there() -> None:
    assert {"fp32", "bf16", "fp16", "f16", "q8_0", "q4_0", "q4_k_m", "q5_k_m"} <= set(ALL)
    assert recipe_named("int4").name == "q4_k_m"


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_originals_tell_vllm_their_dtype(name: str, dtype: str) -> None:
    assert ALL[name].serve_flags["vllm"] == ("--dtype", dtype)


def test_a_mistyped_name_gets_near_misses() -> None:
    with pytest.raises(UnknownName, match="Did you mean q4_k_m"):
        recipe_named("q4_km")


def test_listing_recipes_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from quantswarm.models.recipes import recipes\n"
        "import quantswarm.models.source, quantswarm.models.catalogue\n"
        "recipes()\n"
        "heavy = {'numpy', 'torch', 'gguf', 'safetensors', 'tokenizers', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
