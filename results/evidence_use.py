"""Whether the judge looked where the evidence is, and whether looking helped."""

from __future__ import annotations

import math
import warnings

import pandas as pd

from armbench.evidence import HIT_COVERAGE
from armbench.results.analysis import Bars, Points, Section, accuracy, points, share, table
from armbench.results.frames import Frames

_BINS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROUNDING = 1e-9
_FEWEST = 5
"""Episodes with and without a tool that a stratum needs to say something about its lift."""


def looks(frames: Frames) -> Section:
    """Crops against the region, pages against the evidence pages, checks against those needed."""
    calls = frames.calls[frames.calls.error == ""]
    crops = calls[calls.coverage.notna()]
    pages, checks = calls[calls.page_recall.notna()], calls[calls.wanted_check.notna()]
    rows: list[list[object]] = [
        ["crops on a picture with a known region", len(crops)],
        [f"… that hit it (coverage {HIT_COVERAGE:g} or more)", _mean(crops.hit)],
        ["… of nearly the whole picture", _mean(crops.whole)],
        ["… mean coverage", _mean(crops.coverage)],
        ["… median IoU", _median(crops.iou)],
        ["retrievals from a document with known pages", len(pages)],
        ["… mean recall of the evidence pages", _mean(pages.page_recall)],
        ["… with an evidence page among them", _mean(pages.page_rank.notna())],
        ["… mean rank of the first evidence page", _mean(pages.page_rank)],
        ["checks on an item whose checks are known", len(checks)],
        ["… that settle the item", _mean(checks.wanted_check)],
    ]
    known = frames.episodes[frames.episodes.evidence.notna()]
    rows.append(["episodes that saw enough evidence", _mean(known.evidence_seen)])
    block = table("Looks at the evidence", ["figure", "value"], rows)
    bars = {
        str(kind): group.evidence_share.astype(float) for kind, group in known.groupby("evidence")
    }
    labels = ["none", *(f"up to {high:g}" for high in _BINS[1:])]
    parts = {
        kind: tuple(
            float(n)
            for n in [
                (values == 0).sum(),
                *pd.cut(values[values > 0], list(_BINS)).value_counts(sort=False),
            ]
        )
        for kind, values in bars.items()
    }
    chart = Bars("episodes by share of the evidence seen", tuple(labels), parts)
    return Section("evidence", block, chart if parts else None)


def accuracy_by_evidence(frames: Frames) -> Section:
    """Accuracy of episodes that saw enough evidence, that did not, and without known evidence."""
    rows, found = [], {}
    for task, group in frames.episodes.groupby("task"):
        kinds = {
            "seen": group[group.evidence_seen.fillna(False)],
            "not seen": group[~group.evidence_seen.fillna(True)],
            "none known": group[group.evidence_seen.isna()],
        }
        for kind, part in kinds.items():
            if len(part):
                found[f"{task}: {kind}"] = made = accuracy(part)
                rows.append([task, kind, len(part), str(made)])
    head = ["task", "evidence", "episodes", "accuracy [95%]"]
    note = "Episodes were not assigned to seeing it: easy items may be both looked at and solved."
    return Section(
        "accuracy_by_evidence",
        table("Accuracy by evidence seen", head, rows, note),
        points("accuracy", found),
    )


def lift(frames: Frames) -> Section:
    """Accuracy with each tool less accuracy without it, within task and format."""
    episodes = frames.episodes[frames.episodes.correct.notna()]
    names = sorted({n for joined in episodes.tools.unique() for n in joined.split("+") if n})
    rows, drawn = [], {}
    for name in names:
        offered = episodes[_holds(episodes.offered, name)]
        called = _holds(offered.tools, name)
        inside = _comparable(offered, called)
        effect = _within(inside, called.loc[inside.index])
        rows.append([
            name, int(called.sum()), int((~called).sum()),
            str(accuracy(offered[called])), str(accuracy(offered[~called])),
            "n/a" if effect is None else f"{effect[0]:+.3f} [{effect[1]:+.3f}, {effect[2]:+.3f}]",
            len(inside),
        ])  # fmt: skip
        if effect is not None:
            drawn[name] = effect
    head = ["tool", "called", "not called", "accuracy called", "accuracy not called",
            "lift within task and format [95%]", "episodes compared"]  # fmt: skip
    block = table(
        "Lift of each tool", head, rows,
        "" if rows else "No tool was called.",
        f"Compared where a task and format has {_FEWEST} or more episodes of either kind. Not "
        "causal: a judge may call tools on easier or harder items. For an effect, compare a run "
        "with tools against one without (armbench compare --tools-lift).",
    )  # fmt: skip
    chart = Points(
        "accuracy with less without", tuple(drawn), *zip(*drawn.values(), strict=True),
        reference=0.0, span=None,
    ) if drawn else None  # fmt: skip
    return Section("lift", block, chart)


def _holds(joined: pd.Series[str], name: str) -> pd.Series[bool]:
    return joined.map(lambda names: name in names.split("+")).astype(bool)


def _comparable(offered: pd.DataFrame, called: pd.Series[bool]) -> pd.DataFrame:
    """Episodes of the strata in which the tool was called by enough, and left by enough."""
    strata = [offered.task, offered.format]
    with_tool = called.groupby(strata).transform("sum")
    size = called.groupby(strata).transform("size")
    return offered[(with_tool >= _FEWEST) & (size - with_tool >= _FEWEST)]


def _within(episodes: pd.DataFrame, called: pd.Series[bool]) -> tuple[float, float, float] | None:
    """Least squares of correctness on calling, with a level for each stratum.

    Standard errors are robust to clusters (statsmodels, ``cov_type="cluster"``).
    """
    if episodes.cluster.nunique() < 3:
        return None
    import statsmodels.api as sm

    strata = pd.get_dummies(episodes.task + "\n" + episodes.format).astype(float)
    design = strata.assign(called=called.astype(float))
    groups = pd.factorize(episodes.task + "\n" + episodes.cluster)[0]
    with warnings.catch_warnings():
        # A stratum without any spread makes its own row of the covariance vanish; ours is read.
        warnings.simplefilter("ignore")
        fit = sm.OLS(episodes.correct.astype(float), design).fit(
            cov_type="cluster", cov_kwds={"groups": groups}
        )
        low, high = fit.conf_int().loc["called"]
    effect = (float(fit.params["called"]), float(low), float(high))
    # No spread at all leaves rounding errors for an interval.
    return effect if all(map(math.isfinite, effect)) and high - low > _ROUNDING else None


def _mean(values: pd.Series) -> float | None:  # type: ignore[type-arg]
    known = values.dropna()
    return share(float(known.astype(float).sum()), len(known))


def _median(values: pd.Series) -> float | None:  # type: ignore[type-arg]
    known = values.dropna()
    return float(known.median()) if len(known) else None
