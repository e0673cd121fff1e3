"""What a label may be, and how a table says it: a class, a number, names, a choice, stretches of the text, nothing."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

from .dataset import Found, Span
from .rows import shown

NOTHING = "nothing"  # there are no labels
BETWEEN = "|"  # names of one cell


def name_of(cell: Any, text: str = "") -> str:
    return str(cell)


def number_of(cell: str, text: str = "") -> float:
    """ValueError where it is no finite number."""
    try:
        number = math.nan if "_" in cell else float(cell)  # to Python 1_5 is 15
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is no number")
    return number


def names_of(cell: str | Sequence[str], text: str = "") -> tuple[str, ...]:
    """`joy|trust`, `["joy", "trust"]`, or a list of names, as tuple without repetitions; an empty cell has none."""
    if isinstance(cell, str) and cell.startswith("["):
        with suppress(ValueError, RecursionError):
            cell = json.loads(cell)
    if isinstance(cell, dict):
        raise ValueError("is no list of names")
    parts = cell.split(BETWEEN) if isinstance(cell, str) else cell
    if odd := [part for part in parts if not isinstance(part, str)]:
        raise ValueError(f"has {odd[0]!r}, which is no name")
    return tuple(dict.fromkeys(name for part in parts if (name := part.strip())))


def choice_of(cell: int, text: str = "") -> int:
    return cell


def nothing(cell: Any, text: str = "") -> None:
    """Texts that are only looked at need no labels."""


def entities_of(cell: str | Sequence[Any], text: str) -> tuple[Span, ...]:
    """A list of {"start": 0, "end": 4, "kind": "person"}, or of [0, 4, "person"], as Spans in the order of the text; in
    a cell as JSON. An entity may say its "text" too, which must stand there."""
    spans = sorted(span_of(one, text) for one in items_of(cell))
    for span in spans:
        if not span.kind.strip():
            raise ValueError(f"has an entity without a kind, {text[span.start : span.end]!r}")
    for first, second in pairwise(spans):
        if second.start < first.end:
            both = f"{text[first.start : first.end]!r} and {text[second.start : second.end]!r}"
            raise ValueError(f"has two entities that overlap, {both}: keep one of them")
    return tuple(spans)


def answers_of(cell: str | Sequence[Any], text: str) -> tuple[Span, ...]:
    """A list of {"start": 7, "text": "1603"}, as SQuAD has it (there it is answer_start), or one object of such lists,
    as Spans of the context; at least one. In a cell it is JSON."""
    spans = tuple(span_of(one, text)._replace(kind="") for one in items_of(cell))
    if not spans:
        raise ValueError("has no answer: a question needs at least one")
    return spans


def items_of(cell: str | Sequence[Any]) -> list[Any]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell else []
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is no list in JSON ({error})") from error
    if isinstance(cell, dict) and all(isinstance(own, list) for own in cell.values()):  # columns, as on the hub
        if len({len(own) for own in cell.values()}) > 1:
            raise ValueError("has lists of different lengths")
        cell = [dict(zip(cell, row, strict=True)) for row in zip(*cell.values(), strict=True)]
    if not isinstance(cell, list | tuple):
        raise ValueError("is no list")
    return list(cell)


def span_of(one: Any, text: str) -> Span:
    """ValueError where it is no stretch of the text, or another one than it says."""
    if isinstance(one, dict):
        start, end = one.get("start", one.get("answer_start")), one.get("end")
        kind, says = one.get("kind", ""), one.get("text")
        if end is None and type(start) is int and isinstance(says, str):
            end = start + len(says)
    elif isinstance(one, list | tuple) and len(one) in (2, 3):
        (start, end), kind, says = one[:2], one[2] if len(one) == 3 else "", None
    else:
        start = end = kind = says = None
    if type(start) is not int or type(end) is not int or not isinstance(kind, str):
        raise ValueError(f"has {one!r:.80}, which does not say start, end (or text) and kind")
    if not 0 <= start < end <= len(text):
        raise ValueError(f"has a stretch from {start} to {end}, but the text has {len(text)} characters")
    if says is not None and says != text[start:end]:
        raise ValueError(f"has {says!r:.80} at {start}, where {text[start:end]!r:.80} stands")
    return Span(start, end, kind)


class LabelKind(NamedTuple):
    """A kind of labels.

    read: (what a cell holds, the text that spans are of) → label; ValueError, the end of a sentence, where it is none.
    columns: use of a column (text, pair, label) → where it is looked for, if no other column is named.
    task: that has such labels, where a file's columns tell them.
    """

    read: Callable[[Any, str], Any]
    is_a: str  # for messages
    named: bool = True  # whether it has names, which --classes may list
    listed: bool = False  # whether it may be a list, also an empty one
    columns: Mapping[str, str] = MappingProxyType({})
    task: str = ""


LABEL_KINDS: dict[str, LabelKind] = {
    "name": LabelKind(name_of, "the name of a class"),
    "number": LabelKind(number_of, "a number", named=False),
    "names": LabelKind(names_of, "names of labels", listed=True),
    "choice": LabelKind(choice_of, "the number of a choice", named=False),
    "entities": LabelKind(entities_of, "a list of entities", listed=True, columns={"label": "entities"}, task="tag"),
    "answers": LabelKind(
        answers_of, "a list of answers", named=False, listed=True,
        columns={"text": "question", "pair": "context", "label": "answers"}, task="span",
    ),
    NOTHING: LabelKind(nothing, "nothing", named=False, listed=True),
}  # fmt: skip


def names_in(label: Any) -> Iterator[str]:
    """The names in a label: that of its class, its own, or the kinds of its entities; a number has none."""
    if isinstance(label, str):
        yield label
    elif isinstance(label, tuple):
        yield from (name for one in label if (name := one.kind if isinstance(one, Span) else one))


def label_json(label: Any, text: str, pair: str | None = None) -> Any:
    """A label as JSON has it: spans, of the second text where there is one, with what stands there."""
    if not (isinstance(label, tuple) and any(isinstance(one, Span) for one in label)):
        return label
    of = text if pair is None else pair
    return [
        {"start": one.start, "end": one.end}
        | ({"kind": one.kind} if one.kind else {})
        | {"text": of[one.start : one.end]}
        | ({"probability": one.probability} if isinstance(one, Found) else {})
        for one in label
    ]


def label_cell(label: Any, text: str = "", pair: str | None = None) -> Any:
    """A label as a cell of a table has it: names with BETWEEN them, spans as JSON, all else as it is.

    Names are a list in JSON where one of them has BETWEEN in it, or would be taken for such a list.
    """
    found = label_json(label, text, pair)
    if isinstance(found, tuple) and any(BETWEEN in name or name.startswith("[") for name in found):
        return json.dumps(found, ensure_ascii=False)
    return BETWEEN.join(found) if isinstance(found, tuple) else found


def label_line(label: Any, text: str, pair: str | None = None) -> str:
    """A label for people, on one line."""
    found = label_json(label, text, pair)
    if not isinstance(found, list):
        return shown(str(label_cell(label)))
    return shown(", ".join(f"{one['text']} ({one['kind']})" if "kind" in one else one["text"] for one in found))
