"""The regularizers that come with this project, by name, and your own, by file or module."""

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .ema import EMA
from .fgm import FGM
from .r_drop import RDrop
from .regularizer import Regularizer

SHELF: dict[str, type[Regularizer]] = {kind.name: kind for kind in (RDrop, FGM, EMA)}


def regularizers_of(descriptions: Sequence[str]) -> list[Regularizer]:
    """`["r-drop:weight=4", "mine.py:Mine"]` → regularizers, in order; those at their neutral setting are left out.

    Raises:
        ValueError: an unknown name or setting, or one name twice.
    """
    made = [regularizer_of(description) for description in descriptions]
    names = [regularizer.name for regularizer in made]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the regularizer {twice[0]} is asked for twice")
    return [regularizer for regularizer in made if not regularizer.neutral]


def regularizer_of(description: str) -> Regularizer:
    """NAME, FILE.py:CLASS or MODULE:CLASS, each with `:key=value,…` after it for what is not to be the default."""
    parts = description.split(":")
    values = parts.pop() if "=" in parts[-1] else ""
    kind = find(":".join(parts))
    known = inspect.signature(kind).parameters
    given: dict[str, Any] = {}
    for pair in filter(None, values.split(",")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise ValueError(f"the regularizer {description!r} has no setting {key!r}; it has {', '.join(known)}")
        wanted = type(known[key].default)  # as what a value is read: whatever its default is
        try:
            given[key] = wanted(value) if wanted in (int, float) else value
        except ValueError:
            raise ValueError(f"{key}={value} in the regularizer {description!r} is not a number") from None
        if wanted is float and not math.isfinite(given[key]):
            raise ValueError(f"{key}={value} in the regularizer {description!r} is not a finite number")
    return kind(**given)


def listing() -> str:
    """Each regularizer on a line: its name with its defaults, and what it does."""
    lines = []
    for name, kind in SHELF.items():
        values = ",".join(f"{key}={value.default:g}" for key, value in inspect.signature(kind).parameters.items())
        says = (inspect.getdoc(sys.modules[kind.__module__]) or "").split("\n")[0]
        lines.append(f"{name + ':' + values:<22}{says.split(': ', 1)[1]}")
    return "\n".join(lines)


def find(name: str) -> type[Regularizer]:
    if name in SHELF:
        return SHELF[name]
    place, _, kind = name.rpartition(":")
    if not place:
        raise ValueError(f"regularizer {name!r} is not known; choose one of {', '.join(SHELF)}, or give FILE.py:CLASS")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise ValueError(f"the regularizer {name!r} cannot be had: there is no file {place}")
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    found = getattr(module, kind, None)
    if not (isinstance(found, type) and issubclass(found, Regularizer)):
        raise ValueError(f"{name!r} is no Regularizer: it must be a class derived from it")
    found.name = found.name or found.__name__
    return found
