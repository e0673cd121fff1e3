"""The regularizers that come with this project, by name, and your own, by file or module."""

import importlib
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
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


def regularizers_of(descriptions: Sequence[str]) -> list[Regularizer]:
    """`["r-drop:weight=4", "mine.py:Mine"]` → regularizers, in order; those at their neutral setting are left out.

    Raises:
        ValueError: an unknown name or setting, one name twice, or two that cannot work together.
    """
    return working([regularizer_of(description) for description in descriptions])


def regularizer_of(description: str) -> Regularizer:
    """NAME, FILE.py:CLASS or MODULE:CLASS, each with `:key=value,…` after it for what is not to be the default."""
    # Settings begin at the first `:key=`: a path before or among them may have colons of its own (C:\\…).
    name, *rest = re.split(r":(?=\w+=)", description, maxsplit=1)
    values = "".join(rest)
    kind = find(name)
    known = inspect.signature(kind).parameters
    given: dict[str, Any] = {}
    for pair in filter(None, values.split(",")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise ValueError(f"the regularizer {description!r} has no setting {key!r}; it has {', '.join(known)}")
        wanted = type(known[key].default)  # as what a value is read: whatever its default is
        if wanted not in (int, float, str):
            raise ValueError(f"{key} of the regularizer {description!r} has no number or text as its default")
        try:
            given[key] = wanted(value)
        except ValueError:
            raise ValueError(f"{key}={value} in the regularizer {description!r} is not a number") from None
        if wanted is float and not math.isfinite(given[key]):
            raise ValueError(f"{key}={value} in the regularizer {description!r} is not a finite number")
    return kind(**given)


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
    return found
