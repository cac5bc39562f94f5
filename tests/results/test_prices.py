"""Costs come from a price file or are not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from armbench.errors import ConfigError
from armbench.report import Episode
from armbench.results.prices import Price, PriceList, cost, read_prices

EPISODE = Episode(
    model="m",
    task="t",
    sample_id="s",
    item="i",
    cluster="i",
    format="pair",
    category="-",
    repeat=0,
    order=(0, 1),
    counted_as="correct",
    labelled=True,
    turns=2,
    input_tokens=1_000_000,
    output_tokens=100_000,
    cached_tokens=400_000,
)
PRICE = Price(input=2.0, cached=0.5, output=10.0)

YAML = """
gpt-4o-mini*: {input: 0.15, output: 0.6}
gpt-4o*:
  input: 2.5
  cached: 1.25
  output: 10
"*": {input: 0, output: 0}
"""
CSV = "model,input,cached,output\ngpt-4o-mini*,0.15,,0.6\ngpt-4o*,2.5,1.25,10\n*,0,,0\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


# --- costs --------------------------------------------------------------------------------


def test_each_kind_of_token_has_its_price() -> None:
    assert cost([EPISODE], PRICE) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    assert cost([EPISODE, EPISODE], PRICE) == pytest.approx(2 * (0.6 * 2 + 0.4 * 0.5 + 0.1 * 10))
    assert cost([], PRICE) == 0


@pytest.mark.parametrize("unknown", ["input_tokens", "output_tokens", "cached_tokens"])
def test_a_count_that_is_not_known_makes_the_cost_unknown_unless_it_is_free(unknown: str) -> None:
    episodes = [EPISODE, replace(EPISODE, **{unknown: None})]
    assert cost(episodes, PRICE) is None
    assert cost(episodes, Price(input=0, cached=0, output=0)) == 0


def test_a_prompt_of_no_tokens_is_that_of_a_server_that_reports_none() -> None:
    silent = replace(EPISODE, input_tokens=0, cached_tokens=0)
    assert cost([silent], PRICE) is None
    # Nothing was sent before the first turn.
    assert cost([replace(silent, turns=0, output_tokens=0)], PRICE) == 0


def test_cached_tokens_without_a_price_are_not_guessed() -> None:
    without = Price(input=2.0, output=10.0)
    assert cost([EPISODE], without) is None
    assert cost([replace(EPISODE, cached_tokens=0)], without) == pytest.approx(3.0)
    # The source tells no cached tokens apart, and neither does the price list.
    assert cost([replace(EPISODE, cached_tokens=None)], without) == pytest.approx(3.0)


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p.yaml", "p.json", "p.csv"])
def test_the_first_pattern_that_fits_a_judge_counts(tmp_path: Path, name: str) -> None:
    as_json = json.dumps(
        {
            "gpt-4o-mini*": {"input": 0.15, "output": 0.6},
            "gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10},
            "*": {"input": 0, "output": 0},
        },
        indent="\t",
    )
    text = {"p.yaml": YAML, "p.json": as_json, "p.csv": "\ufeff" + CSV}[name]
    prices = read_prices(written(tmp_path, name, text))
    assert prices.of("gpt-4o-mini-2024") == Price(input=0.15, output=0.6)
    assert prices.of("gpt-4o") == Price(input=2.5, cached=1.25, output=10)
    assert prices.of("GPT-4o") == Price(input=0, output=0)


def test_a_judge_that_no_pattern_fits_has_no_price() -> None:
    assert PriceList((("org/a-?b", PRICE),)).of("org/a-7b") == PRICE
    assert PriceList((("org/a-?b", PRICE),)).of("org/a-72b") is None


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.yaml", "m: {input: -1, output: 1}", "m: input"),
        ("p.yaml", "m: {input: .nan, output: 1}", "m: input"),
        ("p.yaml", "m: {input: .inf, output: 1}", "m: input"),
        ("p.yaml", "m: {input: 1}", "m: output"),
        ("p.yaml", "m: {input: 1, output: 1, currency: EUR}", "m: currency"),
        ("p.yaml", "m: 3", "m: "),
        ("p.yaml", "- m", "has to map"),
        ("p.yaml", "m: [", "cannot read"),
        ("p.yaml", "{}", "holds no price"),
        ("p.json", "{", "cannot read"),
        ("p.csv", "model,in,out\nm,1,1\n", "model,input,cached,output"),
        ("p.csv", "", "model,input,cached,output"),
        ("p.csv", "model,input,cached,output\n", "holds no price"),
        ("p.csv", "model,input,cached,output\nm,free,,1\n", "m: input"),
        ("p.csv", "model,input,cached,output\nm,1,,\n", "m: output"),
        ("p.csv", "model,input,cached,output\nm,1,,1,9\n", "m: "),
        ("p.csv", 'model,input,cached,output\n"m,1,,1\n', "cannot read"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(ConfigError) as caught:
        read_prices(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_price_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml"):
        read_prices(tmp_path / "no.yaml")
    path = tmp_path / "bytes.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        read_prices(path)
