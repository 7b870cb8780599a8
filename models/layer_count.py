"""How many layers an artefact has, from its header, its config, or the shape it will be made of."""

from __future__ import annotations

import json

from quantswarm.models import gguf_file, shapes
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile, UnknownName


def layers_of(artefact: Artefact) -> int | None:
    """Repeating layers (the output layer is none of them); None where nothing tells yet."""
    if artefact.path.is_file():
        return _of_gguf(artefact)
    config = artefact.path / "config.json"
    if config.is_file():
        return _of_config(config.read_text(encoding="utf-8"))
    if artefact.model.startswith(shapes.PREFIX):
        try:
            return shapes.named(artefact.model).layers
        except UnknownName:
            return None
    return None


def _of_gguf(artefact: Artefact) -> int | None:
    try:
        header = gguf_file.read(artefact.path)
    except BadFile:
        return None
    found = header.values.get(f"{header.architecture}.block_count")
    return int(found) if found else None


def _of_config(text: str) -> int | None:
    try:
        found = json.loads(text).get("num_hidden_layers")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None
