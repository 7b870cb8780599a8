"""The cache of artefacts, under `$QUANTSWARM_HOME`: each is built once, whole, and sealed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from quantswarm.models import gguf_file
from quantswarm.models.artefact import Artefact, ModelSource
from quantswarm.models.quantized import require_same
from quantswarm.models.recipes import Recipe, recipe_named
from quantswarm.models.sealed import Contents, Seal, read_seal, sealed_folder

_LAYOUT = 1
"""Part of every key: raise it when a converter changes, and all artefacts are built again."""

PROVENANCE = "quantization.json"
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".onnx", ".onnx.data")


def home() -> Path:
    """Where everything built or compiled lives: `$QUANTSWARM_HOME` or the user's cache."""
    return Path(os.environ.get("QUANTSWARM_HOME") or "~/.cache/quantswarm").expanduser().absolute()


def serve_original(model: ModelSource, workdir: Path) -> Path:  # noqa: ARG001 — a recipe's build
    """The `build` of recipes that change no weights: the model's own folder, nothing copied."""
    return model.original(f"safetensors weights of {model.name!r}")


def artefact(source: ModelSource, recipe: Recipe) -> Artefact:
    """What an engine loads, built first if it is missing or damaged (said on stderr).

    Raises what the recipe raises, `NoSpace` when the disk fills.
    """
    if recipe.weights is not None:
        return replace(artefact(source, recipe_named(recipe.weights)), quant=recipe.name)

    def build(aside: Path) -> Contents:
        work = aside / "work"
        work.mkdir()
        made = _ready(source, recipe) or recipe.build(source, work)
        if made.is_relative_to(aside):
            return _keep(made, aside, recipe)
        work.rmdir()
        return _remember(made)

    seal = sealed_folder(
        _folder(source, recipe), asked=f"{recipe.name} of {source.name}", build=build
    )
    return _artefact(source, recipe, seal.root / seal.facts["serve"], seal)


def planned(name: str, recipe: Recipe) -> Artefact:
    """The artefact as `artefact` would return it, with nothing built or downloaded for it.

    What does not exist yet has 0 `weights_bytes` and an empty `sha256`.
    """
    from quantswarm.models.source import planned_source

    if recipe.weights is not None:
        return replace(planned(name, recipe_named(recipe.weights)), quant=recipe.name)
    source = planned_source(name, quant=recipe.name)
    folder = _folder(source, recipe)
    seal = read_seal(folder)
    if seal is not None:
        return _artefact(source, recipe, seal.root / seal.facts["serve"], seal)
    ready = _ready(source, recipe)
    made = "model.gguf" if recipe.format == "gguf" else "model"
    return _artefact(source, recipe, ready or folder / made, None)


def _folder(source: ModelSource, recipe: Recipe) -> Path:
    """Named for people first; the digest makes it unique to weights, layout and settings."""
    key = f"{_LAYOUT} {source.fingerprint}"
    if recipe.variant is not None:
        key += f" {json.dumps(dict(recipe.variant()), sort_keys=True)}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip("-.")[-60:]
    return home() / "artefacts" / f"{slug}-{digest}-{recipe.name}"


def _ready(source: ModelSource, recipe: Recipe) -> Path | None:
    """What can be served without building: the original folder, or weights of just this type."""
    if source.quantized is not None:
        require_same(source.quantized, recipe.name, source.name)
        return source.folder
    if recipe.build is serve_original:
        return serve_original(source, Path())
    if recipe.format != "gguf" or source.gguf is None:
        return None
    return source.gguf if gguf_file.read(source.gguf).quant == recipe.name else None


def _keep(made: Path, aside: Path, recipe: Recipe) -> Contents:
    """Move what is served out of the scratch folder, under a name that `planned` can foretell.

    The account of a file's making, where its recipe wrote one beside it, is kept beside it.
    """
    kept = aside / f"model{made.suffix if made.is_file() else ''}"
    account = made.with_name(PROVENANCE)
    if made.is_file() and account.is_file():
        account.rename(aside / PROVENANCE)
    made.rename(kept)
    shutil.rmtree(aside / "work", ignore_errors=True)
    return Contents(facts={"serve": kept.name, "recipe": recipe.name})


def _remember(made: Path) -> Contents:
    """Hashes of weights that lie elsewhere and are not ours to keep."""
    if made.is_file():
        return Contents(root=made.parent, paths=(made,), facts={"serve": made.name})
    weights = tuple(sorted(path for path in made.iterdir() if path.name.endswith(_WEIGHTS)))
    return Contents(root=made, paths=weights, facts={"serve": "."})


def _artefact(source: ModelSource, recipe: Recipe, path: Path, seal: Seal | None) -> Artefact:
    weights = [entry for entry in seal.files if entry.path.endswith(_WEIGHTS)] if seal else []
    return Artefact(
        path=path,
        format=recipe.format,
        model=source.name,
        quant=recipe.name,
        weights_bytes=sum(entry.size_bytes for entry in weights),
        sha256=_digest([(entry.sha256, entry.path) for entry in weights]),
        tokenizer=source.tokenizer,
        context_tokens=source.context_tokens,
        random_weights=source.random_weights,
    )


def _digest(weights: list[tuple[str, str]]) -> str:
    """One file: its own sha256. Several: that of the lines `sha256sum` prints for them."""
    if len(weights) < 2:
        return weights[0][0] if weights else ""
    lines = "".join(f"{digest}  {path}\n" for digest, path in weights)
    return hashlib.sha256(lines.encode()).hexdigest()
