"""What came of replaying a log, in words; whatever a log holds stands inert."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from armbench.results.formats import plain
from armbench.results.replay import Audit, Check

_EXAMPLES = 5


def audit_text(audit: Audit) -> str:
    """Counts, then up to five examples of each thing that is not as it should be."""
    calls = audit.calls
    lines = [
        f"run: {audit.path}",
        f"episodes: {audit.episodes}",
        f"tool calls: {sum(calls.values())}: "
        + ", ".join(f"{n} {status}" for status, n in calls.items() if n or status != "skipped"),
    ]
    if audit.recoded:
        lines.append(
            f"  {audit.recoded} of the equal ones give the same pixels in another encoding"
        )
    lines.append(f"prompts and turns: {_share(audit.episodes - len(audit.rest), audit.episodes)}")
    intact = audit.pictures - len(audit.missing) - len(audit.altered)
    lines.append(f"picture files: {_share(intact, audit.pictures)}")
    lines += [f"note: {note}" for note in audit.notes]
    lines += _checks("different calls", audit.different)
    lines += _reasons("calls that could not be run", audit.not_run)
    played = [check for check in audit.rest if not check.reason]
    lines += _checks("episodes whose prompt or turns differ", played)
    lines += _reasons("episodes that could not be played", [c for c in audit.rest if c.reason])
    lines += _names("missing picture files", audit.missing)
    lines += _names("picture files that do not hold what their name says", audit.altered)
    return "\n".join(map(plain, lines))


def _share(good: int, total: int) -> str:
    if not total:
        return "none"
    return f"all {total} as logged" if good == total else f"{good} of {total} as logged"


def _checks(title: str, checks: Sequence[Check]) -> list[str]:
    if not checks:
        return []
    kinds = Counter(kind for check in checks for kind in {d.kind for d in check.differences})
    of = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
    lines = ["", f"{title}: {len(checks)}" + (f" ({of})" if of else "")]
    for check in checks[:_EXAMPLES]:
        lines.append(f"  {_what(check)}")
        for difference in check.differences:
            lines.append(f"    {difference.kind}: logged  {difference.logged}")
            lines.append(f"    {' ' * len(difference.kind)}  now     {difference.now}")
    return lines + _more(checks)


def _reasons(title: str, checks: Sequence[Check]) -> list[str]:
    """One example of each reason, since a document that is absent stops all calls alike."""
    if not checks:
        return []
    by_reason: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_reason[check.reason].append(check)
    lines = ["", f"{title}: {len(checks)}"]
    for reason, group in [*by_reason.items()][:_EXAMPLES]:
        lines += [f"  {len(group)}: {reason}", f"    such as {_what(group[0])}"]
    return lines + _more(by_reason)


def _what(check: Check) -> str:
    return ": ".join(filter(None, [check.where, check.call]))


def _names(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return ["", f"{title}: {len(names)}", *(f"  {n}" for n in names[:_EXAMPLES]), *_more(names)]


def _more(found: Collection[object]) -> list[str]:
    return [f"  … and {len(found) - _EXAMPLES} more"] if len(found) > _EXAMPLES else []
