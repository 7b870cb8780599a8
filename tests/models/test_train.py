"""How `tiny` is made: the split leaks nothing, batches repeat, the network is a real Llama."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from quantswarm.models.train import corpus, run
from quantswarm.models.train.card import write_card
from quantswarm.models.train.export import export
from quantswarm.models.train.network import Llama, Shape
from quantswarm.models.train.tokenizer import train_tokenizer

SMALL = Shape(
    vocabulary=300, width=64, feed_forward=128, layers=2, heads=2, kv_heads=1, head_size=32
)


def library(root: Path, count: int = 200) -> Path:
    (root / "test").mkdir(parents=True)
    (root / "test" / "test_skipped.py").write_text("skipped = 1\n")
    for number in range(count):
        doc = f"Return the number {number}, written out at some length for the reader."
        text = f'def number_{number}():\n    """{doc}"""\n    return {number}\n'
        (root / f"module_{number}.py").write_text(text)
    return root


def test_held_out_files_never_reach_training(tmp_path: Path) -> None:
    texts = corpus.load(library(tmp_path / "lib"))
    assert 2 <= len(texts.held_out) <= 25
    for held in texts.held_out:
        name = held.split("(")[0].removeprefix("def ")
        assert not any(f"{name}(" in text or f"{name} " in text for text in texts.train)


def test_tests_and_character_tables_are_left_out(tmp_path: Path) -> None:
    texts = corpus.load(library(tmp_path / "lib"))
    assert not any("skipped" in text for text in texts.train + texts.held_out)


def test_chat_turns_ask_about_what_has_a_docstring() -> None:
    source = 'class A:\n    """' + "A class with a long enough text to learn from." + '"""\n'
    (turn,) = corpus.chat_turns(source)
    assert turn.startswith("<|user|>\nWhat does the class A do?<|end|>\n<|assistant|>\nA class")
    assert turn.endswith("<|end|>\n")


def test_a_module_that_does_not_parse_gives_no_turns() -> None:
    assert list(corpus.chat_turns("def broken(:\n")) == []


def test_every_window_is_used_once_an_epoch_and_epochs_differ() -> None:
    data = run.windows(torch.arange(run.LENGTH * 64 + 1))
    per_epoch = len(data) // run.BATCH
    epochs = [
        torch.cat([run.batch_at(epoch * per_epoch + i, data)[:, 0] for i in range(per_epoch)])
        for epoch in (0, 1)
    ]
    assert sorted(epochs[0].tolist()) == sorted(data[:, 0].tolist())
    assert epochs[0].tolist() != epochs[1].tolist()
    assert torch.equal(run.batch_at(3, data), run.batch_at(3, data))


def test_windows_overlap_by_the_token_that_is_only_a_target() -> None:
    data = run.windows(torch.arange(run.LENGTH * 2 + 1))
    assert data.shape == (2, run.LENGTH + 1)
    assert data[0, -1] == data[1, 0]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [run.learning_rate_factor(step, 1000) for step in range(1001)]
    assert factors[0] < factors[run.WARM_UP - 1]
    assert factors[run.WARM_UP :] == sorted(factors[run.WARM_UP :], reverse=True)
    assert factors[-1] == 0.0


def test_the_exported_folder_gives_the_same_logits_in_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    tokenizer = train_tokenizer(["def f(x):\n    return x\n"] * 50)
    model = Llama(Shape(**{**shape_fields(SMALL), "vocabulary": tokenizer.get_vocab_size()}))
    model = model.to(torch.bfloat16).float()  # what bfloat16 weights can hold
    export(model, tokenizer, ["held out text"], {"curve": []}, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, tokenizer.get_vocab_size(), (2, 40))
    with torch.no_grad():
        assert torch.allclose(model(ids), theirs(ids).logits, atol=1e-4)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "def g(y):\n    return y + 1  # naïve\n"
    assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    chat = loaded.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|user|>\nhi<|end|>\n<|assistant|>\n"


def shape_fields(shape: Shape) -> dict[str, int]:
    return {name: getattr(shape, name) for name in Shape.__dataclass_fields__}


@pytest.fixture(scope="module")
def tiny() -> Path:
    return Path(corpus.__file__).parent.parent / "tiny"


def test_the_card_is_what_training_recorded(tiny: Path, tmp_path: Path) -> None:
    for name in ("training.json", "config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(tiny / name)
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == (tiny / "README.md").read_text()


def test_the_embedded_model_learned(tiny: Path) -> None:
    facts = json.loads((tiny / "training.json").read_text())
    first, last = facts["curve"][0], facts["curve"][-1]
    assert last["held_out_loss"] < first["held_out_loss"] < 7.0
    assert 5_000_000 <= facts["parameters"] <= 10_000_000
    assert (tiny / "model.safetensors").stat().st_size <= 20_000_000


def test_the_embedded_weights_have_the_recorded_loss(tiny: Path) -> None:
    """On the shipped held-out text, within what a different stretch of text explains."""
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    weights = load_file(tiny / "model.safetensors")
    model = Llama(Shape())
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in weights.items()})
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    text = (tiny / "held_out.txt").read_text(encoding="utf-8")
    data = run.windows(torch.tensor(tokenizer.encode(text).ids))[:16]
    recorded = json.loads((tiny / "training.json").read_text())["curve"][-1]["held_out_loss"]
    assert run.held_out_loss(model, data) < recorded + 0.5
