from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from quantswarm.models import catalogue, hub, source
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import NotAvailable
from quantswarm.models.recipes import recipe_named
from quantswarm.models.store import artefact, planned

QWEN = "qwen2.5-0.5b-instruct"


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The hub's client, replaced: `repos` are what the hub has; what was asked for is `asked`."""

    class Fake:
        def __init__(self) -> None:
            self.repos: dict[str, Path] = {}
            self.local: set[str] = set()
            self.asked: list[tuple[str, str | None]] = []

        def __call__(
            self, repo: str, *, local_files_only: bool, revision: str | None = None, **_: Any
        ) -> str:
            if repo in self.repos and (not local_files_only or repo in self.local):
                self.local.add(repo)
                if not local_files_only:
                    self.asked.append((repo, revision))
                return str(self.repos[repo])
            raise LocalEntryNotFoundError("cannot connect\nsecond line")

    fake = Fake()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "_require_reachable", lambda asked: None)
    return fake


def test_catalogue_entries_are_complete() -> None:
    models = catalogue.models()
    assert {"qwen2.5-7b-instruct", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3"} <= set(
        models
    )
    repository = re.compile(r"[\w.-]+/[\w.-]+")
    for entry in models.values():
        for repo in (entry.repo, entry.awq, entry.gptq, entry.gguf):
            assert repo is None or repository.fullmatch(repo)
        for revision in (entry.revision, entry.awq_revision, entry.gptq_revision):
            assert revision is None or re.fullmatch(r"[0-9a-f]{40}", revision)
        assert entry.name == entry.name.lower()


def test_entries_are_found_by_name_and_by_repository() -> None:
    entry = catalogue.models()[QWEN]
    assert catalogue.find(QWEN) is catalogue.find("Qwen/Qwen2.5-0.5B-Instruct") is entry
    assert catalogue.find("nothing") is None


def test_names_of_ready_made_files() -> None:
    qwen, llama = catalogue.models()[QWEN], catalogue.models()["llama-3.1-8b-instruct"]
    assert qwen.ready_gguf("q4_k_m") == "qwen2.5-0.5b-instruct-q4_k_m.gguf"
    assert llama.ready_gguf("q4_k_m") == "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
    assert qwen.ready_gguf("f16") is None
    assert qwen.ready_gguf(None) is None


def test_offline_is_respected_and_said(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="HF_HUB_OFFLINE") as caught:
        source.resolve(QWEN)
    assert "tiny" in caught.value.next_step


def _absent() -> str:
    raise OSError("not in the cache")


def test_a_hub_that_does_not_answer_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, fake_hub: Any
) -> None:
    import socket

    def refuse(address: Any, timeout_s: float) -> Any:
        raise OSError("Name or service not known")

    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "_snapshot", lambda *_, **__: _absent())
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(NotAvailable, match="does not answer") as caught:
        source.resolve(QWEN)
    assert "Name or service not known" in str(caught.value)
    assert "local folder" in str(caught.value)


def test_an_original_is_downloaded_at_its_pinned_revision(
    fake_hub: Any, micro_folder: Path
) -> None:
    fake_hub.repos["Qwen/Qwen2.5-0.5B-Instruct"] = micro_folder
    found = source.resolve(QWEN)
    assert found.folder == micro_folder
    assert found.name == QWEN
    assert not found.random_weights
    assert fake_hub.asked == [(catalogue.models()[QWEN].repo, catalogue.models()[QWEN].revision)]
    source.resolve(QWEN)
    assert len(fake_hub.asked) == 1, "the second time it comes from the cache"


def test_a_half_downloaded_snapshot_is_not_taken_for_whole(
    fake_hub: Any, micro_folder: Path
) -> None:
    fake_hub.repos["Qwen/Qwen2.5-0.5B-Instruct"] = micro_folder
    fake_hub.local.add("Qwen/Qwen2.5-0.5B-Instruct")
    (shard,) = micro_folder.glob("*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert hub.cached("Qwen/Qwen2.5-0.5B-Instruct", None, hub._ORIGINAL) is None
    shard.write_bytes(whole)
    assert hub.cached("Qwen/Qwen2.5-0.5B-Instruct", None, hub._ORIGINAL) == micro_folder


def make_gguf(micro_folder: Path, folder: Path, name: str) -> None:
    from quantswarm.models.gguf_convert import convert

    folder.mkdir()
    convert(micro_folder, folder / name, "x")


def test_a_ready_made_gguf_needs_no_original(
    fake_hub: Any, micro_folder: Path, tmp_path: Path
) -> None:
    repo = tmp_path / "gguf"
    make_gguf(micro_folder, repo, "qwen2.5-0.5b-instruct-q4_k_m.gguf")
    fake_hub.repos["Qwen/Qwen2.5-0.5B-Instruct-GGUF"] = repo
    found = source.resolve(QWEN, quant="q4_k_m")
    assert found.gguf == repo / "qwen2.5-0.5b-instruct-q4_k_m.gguf"
    assert found.folder is None
    assert found.tokenizer is None


def test_an_original_that_is_not_converted_falls_back_to_the_ready_made_file(
    fake_hub: Any, micro_folder: Path, tmp_path: Path
) -> None:
    import json

    repo = tmp_path / "gguf"
    make_gguf(micro_folder, repo, "qwen2.5-0.5b-instruct-q4_k_m.gguf")
    qwen = Path(shutil.copytree(micro_folder, tmp_path / "qwen"))
    config = json.loads((qwen / "config.json").read_text())
    (qwen / "config.json").write_text(json.dumps(config | {"architectures": ["Qwen3ForCausalLM"]}))
    fake_hub.repos["Qwen/Qwen2.5-0.5B-Instruct"] = qwen
    fake_hub.repos["Qwen/Qwen2.5-0.5B-Instruct-GGUF"] = repo
    made = artefact(source.resolve(QWEN), recipe_named("q4_k_m"))
    assert made.path == repo / "qwen2.5-0.5b-instruct-q4_k_m.gguf"


def test_a_plan_needs_no_download(fake_hub: Any) -> None:
    plan = planned(QWEN, recipe_named("bf16"))
    revision = catalogue.models()[QWEN].revision
    assert plan.path.parts[-3:] == ("models--Qwen--Qwen2.5-0.5B-Instruct", "snapshots", revision)
    assert plan.weights_bytes == 0
    assert plan.sha256 == ""
    assert fake_hub.asked == []


def test_a_refused_download_says_how_to_get_in(
    fake_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    from huggingface_hub.errors import GatedRepoError

    request = httpx.Request("GET", "http://hub")
    response: Any = httpx.Response(403, request=request)

    def refuse(*_: Any, local_files_only: bool, **__: Any) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("no")
        raise GatedRepoError("gated", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(NotAvailable, match="HF_TOKEN"):
        source.resolve("llama-3.2-1b-instruct")


@pytest.mark.usefixtures("quantizers")
def test_ready_made_weights_of_a_quantization_are_preferred(
    fake_hub: Any, micro: ModelSource
) -> None:
    made = artefact(micro, recipe_named("gptq"))
    repo = "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4"
    before = planned(QWEN, recipe_named("gptq"))
    assert repo.split("/")[1] in str(before.path)
    fake_hub.repos[repo] = made.path
    served = artefact(source.resolve(QWEN, quant="gptq"), recipe_named("gptq"))
    assert served.path == made.path
    assert [name for name, _ in fake_hub.asked] == [repo]


@pytest.mark.usefixtures("quantizers")
def test_any_repository_is_recognised_by_its_config(fake_hub: Any, micro: ModelSource) -> None:
    made = artefact(micro, recipe_named("int8"))
    fake_hub.repos["somebody/model-W8A8"] = made.path
    found = source.resolve("somebody/model-W8A8", quant="int8")
    assert artefact(found, recipe_named("int8")).path == made.path
    assert planned("somebody/model-W8A8", recipe_named("int8")).path == made.path


def test_a_repository_that_is_not_here_is_planned(fake_hub: Any) -> None:
    found = planned("somebody/model", recipe_named("bf16"))
    assert "models--somebody--model" in str(found.path)
