"""What is refused of regularizers before a run begins, each in a sentence."""

import inspect
import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from .regularizer import Regularizer

METHODS = [name for name, value in vars(Regularizer).items() if callable(value) and not name.startswith("_")]
# What stands in log.csv, or means no regularizer on the command line.
RESERVED = re.compile(r"loss|epoch|lr|seconds|grad_norm|none|(dev|train)_.*")


def working(regularizers: Sequence[Regularizer]) -> list[Regularizer]:
    """Those that are not at a neutral setting, in their order.

    Raises:
        ValueError: one is not made as it must be, or two cannot work together.
    """
    for regularizer in regularizers:
        check(regularizer)
    found = [regularizer for regularizer in regularizers if not is_neutral(regularizer)]
    check_together(found)
    return found


def has(regularizer: Regularizer, method: str) -> bool:
    return getattr(type(regularizer), method) is not getattr(Regularizer, method)


def is_neutral(regularizer: Regularizer) -> bool:
    """Whether it would change nothing."""
    table, values = regularizer.neutral_at, regularizer.values
    return regularizer.neutral or (bool(table) and all(values.get(key) == at for key, at in table.items()))


def check(regularizer: Regularizer) -> None:
    """Raise ValueError where its name, one of its methods or one of its values cannot be."""
    if not isinstance(regularizer, Regularizer):
        raise ValueError(f"{regularizer!r} is no Regularizer: give objects, as RDrop() or regularizers_of(['r-drop'])")
    name = regularizer.name
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or RESERVED.fullmatch(name):
        raise ValueError(
            f"a regularizer cannot have the name {name!r}: choose one of letters, digits, - and _ that is no column of "
            "log.csv"
        )
    check_methods(regularizer)
    for key, (holds, says) in regularizer.ranges.items():
        value = regularizer.values.get(key)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            says = "it must be a finite number"
        elif holds(value):
            continue
        verb = "are" if key.endswith("s") else "is"
        says = says.replace("it lies", "they lie").replace("it ", "they ") if verb == "are" else says
        raise ValueError(f"the {key} of {name} {verb} {value!r}; {says}")


def check_methods(regularizer: Regularizer) -> None:
    """Raise ValueError where a method cannot be called as the loop does, or seems to be one that is misspelt."""
    the = f"the regularizer {regularizer.name}"
    for method in METHODS:
        _, *wanted = inspect.signature(getattr(Regularizer, method)).parameters
        call = f"{method}({', '.join(wanted)})"
        if method in vars(regularizer) or not callable(mine := getattr(regularizer, method)):
            raise ValueError(f"{the} keeps a value as {method}, but the loop calls the method {call}: rename it")
        try:
            inspect.signature(mine).bind(*wanted)
        except TypeError:
            found = f"{method}{inspect.signature(mine)}"
            raise ValueError(
                f"{the} has a method {found}, but the loop calls {call}: give it these parameters"
            ) from None
    classes = [kind for kind in type(regularizer).__mro__ if issubclass(kind, Regularizer)]
    for own in [key for kind in classes for key, value in vars(kind).items() if inspect.isroutine(value)]:
        alike = [] if own in METHODS or own.startswith("_") else get_close_matches(own.lower(), METHODS, 1, 0.75)
        if alike:
            raise ValueError(
                f"{the} has a method {own}, which the loop never calls: did you mean {alike[0]}, or a helper, _{own}?"
            )
    if not any(has(regularizer, method) for method in METHODS):
        raise ValueError(f"{the} does nothing: it has none of the methods {', '.join(METHODS)}")


def check_together(regularizers: Sequence[Regularizer]) -> None:
    """Raise ValueError where two of them cannot work together."""
    names = [regularizer.name for regularizer in regularizers]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"the regularizer {name} is asked for twice")
        for other in regularizers[number].refuses:
            if other in names:
                raise ValueError(f"the regularizers {name} and {other} cannot work together: choose one of them")
    losses = [regularizer.name for regularizer in regularizers if has(regularizer, "loss")]
    if len(losses) > 1:
        raise ValueError(f"the regularizers {' and '.join(losses)} each want a loss of their own: choose one of them")
