"""The regularizers that come with this project, by name, and your own, by file or module."""

import importlib
import importlib.util
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .awp import AWP
from .checks import working
from .child_tuning import ChildTuning
from .class_balanced import ClassBalanced
from .distillation import Distillation
from .ema import EMA
from .fgm import FGM
from .focal import Focal
from .freelb import FreeLB
from .fresh_top import FreshTop
from .gradual_unfreezing import GradualUnfreezing
from .hidden_mixup import HiddenMixup
from .judge_votes import JudgeVotes
from .l2_sp import L2SP
from .label_smoothing import LabelSmoothing
from .layer_decay import LayerDecay
from .layer_drop import LayerDrop
from .lora import LoRA
from .mixout import Mixout
from .multi_sample_dropout import MultiSampleDropout
from .r_drop import RDrop
from .regularizer import Regularizer, shown
from .simcse import SimCSE
from .smart import SMART
from .supcon import SupCon
from .swa import SWA
from .temperature import Temperature
from .word_dropout import WordDropout
from .word_noise import WordNoise

SHELF: dict[str, type[Regularizer]] = {
    kind.name: kind
    for kind in (
        RDrop, LabelSmoothing, ClassBalanced, FGM, EMA, Mixout, L2SP, LayerDecay, FreshTop, GradualUnfreezing,
        ChildTuning, AWP, SWA, LoRA, Focal, JudgeVotes, Distillation, HiddenMixup, MultiSampleDropout, LayerDrop,
        WordDropout, WordNoise, SupCon, SimCSE, SMART, FreeLB, Temperature,
    )
}  # fmt: skip


# The type of a value → how it is read, and what is said of a text that cannot be.
READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "float": (float, "is not a number"),
    "int": (int, "must be a whole number"),
    "bool": (lambda text: {"true": True, "false": False}[text.lower()], "must be true or false"),
    "str": (str, ""),
}


def regularizers_of(descriptions: Sequence[str]) -> list[Regularizer]:
    """`["r-drop:weight=4", "mine.py:Mine"]` → regularizers, in order; those at their neutral setting are left out.

    Raises:
        ValueError: an unknown name or value, one name twice, or two that cannot work together.
    """
    return working([regularizer_of(description) for description in descriptions])


def regularizer_of(description: str) -> Regularizer:
    """NAME, FILE.py:CLASS or MODULE:CLASS, each with `:key=value,…` after it for what is not to be the default."""
    # Values begin at the first `:key=`: a path before or among them may have colons of its own (C:\\…).
    name, *rest = re.split(r":(?=\w+=)", description, maxsplit=1)
    kind, the = find(name), f"the regularizer {description!r}"
    known = {
        key: p
        for key, p in inspect.signature(kind).parameters.items()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    values = {key: parameter.default for key, parameter in known.items()}
    told_keys: set[str] = set()
    for key, _, text in (pair.partition("=") for pair in "".join(rest).split(",") if pair):
        if key not in known:
            raise ValueError(f"{the} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        if key in told_keys:
            raise ValueError(f"{the} is told {key} twice: leave one out")
        told_keys.add(key)
        values[key] = read(text, known[key], f"{key}={text} in {the}")
    if missing := [key for key, value in values.items() if value is inspect.Parameter.empty]:
        raise ValueError(f"{the} needs a value of {missing[0]}: {name}:{missing[0]}=…")
    try:
        made = kind(**values)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{the} cannot be made: {told(error)}") from error
    if made.name in SHELF and kind is not SHELF[made.name]:
        raise ValueError(f"{the} has the name of another one, {made.name}: give it a name of its own")
    made.made_with = values
    return made


def read(text: str, parameter: inspect.Parameter, where: str) -> Any:
    """A value, by the type of its default, or by its annotation where it has none."""
    default, annotation = parameter.default, parameter.annotation
    kind = type(default).__name__
    if default is None or default is parameter.empty:
        kind = str(getattr(annotation, "__name__", annotation)).removesuffix(" | None")
    if kind not in READ:
        raise ValueError(f"{where} has no number or text as its default, and no such annotation to be read by")
    reads, fault = READ[kind]
    try:
        value = reads(text)
    except (ValueError, KeyError):
        raise ValueError(f"{where} {fault}") from None
    if kind == "float" and not math.isfinite(value):
        raise ValueError(f"{where} is not a finite number")
    return value


def listing() -> str:
    """Each regularizer on a line: its name with its defaults, what it does, its cost in passes, and its paper."""
    lines = []
    for name, kind in SHELF.items():
        defaults = {key: value.default for key, value in inspect.signature(kind).parameters.items()}
        values = ",".join(f"{key}={shown(value)}" for key, value in defaults.items())
        says = (inspect.getdoc(sys.modules[kind.__module__]) or "").split("\n")[0]
        lines.append((f"{name}:{values}" if values else name, says.split(": ", 1)[1], f"costs {kind.cost}", kind.paper))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def find(name: str) -> type[Regularizer]:
    if name in SHELF:
        return SHELF[name]
    place, _, kind = name.rpartition(":")
    if not place:
        raise ValueError(f"regularizer {name!r} is not known; choose one of {', '.join(SHELF)}, or give FILE.py:CLASS")
    if place in SHELF:
        raise ValueError(f"{kind!r} of the regularizer {name!r} is no setting: write {place}:key=value,…")
    module = module_at(place, f"the regularizer {name!r} cannot be had")
    found = getattr(module, kind, None)
    if found is None:
        own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
        there = [value.__name__ for value in own if inspect.isclass(value) and issubclass(value, Regularizer)]
        raise ValueError(f"{place} has no class {kind}; it has {', '.join(there) or 'no Regularizer'}")
    if not (isinstance(found, type) and issubclass(found, Regularizer) and found is not Regularizer):
        raise ValueError(f"{name!r} is no Regularizer: it must be a class derived from it")
    return found


def module_at(place: str, fault: str) -> ModuleType:
    """The module of a file, or of a name, which is looked up from the working directory as `python -m` does."""
    file = Path(place) if place.endswith(".py") else None
    if file and not file.is_file():
        raise ValueError(f"{fault}: there is no file {place}")
    folder = str((file.parent if file else Path()).resolve())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        if not file:
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(file.stem, place)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:
        if not file and isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}."):
            raise ValueError(f"{fault}: there is no module {error.name}, in {folder} or installed") from None
        raise ValueError(f"{fault}: {told(error)}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def told(error: BaseException) -> str:
    """`mine.py, line 3: NameError: …`, with the place in the first file that is not ours."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [at for at in frames if at[0] not in (__file__, importlib.__file__) and not at[0].startswith("<")]
    said = f"{type(error).__name__}: {error}".split("\n")[0]
    if isinstance(error, SyntaxError):
        places, said = [(error.filename or "?", error.lineno)], f"{type(error).__name__}: {error.msg}"
    return f"{places[0][0]}, line {places[0][1]}: {said}" if places else said
