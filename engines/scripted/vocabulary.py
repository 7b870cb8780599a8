"""The tokens: words, their ids, and a fixed log-probability for each id.

Text is cut at white space: a word and the space after it are one token. Ids below 128 have words
of their own; the word of any other id is `t` and the id, so that text and ids go both ways. A word
that is neither has an id made from its bytes.

The probability of id i is 2^-(1 + i mod 4) wherever it stands, so that a text's perplexity is
2^(mean of 1 + i mod 4). It is a table, not a distribution: it does not sum to one.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

_ASCII = (
    "a be can day end far go he if just keep low may new of port quay red sun tide up via "
    "we yes air bird calm deep east fog gulf hull ice jib keel lee mast north oar pier "
    "quiet rope sail tar under vane wave yard all back call down even first give hand "
    "into jet kind last more no my us"
)
_WIDE = (
    "à bé ça dà eß få gû hé ïf jü kö lø må ñu öf pß qü rè sü tø ûp vî wé ÿs "
    "aïr bïrd câlm dèep 風 帆 海 船 波 月 星 雲 港 灯 鯨 鴎 島 岸 潮 砂 🌊 🌙 ⚓ 🐋 🐟 🦀 🌞 "
    "🌧 ⛵ 🧭 🗺 🔭 🏝 🪝 🛶 🚢 α β γ δ"
)
WORDS = tuple(f"{word} " for word in (*_ASCII.split(), *_WIDE.split()))
"""Text of the ids 0 to 127; the first half is ASCII, the second is not."""
HALF = 64
_IDS = {word.strip(): number for number, word in enumerate(WORDS)}
_NUMBERED = re.compile(r"t(\d{1,9})")
_PIECE = re.compile(r"\s*\S+\s*")
_MADE_IDS = 100_000
MOST_ALTERNATIVES = 20


def answer_id(number: int, wide: bool) -> int:
    """Id of token `number` of every answer: the vocabulary's half in order, over and over."""
    return number % HALF + (HALF if wide else 0)


def text_of(token: int) -> str:
    """The word of an id, with its trailing space."""
    return WORDS[token] if 0 <= token < len(WORDS) else f"t{token} "


def count_words(text: str) -> int:
    """How many tokens a text has."""
    return len(text.split())


def pieces(text: str) -> tuple[str, ...]:
    """The text cut into tokens, white space kept; joined, they are the text again."""
    return tuple(_PIECE.findall(text))


def id_of(piece: str) -> int:
    """The id of one piece of text."""
    word = piece.strip()
    if word in _IDS:
        return _IDS[word]
    numbered = _NUMBERED.fullmatch(word)
    return (
        int(numbered[1])
        if numbered
        else len(WORDS) + zlib.crc32(word.encode(errors="surrogatepass")) % _MADE_IDS
    )


def logprob(token: int) -> float:
    """Natural logarithm of 2^-(1 + token mod 4)."""
    return -(1 + token % 4) * math.log(2)


def alternatives(token: int, most: int) -> dict[str, float]:
    """The token itself and the first likely ones of the table, `most` in all, likeliest first."""
    others = [other for other in range(0, 4 * most, 4) if other != token]
    kept = [token, *others][: max(1, most)]
    return {text_of(other): logprob(other) for other in sorted(kept, key=logprob, reverse=True)}


def perplexity(tokens: Sequence[int]) -> float:
    """Of tokens that are all scored, by the table above."""
    return math.exp(-sum(map(logprob, tokens)) / len(tokens))
