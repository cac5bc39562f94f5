"""Which demonstrations are learnt from, and pairs shown the other way round.

The filters are those of arXiv 2512.05111, section 3.2; tool success is read from events.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from armbench.evaluate import read_records
from armbench.evidence import seen
from armbench.prompt import show, user_parts
from armbench.runlog import RunDir
from armbench.score import score
from armbench.trajectory import Event, ModelEvent, ToolEvent, Trajectory
from armbench.types import Sample, TextPart

if TYPE_CHECKING:
    from armbench.training.recipe import Filters

__all__ = ["Sieve", "brought_evidence", "solved_items", "swapped", "well_formed"]

_FORM = re.compile(
    r"\s*<think>(?:(?!</?(?:think|answer|tool_call)>).)*</think>\s*"
    r"<answer>(?:(?!</?(?:think|answer|tool_call)>).)*</answer>\s*",
    re.DOTALL,
)


def well_formed(text: str) -> bool:
    """Whether a last turn is one thought and one answer in their tags, and nothing else."""
    return _FORM.fullmatch(text) is not None


def brought_evidence(trajectory: Trajectory, sample: Sample) -> bool:
    """Whether a call brought something that was not there: no error, repeat or whole picture."""
    sights = seen(trajectory.events, sample).sights
    return any(not sight.whole and not sight.repeated for sight in sights)


class Sieve:
    """Decides what is learnt from.

    Args:
        filters: Which filters.
        solved: Hashes of the items that are left out.
    """

    def __init__(self, filters: Filters, solved: frozenset[str] = frozenset()) -> None:
        self._filters, self._solved = filters, solved
        self.unchecked: Counter[str] = Counter()

    def why_not(self, trajectory: Trajectory, sample: Sample | None) -> str:
        """The filter that leaves a demonstration out; empty if none does."""
        checks = (
            ("format", self._filters.format, self._format),
            ("accuracy", self._filters.accuracy, self._accuracy),
            ("tools", self._filters.tools, self._tools),
        )
        for name, wanted, check in checks:
            if not wanted:
                continue
            passed = check(trajectory, sample)
            if passed is None:
                self.unchecked[name] += 1
            elif not passed:
                return name
        return "solved" if trajectory.sample_hash in self._solved else ""

    def _format(self, trajectory: Trajectory, sample: Sample | None) -> bool | None:
        if sample is not None and sample.mode == "open" and "<answer>" not in trajectory.last_text:
            return None  # free replies have a form only where the question asks for one
        return well_formed(trajectory.last_text)

    def _accuracy(self, trajectory: Trajectory, sample: Sample | None) -> bool | None:
        if sample is None or sample.gold is None:
            return None
        return score(trajectory, sample).counted_as == "correct"

    def _tools(self, trajectory: Trajectory, sample: Sample | None) -> bool | None:
        if not any(isinstance(event, ToolEvent) for event in trajectory.events):
            return True
        return None if sample is None else brought_evidence(trajectory, sample)


def solved_items(runs: Iterable[Path], repeats: int) -> frozenset[str]:
    """Hashes of the items that were right in every one of at least so many episodes.

    Args:
        runs: Run directories of a judge without tools.
        repeats: How many episodes an item needs.

    Raises:
        ConfigError: If one is no run directory.
    """
    right: Mapping[str, list[bool]] = defaultdict(list)
    for path in runs:
        for record in read_records(RunDir(path)):
            right[record.sample.hash].append(record.score.counted_as == "correct")
    return frozenset(key for key, each in right.items() if len(each) >= repeats and all(each))


_NAMED = re.compile(r"\b(?:(?P<answer>[Aa]nswer )(?P<n>[12])|(?P<text>text_)(?P<i>[01]))\b")
_PLACES = re.compile(
    r"\b(?i:first|second|former|latter|last|1st|2nd|answers|responses?|options?|candidates?"
    r"|assistants?|answer \d)\b|(?<![\w.])(?:[12]|[AB])(?![\w.]\w)\b"
)
"""What may say an answer's place in a way that is not exchanged here."""


def swapped(trajectory: Trajectory, sample: Sample | None) -> Trajectory | None:
    """A pair with its two answers in the other order, where that is surely the same episode.

    Surely: two answers, the opening is what armbench writes for the item, no result
    mentions an answer, and the judge names answers as ``Answer N``, ``answer N`` or
    ``text_N`` and in no other way. A word that might stand for a place (first, latter, A, a
    lone 1 or 2, …) is enough to leave the episode as it is. The names are exchanged in the
    judge's turns and calls; their new tokens are the tokenizer's, no longer sampled ones.

    Returns:
        The other episode; None if it cannot be made safely.
    """
    if sample is None or sample.mode != "pair" or len(sample.candidates) != 2:
        return None
    if not isinstance(trajectory.judgement.verdict, int) or len(trajectory.order) != 2:
        return None
    tools = [tool.name for tool in trajectory.tools]
    parts = user_parts(sample, show(sample, trajectory.order, tools))
    if not trajectory.messages or trajectory.messages[-1].parts != parts:
        return None
    events = [_other(event) for event in trajectory.events]
    if any(event is None for event in events):
        return None
    order = (trajectory.order[1], trajectory.order[0])
    question = trajectory.messages[-1].model_copy(
        update={"parts": user_parts(sample, show(sample, order, tools))}
    )
    verdict = 3 - trajectory.judgement.verdict
    return trajectory.model_copy(
        update={
            "order": order,
            "messages": (*trajectory.messages[:-1], question),
            "events": tuple(events),
            "judgement": trajectory.judgement.model_copy(update={"verdict": verdict}),
        }
    )


def _other(event: Event) -> Event | None:
    """An event of the other order; None if it cannot be told."""
    if isinstance(event, ModelEvent):
        text = event.reply.text
        if _PLACES.search(_NAMED.sub("", text)):
            return None
        update = {"text": _exchanged(text), "token_ids": None, "logprobs": None}
        return event.model_copy(update={"reply": event.reply.model_copy(update=update)})
    if isinstance(event, ToolEvent):
        told = "".join(part.text for part in event.result.parts if isinstance(part, TextPart))
        if _NAMED.search(told):
            return None
        arguments = json.loads(_exchanged(json.dumps(event.call.arguments)))
        update = {"arguments": arguments, "raw": _exchanged(event.call.raw)}
        return event.model_copy(update={"call": event.call.model_copy(update=update)})
    return event


def _exchanged(text: str) -> str:
    """The other answer wherever one is named; the text stays as long as it is."""
    return _NAMED.sub(
        lambda m: f"{m['answer']}{3 - int(m['n'])}" if m["n"] else f"text_{1 - int(m['i'])}", text
    )
