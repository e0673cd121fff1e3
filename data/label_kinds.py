"""What a label may be, and how a table says it: the name of a class, a number, names, a choice, or nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

NOTHING = "nothing"  # there are no labels
BETWEEN = "|"  # names of one cell


def number_of(cell: str) -> float:
    """ValueError where it is no finite number."""
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is no number; scores are learned from numbers alone")
    return number


def names_of(cell: str | Sequence[str]) -> tuple[str, ...]:
    """`joy|trust`, or a list of names, as tuple without repetitions; an empty cell has none."""
    parts = cell.split(BETWEEN) if isinstance(cell, str) else cell
    if odd := [part for part in parts if not isinstance(part, str)]:
        raise ValueError(f"has {odd[0]!r}, which is no name")
    return tuple(dict.fromkeys(name for part in parts if (name := part.strip())))


def nothing(cell: Any) -> None:
    """Texts that are only looked at need no labels."""


LABEL_KINDS: dict[str, Callable[[Any], Any]] = {
    "name": str, "number": number_of, "names": names_of, "choice": int, NOTHING: nothing,
}  # fmt: skip


def label_cell(label: Any) -> Any:
    """A label as a cell of a table has it: names with BETWEEN them, all else as it is."""
    return BETWEEN.join(label) if isinstance(label, tuple) else label
