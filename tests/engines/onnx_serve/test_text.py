"""Text in pieces: whole characters, and stop strings that come in parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from quantswarm.engines.onnx_serve.text import Decoder, Stops
from quantswarm.models.source import tiny_folder

TOKENIZER = Tokenizer.from_file(str(tiny_folder() / "tokenizer.json"))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_pieces_are_valid_and_join_to_the_text(text: str) -> None:
    decoder = Decoder(TOKENIZER)
    ids = TOKENIZER.encode(text).ids
    pieces = [decoder.piece(token) for token in ids]
    assert "�" not in "".join(pieces) or "�" in text
    assert "".join(pieces) == TOKENIZER.decode(ids)


@given(
    st.lists(st.text("abc", max_size=4), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
)
def test_nothing_of_a_stop_string_is_sent_however_it_is_cut(
    pieces: list[str], stops: list[str]
) -> None:
    told = Stops(stops)
    sent = ""
    for piece in pieces:
        sent += told.passed(piece)
        if told.met:
            break
    else:
        sent += told.rest()
    whole = "".join(pieces)
    first = min((at for stop in stops if (at := whole.find(stop)) >= 0), default=None)
    assert told.met == (first is not None)
    if first is None:
        assert sent == whole
    else:
        assert whole.startswith(sent)
        assert not any(stop in sent for stop in stops)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    told = Stops(["\n\n"])
    assert told.passed("a\n") == "a"
    assert told.passed("b") == "\nb"
    assert told.passed("c\n\nd") == "c"
    assert told.met
