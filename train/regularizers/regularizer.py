"""What a regularizer may do: a few methods, all optional, called at the places that can be seen in train/loop.py.

Your own is a class with one or two of them, in any file: `--regularizer mine.py:Mine:weight=0.1`. The types that they
are given can be imported from here.

Letters: B texts in a micro-batch, C classes.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...model.model import Model
from ...model.packing import Output
from ..batch import Batch, Texts


class Range(NamedTuple):
    """Which numbers a value may be, and how an error says it."""

    holds: Callable[[float], bool]
    says: str


AT_LEAST_0 = Range(lambda value: value >= 0, "it cannot be below 0")
ABOVE_0 = Range(lambda value: value > 0, "it must be above 0")
AT_LEAST_1 = Range(lambda value: value >= 1, "there must be at least 1")
FROM_0_TO_1 = Range(lambda value: 0 <= value <= 1, "it lies in [0, 1]")
FROM_0_BELOW_1 = Range(lambda value: 0 <= value < 1, "it lies in [0, 1)")


class Regularizer:
    """Base of all: does nothing.

    name: what it is called in the log; by default the name of the class.
    cost, paper: for people, in the listing.
    ranges: of its values, which are the parameters of its constructor, kept as attributes of the same names.
    neutral_at: the values at which it would change nothing. Then it is left out, and the run is exactly the one
        without it. `neutral` says the same of an object where a table cannot.
    only_classes: whether it makes sense for a head of classes alone.
    replayable: whether its `loss` and `penalty` are the same operations on tensors at every step, and it has no method
        that works between them and the optimizer's step; then a CUDA graph may replay them (`--graphs`).
    refuses: names of those that it cannot work with.
    first_share: how much of the task loss is learned in the first pass, where `second_pass` brings the rest.
    hooks: those that `begin` hung into the model; `finish` takes them out again.

    State is made in the constructor and begins anew in `begin`, so that an object serves for several runs. Draw random
    numbers from torch alone: those of other sources are not kept in checkpoints.
    """

    name = ""
    cost = "none"
    paper = ""
    ranges: Mapping[str, Range] = {}
    neutral_at: Mapping[str, float] = {}
    neutral = False
    only_classes = False
    replayable = False
    refuses: Sequence[str] = ()
    first_share = 1.0
    hooks: Sequence[RemovableHandle] = ()
    made_with: Mapping[str, Any] = {}  # its values, where the command line made it

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @property
    def values(self) -> dict[str, Any]:
        """Its values by name, in the order of the constructor's parameters."""
        keys = inspect.signature(type(self)).parameters
        found = {key: self.made_with.get(key, getattr(self, key, None)) for key in keys}
        return {key: value for key, value in found.items() if isinstance(value, (int, float, str))}

    @property
    def described(self) -> str:
        """`r-drop (weight 1)`"""
        values = ", ".join(f"{key} {shown(value)}" for key, value in self.values.items() if value != "")
        return f"{self.name} ({values})" if values else self.name

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        """Once, before the optimizer exists: hang hooks into the model, exchange parts of it, read the data.

        Raises:
            ValueError: it cannot work with this model or these texts; the message says why.
        """

    def rate(self, name: str) -> float:
        """What the learning rate of the parameter of this name is multiplied with."""
        return 1.0

    def change_batch(self, batch: Batch) -> Batch:
        """Before the forward pass: repeat or replace texts, or their targets. The loss becomes the mean over what is
        returned."""
        return batch

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """In place of the head's loss: fp32 logits (B, C) and targets (B, C) → losses (B,), or summands (B, C). Only
        one may."""
        return None

    def penalty(self, output: Output, batch: Batch) -> Tensor | None:
        """After the forward pass: a scalar, a mean per text, that is added to the task loss and logged.

        `output.logits` are (B, C), in half precision where the run is: compute with `.float()`. Of tokens they are
        (B, S, C), and NOTHING (model/packing.py) behind the shorter texts.
        """
        return None

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        """After the backward pass of a micro-batch: `task()` runs the model on it once more and gives the task loss,
        already scaled; call its `backward()` to add to the gradients."""

    def change_gradients(self, model: Model) -> None:
        """When the gradients of a step are complete, before they are clipped."""

    def after_step(self, model: Model, done: float) -> None:
        """After the optimizer's step; `done` is the share of all steps made so far, at the last one 1."""

    @contextmanager
    def evaluation(self, model: Model) -> Iterator[None]:
        """Around every evaluation on the dev split, and around taking the weights that are kept."""
        yield

    def finish(self, model: Model) -> None:
        """At the end, also of a run that broke off, with the weights that are kept: take out what `begin` put in."""
        for hook in self.hooks:
            hook.remove()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from such a state, after `begin`."""


def require_pooled(model: Model, name: str) -> None:
    """ValueError where the model gives no vector of a whole sequence, for a penalty to compare."""
    if model.reads == "tokens":
        raise ValueError(f"{name} compares vectors of whole texts, and this model gives one of each token")


def require_one_vector(model: Model, why: str) -> None:
    """ValueError where the head reads each token, and not a vector of each text."""
    if model.reads == "tokens":
        raise ValueError(f"{why}, and this model answers for each token")


def shown(value: float | str) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"
