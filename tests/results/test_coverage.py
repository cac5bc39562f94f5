"""The simulation draws the sets it says it draws, and counts what it says it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from armbench.intervals import Clustered
from benchmarks import coverage
from benchmarks.coverage import Setting, Shape, measure


def setting(interval: Callable[[np.random.Generator], coverage.Ends], **fields: bool) -> Setting:
    return Setting("toy", "toy", fields.get("promised", True), 400, 0.5, interval)


def known(rng: np.random.Generator) -> coverage.Ends:
    """An interval of uniform ends that holds one half in 95 of 100 draws."""
    return (0.0, 1.0) if rng.random() < 0.95 else (0.6, 1.0)


def test_coverage_error_and_width_of_a_known_interval() -> None:
    held, error, width = measure(setting(known))
    assert held == pytest.approx(0.95, abs=3 * error)
    assert error == pytest.approx(0.011, abs=0.004)
    assert width == pytest.approx(held + 0.4 * (1 - held))


def test_no_interval_holds_nothing() -> None:
    assert measure(setting(lambda rng: (None, None))) == (0.0, 0.0, 0.0)


def test_the_same_setting_draws_the_same_sets() -> None:
    assert measure(setting(known)) == measure(setting(known))


def test_drawn_sets_have_the_accuracy_the_likeness_and_the_clusters_of_their_shape() -> None:
    shape = Shape(400, 8, 0.3, orders=1)
    values = shape.credits(np.random.default_rng(1), 0.7)
    found = Clustered.of(values)
    assert found is not None
    assert found.design_effect is not None
    assert found.clusters == 400
    assert found.mean == pytest.approx(0.7, abs=0.04)
    sizes = np.bincount([cluster for cluster, *_ in values])
    assert (sizes.min(), sizes.max()) == (1, 15)
    met = (sizes**2).sum() / sizes.sum()
    assert (found.design_effect - 1) / (met - 1) == pytest.approx(0.3, abs=0.05)


def test_the_second_order_repeats_the_first_as_often_as_said() -> None:
    values = Shape(3000, 1, 0.0).credits(np.random.default_rng(2), 0.5)
    first, second = ([value for *_, value in part] for part in (values[:3000], values[3000:]))
    assert [item for _, item, _ in values[:3000]] == [item for _, item, _ in values[3000:]]
    same = np.mean([a == b for a, b in zip(first, second, strict=True)])
    assert same == pytest.approx(0.6 + 0.4 * 0.5, abs=0.03)


def test_the_truth_of_kappa_is_that_of_a_table_of_its_shares() -> None:
    truths = {round(found.truth, 9) for found in coverage.kappa()}
    # (first label, share that disagree): the same in both ways.
    tables = [
        [[common * (1 - apart), common * apart], [(1 - common) * apart, (1 - common) * (1 - apart)]]
        for common, apart in ((0.5, 0.1), (0.7, 0.3))
    ]
    expected = {round(cohens_kappa(np.array(t) * 1000).kappa, 9) for t in tables}
    assert truths == expected


METHODS = (
    coverage.plain_wilson,
    coverage.clustered,
    coverage.bootstrap,
    coverage.macro,
    coverage.paired,
    coverage.kappa,
)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_holds_the_truth_about_as_often_as_promised(
    method: Callable[[], Iterator[Setting]],
) -> None:
    settings = list(method())
    assert any(s.promised for s in settings)
    first = next(s for s in settings if s.promised)
    held, _, width = measure(replace(first, runs=200))
    # Four standard errors of 200 simulations; the whole table takes a minute.
    assert held == pytest.approx(0.95, abs=0.065)
    assert 0 < width < 1


def run(monkeypatch: pytest.MonkeyPatch, made: Setting) -> int:
    for method in METHODS:
        monkeypatch.setattr(coverage, method.__name__, lambda: iter(()))
    monkeypatch.setattr(coverage, "kappa", lambda: iter((made,)))
    return coverage.main()


def test_a_promise_that_is_not_kept_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, setting(known)) == 0
    assert "1 of 1 promised settings within 93% to 97%" in capsys.readouterr().out
    assert run(monkeypatch, setting(lambda rng: (0.0, 1.0))) == 1  # too wide
    assert "FAILS" in capsys.readouterr().out
    assert run(monkeypatch, setting(lambda rng: (0.6, 1.0), promised=False)) == 0
    assert "not promised" in capsys.readouterr().out
