"""Which of the choices of a question a label means."""

from collections.abc import Sequence
from typing import Any

from .rows import RowError, listed


def refuse_few(choices: Sequence[str]) -> None:
    """RowError for fewer than two choices, or the same one twice."""
    if len(choices) < 2:
        raise RowError(f"the choices are {listed(choices)}: at least two are needed")
    if twice := [choice for number, choice in enumerate(choices) if choice in choices[:number]]:
        raise RowError(f"the choice {twice[0]!r} stands there twice")


def meant_by(label: Any, choices: Sequence[str], columns: Sequence[str] = ()) -> list[int]:
    """The numbers, from 0, of the choices that a label may mean, the likeliest first; RowError where there is none.

    A number means the choice with it; what was written, the choice with that text, in that column, or with that number.
    """
    if hasattr(label, "__index__") and not isinstance(label, bool):
        found = [int(label)] if 0 <= int(label) < len(choices) else []
    else:
        name = str(label).strip()
        found = [number for number, choice in enumerate(choices) if choice.strip() == name]
        found += [columns.index(name)] if len(columns) == len(choices) and name in columns else []
        found += [int(name)] if name.isdecimal() and int(name) < len(choices) else []
    if not found:
        raise RowError(
            f"the label {label!r} is none of the choices ({listed(choices)}), nor the number of one, from 0 to "
            f"{len(choices) - 1}"
        )
    return list(dict.fromkeys(found))
