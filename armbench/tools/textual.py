r"""Paragraphs, sentences, words, mentions and edges of a text: what checkers look at.

Pure functions on strings; no model, no data file, and every pattern runs in
linear time, whatever the text. They tolerate Markdown. The rules:

* Paragraph: lines up to a blank line. A line of whitespace is blank; so is a
  divider (``***``, ``---``, ``___``, ``===``), which is never a paragraph itself.
  A heading with a blank line below it is a paragraph.
* Sentence: ends at ``. ! ?`` or an ellipsis before whitespace, or at a full-width,
  Devanagari or Arabic stop. Headings, list items and table rows are sentences of
  their own; other single line breaks are spaces. Without a letter or digit
  there is no sentence; an emoji after a stop belongs to the sentence before it.
* Word: letters, marks and digits; apostrophes, hyphens and ``& _`` inside keep it
  one word, as do the points of 3.14, U.S. and example.com. Numbers are words.
  Chinese characters, kana and bopomofo count one each.
* Mention: a whole word or phrase in any case; see `count_mentions`.

Numbers are in `armbench.tools.numerals`.
"""

# Sentence splitting is written by hand: the libraries that do it either need a
# data file at run time (NLTK, spaCy) or are no longer kept and break on Markdown,
# URLs and wrapped lines (pysbd); the core shall not gain a dependency for that.
# benchmarks/ifeval_agreement.py compares the two.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal

__all__ = [
    "UNDELIMITED",
    "Edge",
    "begins_with",
    "count_mentions",
    "count_words",
    "ends_with",
    "paragraphs",
    "sentences",
]

_CJK = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3100-\u312f\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Scripts whose words no space (Thai, Lao, Burmese, Khmer) or a particle (Korean) delimits.
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
UNDELIMITED = _CJK + _SPACELESS + r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"

"""Scripts without delimited words, as the inside of a character class."""

_QUOTES = "\"'\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u300c-\u300f"
_OPENERS = _QUOTES + r"(\[{<\u3008\u300a\u3010\u3014\uff08\u00bf\u00a1"
_CLOSERS = _QUOTES + r")\]}>\u3009\u300b\u3011\u3015\uff09"
_MARKUP = "*_~`"
_EMOJI = r"\u2600-\u27bf\u2b50\ufe0f\U0001f000-\U0001faff"
_WIDE_STOPS = r"\u3002\uff01\uff1f\uff61\u0964\u0965\u061f\u06d4"
_STOPS = r".!?\u2026" + _WIDE_STOPS
_PAUSES = r",;:\u3001\uff0c\uff1b\uff1a\u060c\u061b"


@cache
def _marks() -> str:
    """Combining marks as a character class: `re` does not see them as part of a word."""
    # Thai and its like are left out: their whole blocks are classes of their own above.
    skip = re.compile(f"[{UNDELIMITED}]")
    marks = (chr(code) for code in range(0x300, 0x1F000))
    marks = (mark for mark in marks if unicodedata.category(mark) in ("Mn", "Mc"))
    return "".join(mark for mark in marks if not skip.match(mark))


# --- paragraphs -----------------------------------------------------------------------

_DIVIDER = re.compile(r"\s*(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,}|={3,}\s*)")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, without surrounding whitespace.

    Args:
        text: Any text. Blank lines and dividers separate paragraphs.
    """
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip() or _DIVIDER.fullmatch(line):
            blocks.append([])
        else:
            blocks[-1].append(line)
    return ["\n".join(block).strip() for block in blocks if block]


# --- sentences ------------------------------------------------------------------------

_FENCE = re.compile(r"\s*(?:```|~~~)")
_QUOTED_LINE = re.compile(r"\s*(?:>\s?)+")
_LIST_ITEM = re.compile(
    r"\s*(?:[-*+\u2022\u25e6\u25aa\u2023\u2013]\s|[*_]{0,3}\(?(?:\d{1,3}[.)]|[a-zA-Z]\)|(?:[A-Z]|[IVX]{2,5})\.)[*_]{0,3}\s|\|)"
)
_HEADING = re.compile(r"#{1,6}\s|\*\*[^*]+\*\*:?$|__[^_]+__:?$")
_TERMINATOR = re.compile(
    rf"(?P<run>[{_STOPS}]+)(?P<close>(?:[{_CLOSERS}{_MARKUP}]|\[\d{{1,3}}\]|\s?[{_EMOJI}])*)"
)
_NUMBER_MARKER = re.compile(r"\W*\d{1,3}")
_OUTLINE_MARKER = re.compile(r"\W*(?:[IVX]{1,5}|[A-Z])")
_LAST_TOKEN = re.compile(rf"[^\s\u2014/{_OPENERS}{_MARKUP}]+$")
_WORD_START = re.compile(r"[^\W\d_]+(?:['\u2019][a-z]+)?")
_DOTTED_LETTERS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
_INITIAL = re.compile(r"[A-Z]\.")

_CONTEXT = 40  # characters looked at on each side of a stop; keeps splitting linear
# Followed by a name or an example, so their point ends no sentence.
_NEVER_LAST = frozenset(
    "mr mrs ms dr prof messrs mme vs e.g i.e eg ie cf viz approx p.s p.p.s".split()
)
# The same, but ordinary words when in lower case.
_TITLES = frozenset("Gen Rep Sen Col Capt Lt Sgt Maj Hon Rev Gov Pres Mt Ft".split())
_BEFORE_NUMBER = frozenset(
    "no nos p pp fig figs eq eqs vol ch chap sec jan feb mar apr jun jul aug sep sept oct nov "
    "dec".split()
)
# May end a sentence; then a capital follows.
_OFTEN_LAST = frozenset(("etc", "a.m", "p.m", "al"))
# May end a sentence, but a capital often follows inside one ("the U.S. Senate"):
# only a word that rarely follows them inside a sentence tells.
_SELDOM_LAST = frozenset("inc ltd co corp llc jr sr st ave blvd rd dept est ph.d u.s u.k".split())
_STARTERS = frozenset(
    "A An The This That These Those There Here He She It They We You I His Her Its Their Our My "
    "Your In On At By For From To With Without As If When While Where Why What Who How Which "
    "After Before Since Because Although Though However But And Or So Then Thus Yet Still Also "
    "Moreover Meanwhile Finally First Next Later Let Do Does Did Is Are Was Were Will Can Could "
    "Would Should Not No Yes One Some Many Most All Each Both Every Another Once".split()
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, list markers and quotation marks kept.

    Abbreviations, initials, decimals and ellipses inside a sentence don't end
    it. A stop inside quotation marks or brackets doesn't either if the sentence
    goes on in lower case after them.

    Args:
        text: Any text; see the module for what stands on its own line.
    """
    return [
        sentence
        for paragraph in paragraphs(text)
        for unit in _units(paragraph)
        for sentence in _split(unit)
    ]


def _units(paragraph: str) -> Iterator[str]:
    """Cut where a line break ends a sentence, and join the other lines by a space."""
    lines: list[str] = []
    after_heading = in_item = False
    for line in paragraph.splitlines():
        bare = _QUOTED_LINE.sub("", line, count=1)
        fence, heading = _FENCE.match(bare), _HEADING.match(bare.strip())
        item = _LIST_ITEM.match(bare)
        left_item = in_item and not bare[:1].isspace() and not bare[:1].islower()
        if lines and (fence or heading or item or after_heading or left_item):
            yield " ".join(" ".join(lines).split())
            lines = []
        if not fence:
            # The quotation sign is kept at the start only: a sentence may have to begin with it.
            lines.append(bare if lines else line)
        after_heading = bool(fence or heading)
        in_item = bool(item) or (in_item and not left_item)
    yield " ".join(" ".join(lines).split())


def _split(unit: str) -> list[str]:
    pieces: list[str] = []
    start = 0
    for stop in _TERMINATOR.finditer(unit):
        before = unit[max(start, stop.start() - _CONTEXT) : stop.start()]
        after = unit[stop.end() : stop.end() + _CONTEXT]
        # "1." is the marker of a list, not a sentence; so is "IV." at the start of a line.
        marker = _NUMBER_MARKER.fullmatch(before) or (
            start == 0 and _OUTLINE_MARKER.fullmatch(before)
        )
        marker = marker if after and stop["run"] == "." else None
        if not marker and _is_end(before, stop["run"], stop["close"], after):
            pieces.append(unit[start : stop.end()].strip())
            start = stop.end()
    pieces.append(unit[start:].strip())
    return _merge_wordless(pieces)


def _merge_wordless(pieces: list[str]) -> list[str]:
    """Give pieces without a letter or digit (an emoji, a dash) to their neighbour."""
    merged: list[str] = []
    pending = ""
    for piece in filter(None, pieces):
        if any(map(str.isalnum, piece)):
            merged.append(f"{pending} {piece}".strip())
            pending = ""
        elif merged:
            merged[-1] += " " + piece
        else:
            pending = f"{pending} {piece}".strip()
    return merged


def _is_end(before: str, run: str, close: str, after: str) -> bool:
    """Whether a run of stops ends a sentence, given up to `_CONTEXT` characters around it."""
    if not after:
        return True
    if re.search(f"[{_WIDE_STOPS}]", run):
        # Japanese goes on with a particle (hiragana) after a quotation.
        return not (close and "\u3041" <= after[0] <= "\u309f")
    if not after[0].isspace():
        return bool(re.match(f"[{_CJK}]", after)) and run != "."
    following = re.sub(rf"^[\s{_OPENERS}{_MARKUP}]+", "", after)
    if re.search(f"[{_CLOSERS}]", close) and following[:1].islower():
        return False
    if "!" in run or "?" in run:
        return True
    if len(run) > 1 or run == "\u2026":
        return not (following[:1].islower() or following[:1].isdigit())
    return not _is_abbreviation(before, following)


def _is_abbreviation(before: str, following: str) -> bool:
    found = _LAST_TOKEN.search(before)
    token = found[0] if found else ""
    lower = token.lower()
    capital = following[:1].isupper()
    first_word = _WORD_START.match(following)
    starter = bool(first_word) and (first_word or [""])[0].split("'")[0] in _STARTERS
    if lower in _NEVER_LAST or token in _TITLES:
        return True
    if lower in _BEFORE_NUMBER and len(token) > 1:
        return following[:1].isdigit()
    if lower in _OFTEN_LAST:
        return not capital
    if token == "I":  # the pronoun or a numeral, unless another initial follows
        return bool(_INITIAL.match(following))
    if lower in _SELDOM_LAST or _DOTTED_LETTERS.fullmatch(token):
        return not (capital and starter) and not re.fullmatch(f"[{_CJK}]", token)
    return False


# --- words and mentions ---------------------------------------------------------------


@cache
def _word_pattern(ascii_only: bool) -> re.Pattern[str]:
    # The same rule for both; a single class is an order of magnitude quicker.
    letter = "[A-Za-z0-9]" if ascii_only else f"(?:[^\\W_{_CJK}]|[{_marks()}{_SPACELESS}])"
    inside = (
        r"['\u2019&_\-\u2010\u2011\u00ad\u200c\u200d]"
        r"|(?<=[0-9])[.,](?=[0-9])|\.(?=[a-z0-9])|(?<=[A-Z])\.(?=[A-Z]\b)"
    )
    return re.compile(rf"https?://\S+|{letter}+(?:(?:{inside}){letter}+)*|[{_CJK}]")


def count_words(text: str) -> int:
    """How many words a text has; see the module for the rule.

    Args:
        text: Any text; a URL is one word.
    """
    return len(_words(text, text.isascii()))


def _words(text: str, ascii_only: bool) -> list[str]:
    return _word_pattern(ascii_only).findall(unicodedata.normalize("NFC", text))


_CURLY = str.maketrans("\u2018\u2019\u02bc\u201c\u201d", "'''\"\"")


def count_mentions(text: str, keyword: str) -> int:
    """How often a keyword occurs as a whole word or phrase, in any case.

    At an end of the keyword that is a letter or digit, the text must not go on
    with another letter, digit or joining underscore: "art" is not in "artist".
    No such limit holds at other ends ("C++", ".NET", "#") and in scripts without
    delimited words (Chinese, Japanese, Korean, Thai, …), where any occurrence
    counts. Curly and straight quotes are alike, any whitespace is one space.

    Args:
        text: Any text.
        keyword: Word or phrase, taken literally; blank is mentioned 0 times.
    """
    text, words = _fold(text), _fold(keyword).split()
    if not words:
        return 0
    phrase = re.compile(r"\s+".join(map(re.escape, words)))
    count, found = 0, phrase.search(text)
    while found:
        start, end = found.span()
        whole = not _joined(text[max(0, start - 2) : start][::-1], text[start])
        whole = whole and not _joined(text[end : end + 2], text[end - 1])
        count += whole
        found = phrase.search(text, end if whole else start + 1)
    return count


def _joined(beyond: str, inside: str) -> bool:
    """Whether a word goes on beyond an end of a keyword, given two characters outwards."""
    if not _is_letter(inside):
        return False
    # An underscore joins only with a letter behind it, so that Markdown's _word_ is a mention.
    return _is_letter(beyond[1:] if beyond[:1] == "_" else beyond[:1])


def _is_letter(character: str) -> bool:
    """Whether it is a letter, digit or mark of a script that delimits its words."""
    if not character or re.match(f"[{UNDELIMITED}]", character):
        return False
    return character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_CURLY).casefold())


# --- beginnings and endings -----------------------------------------------------------

_BULLET = r"[-+\u2022\u25e6\u25aa\u2023\u2013#>*_~`|]|(?:\d{1,3}[.)]|[a-zA-Z]\))(?=[\s*_])"
Edge = Literal["no", "whole", "part"]
"""no: not there; whole: there; part: there, but cut out of a longer word ("The" of "There")."""


def begins_with(text: str, substring: str) -> Edge:
    """Whether a text begins with a substring, exactly and in the same case.

    Before it, whitespace is ignored; also Markdown signs, list markers, emoji,
    opening quotes and brackets, unless the substring begins with such a sign itself.

    Args:
        text: Any text.
        substring: What to look for; surrounding whitespace is dropped.
    """
    text, wanted = _straighten(text).strip(), _straighten(substring).strip()
    at = text.find(wanted)
    if not wanted or at < 0:
        return "no"
    ignored = rf"\s|{_BULLET}|[{_OPENERS}{_EMOJI}]"
    if re.match(f"[{_OPENERS}]", wanted):
        ignored = rf"\s|{_BULLET}"
    elif re.match(r"[^\w\s]", wanted) and re.match(_BULLET, wanted):
        ignored = r"\s"
    if not re.fullmatch(f"(?:{ignored})*", text[:at]):
        return "no"
    end = at + len(wanted)
    return "part" if _same_word(text[end - 1 : end + 1]) else "whole"


def ends_with(text: str, substring: str) -> Edge:
    """Whether a text ends with a substring, exactly and in the same case.

    After it, whitespace and what closes a text is ignored: Markdown emphasis,
    quotes, brackets, emoji and punctuation. Of these, a substring that itself ends with
    punctuation, such as "world!", ignores all but punctuation; one that ends with
    a quote or bracket, only the emphasis; one that ends with emphasis, none.

    Args:
        text: Any text.
        substring: What to look for; surrounding whitespace is dropped.
    """
    text, wanted = _straighten(text).strip(), _straighten(substring).strip()
    at = text.rfind(wanted)
    if not wanted or at < 0:
        return "no"
    ignored = rf"\s{_MARKUP}{_EMOJI}{_CLOSERS}{_STOPS}{_PAUSES}"
    if re.match(f"[{_MARKUP}]", wanted[-1]):
        ignored = r"\s"
    elif re.match(f"[{_CLOSERS}]", wanted[-1]):
        ignored = rf"\s{_MARKUP}"
    elif re.match(f"[{_STOPS}{_PAUSES}]", wanted[-1]):
        ignored = rf"\s{_MARKUP}{_EMOJI}{_CLOSERS}"
    if not re.fullmatch(f"[{ignored}]*", text[at + len(wanted) :]):
        return "no"
    return "part" if at and _same_word(text[at - 1 : at + 1]) else "whole"


def _straighten(text: str) -> str:
    """Compose accents, and write the apostrophe inside a word as it is typed."""
    return re.sub(r"(?<=\w)[\u2019\u02bc](?=\w)", "'", unicodedata.normalize("NFC", text))


def _same_word(pair: str) -> bool:
    return len(pair) == 2 and all(map(_is_letter, pair))
