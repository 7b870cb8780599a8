"""A Hugging Face byte-level BPE tokenizer as GGUF holds it.

The ways of GPT-2, Qwen2 and Llama 3 to cut text before merging are known here. llama.cpp takes a
wrong name without a word and then gives other ids for part of all texts, so others are refused.
Qwen2's tokenizers bring text into NFC first, llama.cpp does not: ids differ for text that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.hf_folder import HfFolder, read_json

_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
PATTERNS = {
    _WORDS + r"\p{N}" + _REST: "qwen2",
    _WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe",
}
"""The pattern that text is split by → llama.cpp's name for it."""

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_END_OF_TURN = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<|end_of_turn|>")


def write(writer: Any, model: HfFolder) -> None:
    """Add tokens, merges, special ids and the chat template to a GGUF writer."""
    asked = f"tokenizer of {model.path}"
    tokenizer = read_json(model.path / "tokenizer.json", asked)
    cut = pre_tokenizer(tokenizer, asked)
    tokens, kinds = _tokens(tokenizer, int(model.config["vocab_size"]), asked)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([_merge(pair) for pair in tokenizer["model"]["merges"]])
    _write_special(writer, model, tokens)
    starts, ends = _added_around(model)
    writer.add_add_bos_token(starts)
    writer.add_add_eos_token(ends)
    writer.add_add_space_prefix(False)


def pre_tokenizer(tokenizer: Mapping[str, Any], asked: str) -> str:
    """llama.cpp's name for how this tokenizer cuts text; `UnsupportedPair` where it has none
    that gives the same ids."""
    bpe = tokenizer.get("model") or {}
    cut = tokenizer.get("pre_tokenizer") or {}
    name = _cut_by(cut)
    normalizer = tokenizer.get("normalizer") or {}
    reasons = {
        f"its model is {bpe.get('type')}, not BPE": bpe.get("type") != "BPE",
        f"its text is cut by {_names(cut)}, not by GPT-2's ByteLevel, Qwen2's or Llama 3's": (
            name is None
        ),
        "a space is put before the text": _puts_a_space(cut),
        "its text is normalized first": bool(normalizer)
        and (name, normalizer.get("type")) != ("qwen2", "NFC"),
        "it falls back to bytes, or marks parts of words": any(
            bpe.get(name)
            for name in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
        ),
        "it skips merges for whole words, or does not where Llama 3 does": (
            bool(bpe.get("ignore_merges")) != (name == "llama-bpe")
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise UnsupportedPair(
                asked,
                f"{reason}; llama.cpp would silently give other token ids",
                next_step="give a ready-made .gguf file as model, or serve the folder with vllm",
            )
    assert name is not None
    return name


def _cut_by(cut: Mapping[str, Any]) -> str | None:
    if cut.get("type") == "ByteLevel" and cut.get("use_regex", True):
        return "gpt-2"
    parts = list(cut.get("pretokenizers") or ())
    if [part.get("type") for part in parts] != ["Split", "ByteLevel"]:
        return None
    split, byte_level = parts
    plain = split.get("behavior") == "Isolated" and not split.get("invert")
    if not plain or byte_level.get("use_regex", True):
        return None
    return PATTERNS.get(str((split.get("pattern") or {}).get("Regex")))


def _puts_a_space(cut: Mapping[str, Any]) -> bool:
    return any(part.get("add_prefix_space") for part in (cut, *(cut.get("pretokenizers") or ())))


def _names(cut: Mapping[str, Any]) -> str:
    inner = [part.get("type", "?") for part in cut.get("pretokenizers", ())]
    return f"{cut.get('type')}({', '.join(inner)})" if inner else str(cut.get("type"))


def _tokens(
    tokenizer: Mapping[str, Any], vocabulary: int, asked: str
) -> tuple[list[str], list[int]]:
    """Tokens by id and llama.cpp's kind of each; ids without a token are marked unused."""
    by_id = {number: token for token, number in tokenizer["model"]["vocab"].items()}
    kind_of: dict[int, int] = {}
    for added in tokenizer.get("added_tokens", ()):
        by_id[added["id"]] = added["content"]
        kind_of[added["id"]] = _CONTROL if added.get("special") else _USER_DEFINED
    if max(by_id) >= vocabulary:
        raise BadFile(
            asked,
            f"it has id {max(by_id)}, the model only {vocabulary} embeddings",
            next_step="give the folder the tokenizer that the model was trained with",
        )
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(vocabulary)]
    missing = dict.fromkeys((n for n in range(vocabulary) if n not in by_id), _UNUSED)
    kinds = [(kind_of | missing).get(number, _NORMAL) for number in range(vocabulary)]
    return tokens, kinds


def _merge(pair: Any) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


def _write_special(writer: Any, model: HfFolder, tokens: list[str]) -> None:
    settings_path = model.path / "tokenizer_config.json"
    settings = read_json(settings_path, str(settings_path)) if settings_path.is_file() else {}
    ends = model.config.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    bos, pad = model.config.get("bos_token_id"), settings.get("pad_token")
    if bos is not None:
        writer.add_bos_token_id(int(bos))
    if ends[0] is not None:
        writer.add_eos_token_id(int(ends[0]))
    for end in ends[1:]:
        if tokens[end] in _END_OF_TURN:
            writer.add_eot_token_id(int(end))
    pad = pad.get("content") if isinstance(pad, dict) else pad
    if pad in tokens:
        writer.add_pad_token_id(tokens.index(pad))
    template = settings.get("chat_template")
    beside = model.path / "chat_template.jinja"
    if template is None and beside.is_file():
        template = beside.read_text(encoding="utf-8")
    if isinstance(template, str):
        writer.add_chat_template(template)


def _added_around(model: HfFolder) -> tuple[bool, bool]:
    """Whether encoding puts something before, or after, a text: asked of the tokenizer itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    if full == plain:
        return False, False
    at = next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)
    return at > 0, at + len(plain) < len(full)
