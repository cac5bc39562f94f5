# ruff: noqa: RUF001
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.tools.numerals import count_arabic_digits, numbers
from armbench.tools.textual import (
    _words,
    begins_with,
    count_mentions,
    count_words,
    ends_with,
    paragraphs,
    sentences,
)

WORDS = st.lists(st.sampled_from("tree river stone cloud garden window".split()), min_size=1)
SENTENCES = st.builds(
    lambda words, stop: " ".join(words).capitalize() + stop,
    WORDS,
    st.sampled_from([".", "!", "?", "...", "?!", '."']),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\n ", []),
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\n\n\ntwo", ["one", "two"]),
        ("one\n \t \ntwo\r\n\r\nthree", ["one", "two", "three"]),
        ("one\n***\ntwo\n\n---\n\nthree\n\n* * *", ["one", "two", "three"]),
        ("Title\n=====\nbody", ["Title", "body"]),
        ("# Title\n\nbody **\n", ["# Title", "body **"]),
    ],
)
def test_paragraphs(text, expected):
    assert paragraphs(text) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["Mr. Smith paid $3.50 to the U.S. Senate.", "It was fine."],
        ["He lives in the U.S.", "She lives in the U.K. near J. K. Rowling."],
        ["See No. 5, e.g. this one.", "On Jan. 5 at 5 p.m. we left."],
        ["I said no.", "Then it was I.", "It is 3.", "Next comes plan B.", "It works, etc.", "Go!"],
        ["Wait... what?", "Well...", "Yes?!", "OK!!!"],
        [
            'She said "Go."',
            "Then she left.",
            '"Stop!" he cried.',
            "(It rained.)",
            "Yes (a. b.) no.",
        ],
        ["He left.[1]", "Version 1.2.3 at www.example.com is out.", "Really?"],
        ["**Bold one.**", "_Next one._", "~~Last~~."],
        ["i think so.", "you do not, e.g. now.", "so there!"],
        ["P.S. This counts once.", "Smith et al. agree."],
        ["Nice! 🎉", "Bye 😀. 🎉", "Hi."],
    ],
)
def test_sentences_in_a_line(expected):
    assert sentences(" ".join(expected)) == expected
    # Wrapped at other places, they are the same sentences.
    wrapped = " ".join(expected).replace(" of ", "\nof ").replace(" we ", "\nwe ")
    assert sentences(wrapped) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("...\n\n!!! 🎉", []),
        ("no stop", ["no stop"]),
        ("你好。再见！好吗？", ["你好。", "再见！", "好吗？"]),
        ("「行く。」と言った。はい。", ["「行く。」と言った。", "はい。"]),
        ("मैं हूँ। तुम हो।", ["मैं हूँ।", "तुम हो।"]),
        ("# Title\nText. More\n- one\n- two\n  goes on", "# Title|Text.|More|- one|- two goes on"),
        ("**Title**\nText\n1. Do this. 2. Do that.", "**Title**|Text|1. Do this.|2. Do that."),
        ("I. Start\nIV. End\nA. Sub", "I. Start|IV. End|A. Sub"),
        ("- item one\nAfter it.", "- item one|After it."),
        ("> Quoted\n> on. Two.", "> Quoted on.|Two."),
        ("| a | b |\n|---|---|\n| c, d | e |", ["| a | b |", "| c, d | e |"]),
        ("Code:\n```\nx = 1\n```\nDone.", "Code:|x = 1|Done."),
    ],
)
def test_sentences_of_lines(text, expected):
    if isinstance(expected, list):
        assert sentences(text) == expected
    else:
        assert sentences(text) == expected.split("|")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("-- ... !", 0),
        ("Don't stop the well-known rock ’n’ roll.", 7),
        ("3.14 and 1,234.50 in the U.S. at example.com", 8),
        ("and/or this\u2014that R&D snake_case", 6),
        ("你好 world 東京タワー", 8),
        ("क्या हाल है", 3),
        ("cafe\u0301 naïve", 2),
        ("https://a.b/c?d=e see **bold**", 3),
        ("사과를 먹는다", 2),
    ],
)
def test_count_words(text, count):
    assert count_words(text) == count


@pytest.mark.parametrize(
    ("text", "keyword", "count"),
    [
        ("C++ beats c++; not C", "C++", 2),
        ("C# and F#", "C#", 1),
        ("I use .NET.", ".NET", 1),
        ("#artist #art #ART!", "#art", 2),
        ("artist art's art_x _art_ **art** start", "art", 3),
        ("Reddit, Redditor", "reddit", 1),
        ("我喜欢苹果，苹果好", "苹果", 2),
        ("使用AI技术, RAIN", "AI", 1),
        ("사과를 먹는다", "사과", 1),
        ("don\u2019t", "Don't", 1),
        ("an ice\n  cream", "ice cream", 1),
        ("cafe\u0301", "CAFÉ", 1),
        ("की", "क", 0),
        ("a.b", "a+b", 0),
        ("(.*)", ".*", 1),
        ("text", "  ", 0),
        ("a # b ##", "#", 3),
    ],
)
def test_count_mentions(text, keyword, count):
    assert count_mentions(text, keyword) == count


@pytest.mark.parametrize(
    ("text", "substring", "edge"),
    [
        ("Hello world!", "world", "whole"),
        ('"Hello **world**."\n', "world", "whole"),
        ("Hello world!", "world!", "whole"),
        ('He said: "Hello world!"', "world!", "whole"),
        ("Hello world! 🎉", "world!", "whole"),
        ("Hello world!!", "world!", "no"),
        ("Hello world...", "world.", "no"),
        ("Hello World", "world", "no"),
        ("underworld", "world", "part"),
        ('"Hi"', '"', "whole"),
        ('"Hi".', '"', "no"),
        ("I love C#.", "C#", "whole"),
        ("*bye*", "*", "whole"),
        ("再见世界。", "世界", "whole"),
        ("It\u2019s", "It's", "whole"),
        ("worldly", "world", "no"),
        ("", "x", "no"),
        ("x", " ", "no"),
    ],
)
def test_ends_with(text, substring, edge):
    assert ends_with(text, substring) == edge


@pytest.mark.parametrize(
    ("text", "substring", "edge"),
    [
        ('"Hello" there', "Hello", "whole"),
        ("- **Hello** there", "Hello", "whole"),
        ("1. (Hello) there", "Hello", "whole"),
        ("> # Hello", "Hello", "whole"),
        ("There", "The", "part"),
        ("hello", "Hello", "no"),
        ("Oh, Hello", "Hello", "no"),
        ("**!** yes", "!", "whole"),
        ("- x", "-", "whole"),
        ("# - x", "-", "no"),
        ("- \u201cHi", "\u201c", "whole"),
        ("1. Do", "1.", "whole"),
        ("", "x", "no"),
        ("x", " ", "no"),
    ],
)
def test_begins_with(text, substring, edge):
    assert begins_with(text, substring) == edge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 and 4.50, or .5 or -2.0", {"3": 0, "4.50": 2, ".5": 1, "2.0": 1}),
        ("1,234.50 12,34,567 1.234,50", {"1,234.50": 2, "12,34,567": 0, "1.234,50": 2}),
        ("1,2,3", {"1": 0, "2": 0, "3": 0}),
        ("$3.50-$4.50, 10-20", {"3.50": 2, "4.50": 2, "10": 0, "20": 0}),
        ("in 2024.", {"2024": 0}),
        ("2.50e3 1e-5", {"2.50": 2, "1": 0}),
        ("5kg 12.50x 5个 １２．５", {"5": 0, "12.50": 2, "12.5": 1}),
        ("1.2.3 v1.2 192.168.0.1 2024-01-05 5/1/2024 12:30 3/4 2024-01", {}),
        ("GPT-4 A4 3D 1st x_1 10^5 x^2 10⁵ m² https://x.com/1.5 www.x.com/2", {}),
        ("1. First\n  2) Second\n**3.** Third 2.50", {"2.50": 2}),
        ("42.", {"42": 0}),
        ("wait...5 more _6_", {"5": 0, "6": 0}),
    ],
)
def test_numbers(text, expected):
    assert {number.text: number.decimals for number in numbers(text)} == expected


def test_percentages():
    found = numbers("12.5% of 7, 50 percent, 3.10 % or 10-20%, 5％")
    assert [n.text for n in found if n.percent] == ["12.5", "50", "3.10", "10", "20", "5"]
    assert [n.text for n in found if not n.percent] == ["7"]


def test_arabic_digits():
    assert count_arabic_digits("A4, 12 and ３") == 4
    assert count_arabic_digits("१२ Ⅳ ten ⁵") == 0


@given(st.lists(SENTENCES, min_size=1, max_size=8))
def test_sentences_are_counted(parts):
    # An ellipsis ends a sentence only if a capital follows, as it does here.
    assert sentences(" ".join(parts)) == parts


@given(st.lists(SENTENCES, min_size=1, max_size=8), st.sampled_from(["\n\n", "\n \n", "\n***\n"]))
def test_paragraphs_are_counted(parts, gap):
    assert paragraphs(gap.join(parts)) == parts


@given(WORDS, st.sampled_from([" ", "\n", ", ", " - "]))
def test_words_are_counted(words, gap):
    assert count_words(gap.join(words)) == len(words)
    assert count_mentions(gap.join(words), words[0]) == words.count(words[0])


@given(st.text(st.characters(max_codepoint=127)) | st.text("aZ0.,'&_- \x1c\nht:/"))
def test_ascii_takes_no_other_rule_for_words(text):
    assert _words(text, True) == _words(text, False)


@given(st.text())
def test_sentences_keep_every_letter(text):
    def letters(parts):
        return [character for part in parts for character in part if character.isalnum()]

    assert letters(sentences(text)) == letters(paragraphs(text))


@given(st.text(max_size=30), st.text(min_size=1, max_size=5))
def test_edges_hold_for_what_was_put_there(text, substring):
    if substring.strip():
        assert begins_with(substring + text, substring) != "no"
        assert ends_with(text + substring, substring) != "no"


@pytest.mark.parametrize(
    "piece",
    ["1,", "111,", "1-", "a.", ".", '"', "(1) ", "_a", "* ", "a'", "> ", "# ", "** ", "**a", "\n-",
     " \t", "www.", "Mr. ", "。」", "[1]", "a b. ", "|", "A. ", "e1"],
)  # fmt: skip
def test_hostile_texts_take_linear_time(piece):
    text = piece * 8000 + "?x"
    began = time.perf_counter()
    for look in (sentences, paragraphs, count_words, numbers):
        look(text)
    for look in (begins_with, ends_with, count_mentions):
        look(text, "x")
        look(text, piece)
    assert time.perf_counter() - began < 2
