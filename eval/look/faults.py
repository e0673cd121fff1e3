"""What is wrong about an answer that is spans, or several labels: the kind of its error, which a quiz asks for.

Answers are those of `predictions-<split>.jsonl`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...data.dataset import Span
from ..tasks.span import SORTS, exact_match, sort_of
from ..tasks.tag import mistakes

RIGHT, NONE = "no error", "(none)"
LABEL_MISSED, LABEL_INVENTED, BOTH = "a label missed", "a label too many", "both"
OF_ENTITIES = {
    "missed": "an entity missed",
    "invented": "an entity invented",
    "another kind": "an entity of another kind",
    "other borders": "an entity with other borders",
}
SEVERAL = "several of these"


class Fault(NamedTuple):
    kind: str  # RIGHT where there is none
    probability: float | None  # of what is wrong, or of the whole answer


def fault_of_labels(row: Mapping[str, Any]) -> Fault:
    gold, told, shares = row["label"], row["predicted"], row.get("probabilities") or {}
    missed, invented = [name for name in gold if name not in told], [name for name in told if name not in gold]
    kind = BOTH if missed and invented else LABEL_MISSED if missed else LABEL_INVENTED if invented else RIGHT
    sure = [1 - shares[name] for name in missed if name in shares] + [shares[name] for name in invented]
    return Fault(kind, max(sure, default=None))


def fault_of_entities(row: Mapping[str, Any]) -> Fault:
    gold, told = ([Span(one["start"], one["end"], one["kind"]) for one in row[what]] for what in ("label", "predicted"))
    kinds = {mistake.what for mistake in mistakes([gold], [told])}
    sure = [one.get("probability") for one, span in zip(row["predicted"], told, strict=True) if span not in gold]
    kind = SEVERAL if len(kinds) > 1 else OF_ENTITIES[kinds.pop()] if kinds else RIGHT
    return Fault(kind, max((p for p in sure if p is not None), default=None))


def fault_of_stretch(row: Mapping[str, Any]) -> Fault:
    """By the right answer that is nearest; right is what `exact_match` takes for it."""
    right, told = ([Span(one["start"], one["end"]) for one in row[what]] for what in ("label", "predicted"))
    exact = any(exact_match(one["text"], own["text"]) for one in row["predicted"] for own in row["label"])
    sure = row["predicted"][0].get("probability") if told else None
    return Fault(RIGHT if exact else sort_of(right, told), sure)


# Task → the kinds of errors, and which of them an answer has.
FAULTS = {
    "multilabel": ((LABEL_MISSED, LABEL_INVENTED, BOTH), fault_of_labels),
    "tag": ((*OF_ENTITIES.values(), SEVERAL), fault_of_entities),
    "span": (SORTS, fault_of_stretch),
}


def task_of(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """A key of FAULTS, by the first label or answer that is not empty; None where they are no lists."""
    lists = [row[what] for row in rows for what in ("label", "predicted") if isinstance(row[what], list)]
    if not lists:
        return None
    one = next((own[0] for own in lists if own), "")
    return "multilabel" if isinstance(one, str) else "tag" if "kind" in one else "span"


def said(answer: Sequence[Any]) -> str:
    """An answer in words; of entities all, of right stretches with the same text one."""
    words = [
        one if isinstance(one, str) else one["text"] + (f" ({one['kind']})" if "kind" in one else "") for one in answer
    ]
    return ", ".join(words if any("kind" in one for one in answer) else dict.fromkeys(words)) or NONE
