"""The regularizers that come with this project, by name, and your own, by file or module."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

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
    return [regularizer for regularizer in made if not getattr(regularizer, "neutral", False)]


def regularizer_of(description: str) -> Regularizer:
    """NAME, FILE.py:CLASS or MODULE:CLASS, each with `:key=value,…` after it for what is not to be the default."""
    parts = description.split(":")
    values = parts.pop() if "=" in parts[-1] else ""
    given = {}
    for pair in filter(None, values.split(",")):
        key, _, value = pair.partition("=")
        try:
            given[key] = float(value)
        except ValueError:
            raise ValueError(f"{key}={value} in the regularizer {description!r} is not a number") from None
    kind = find(":".join(parts))
    known = inspect.signature(kind).parameters
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(f"the regularizer {description!r} has no setting {unknown[0]!r}; it has {', '.join(known)}")
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
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        found = getattr(module, kind)
    except (FileNotFoundError, ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"the regularizer {name!r} cannot be had: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Regularizer)):
        raise ValueError(f"{name!r} is no Regularizer: it must be a class derived from it")
    found.name = found.name or found.__name__
    return found
