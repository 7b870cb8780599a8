"""From a model's name to a checked `ModelSource` on disk.

A name is `tiny`, `synthetic/<shape>`, one of the catalogue, a local folder, a `.gguf` file, or
`owner/name` of any repository of the hub.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from quantswarm.models import catalogue, gguf_file, hf_folder, quantized, shapes
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BadFile, UnknownName

TINY = "tiny"
_SYNTHETIC = "synthetic/"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def tiny_folder() -> Path:
    """The embedded model, part of the installed package."""
    return Path(__file__).parent / "tiny"


def resolve(name: str, *, quant: str | None = None) -> ModelSource:
    """The model of that name, built or downloaded when needed.

    `quant`, where the caller knows it, lets a catalogue name be met by its ready-made weights alone
    (GGUF, GPTQ, AWQ), without the download of the original.
    Raises `UnknownName`, `BadFile`, `NotAvailable`, `NoSpace`.
    """
    if name == TINY:
        return from_folder(tiny_folder(), name=TINY)
    if name.startswith(_SYNTHETIC):
        from quantswarm.models import synthetic

        return synthetic.source(shapes.named(name))
    entry = catalogue.find(name) or _of_the_hub(name)
    if entry is not None:
        from quantswarm.models import hub

        return hub.source(entry, quant)
    return _local(name)


def planned_source(name: str, *, quant: str | None = None) -> ModelSource:
    """What `resolve` would return, without building or downloading: paths may not exist yet."""
    if name.startswith(_SYNTHETIC):
        from quantswarm.models import synthetic

        return synthetic.planned(shapes.named(name))
    entry = catalogue.find(name) or _of_the_hub(name)
    if entry is not None:
        from quantswarm.models import hub

        return hub.planned(entry, quant)
    return resolve(name)


def from_folder(folder: Path, *, name: str, random_weights: bool = False) -> ModelSource:
    """A checked Hugging Face folder as a source."""
    asked = f"model {name!r}"
    found = hf_folder.inspect(folder, asked)
    return ModelSource(
        name=name,
        folder=folder,
        gguf=None,
        tokenizer=found.tokenizer,
        context_tokens=found.context_tokens,
        parameters=found.parameters,
        random_weights=random_weights,
        fingerprint=found.fingerprint,
        quantized=quantized.recognise(found, asked),
    )


def from_gguf(path: Path, *, name: str, tokenizer: Path | None = None) -> ModelSource:
    """A checked GGUF file as a source. Without a `tokenizer`, one beside the file is used."""
    header = gguf_file.read(path)
    found = path.stat()
    beside = path.with_name("tokenizer.json")
    facts = f"{path.name} {found.st_size} {found.st_mtime_ns}"
    with path.open("rb") as source:
        start = source.read(2**20)
    return ModelSource(
        name=name,
        folder=None,
        gguf=path,
        tokenizer=tokenizer or (beside if beside.is_file() else None),
        context_tokens=header.context_tokens or 2048,
        parameters=header.parameters,
        random_weights=False,
        fingerprint=hashlib.sha256(facts.encode() + start).hexdigest(),
    )


def names() -> tuple[str, ...]:
    """Every name that needs no path."""
    return (TINY, *shapes.names(), *catalogue.models())


def _of_the_hub(name: str) -> catalogue.CatalogueEntry | None:
    """A repository that is in no catalogue, unless a path of that name is here."""
    if not _REPOSITORY.fullmatch(name) or Path(name).exists() or name.endswith(".gguf"):
        return None
    return catalogue.CatalogueEntry(
        name=name, title=name, repo=name, parameters=0, context_tokens=2048
    )


def _local(name: str) -> ModelSource:
    path = Path(name).expanduser()
    if path.is_dir():
        return from_folder(path.absolute(), name=path.absolute().name)
    if path.is_file() and path.suffix != ".gguf":
        raise BadFile(
            f"model {name!r}",
            "a file, but not a .gguf",
            next_step="give the folder that holds config.json, or a .gguf file",
        )
    if path.is_file():
        return from_gguf(path.absolute(), name=path.stem)
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")):
        raise BadFile(f"model {name!r}", "no such file or folder", next_step="check the path")
    raise UnknownName(
        "model",
        name,
        names(),
        next_step="quantswarm models lists them; a folder or .gguf file is given by its path",
    )
