"""Several regularizers as one, for the loop.

Letters: B texts in a micro-batch, C columns of logits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import prod
from typing import Any

from torch import Tensor

from ..model.heads import ClassHead
from ..model.model import Model
from ..model.packing import Output
from .batch import Batch, Texts
from .regularizers.checks import has, working
from .regularizers.regularizer import Regularizer


class Team:
    """The regularizers of a run, in the order in which they are given; those at a neutral setting are left out.

    own_loss: in place of the head's, if one of them has it.
    logged: the names of those whose penalty is in the log, as `train_NAME`.
    """

    def __init__(self, regularizers: Sequence[Regularizer] = ()) -> None:
        """ValueError: one of them is not made as it must be, or two cannot work together."""
        self.members = working(regularizers)
        self.first_share = prod(member.first_share for member in self.members)
        own = [member for member in self.members if has(member, "loss")]
        self.own_loss: Callable[[Tensor, Tensor], Tensor] | None = partial(loss_of, own[0]) if own else None
        self.logged = [member.name for member in self.members if has(member, "penalty")]

    def __str__(self) -> str:
        """`r-drop (weight 1), temperature`"""
        return ", ".join(member.described for member in self.members) or "none"

    @contextmanager
    def at_work(self, model: Model, train: Texts, dev: Texts) -> Iterator[None]:
        """From `begin` to `finish` of all of them."""
        for member in self.members:
            if member.only_classes and not isinstance(model.classifier, ClassHead):
                head = type(model.classifier).__name__
                raise ValueError(f"the regularizer {member.name} is for classes, and the head of this model is {head}")
        with ExitStack() as stack:
            for member in self.members:
                member.begin(model, train, dev)
                stack.callback(member.finish, model)
            yield

    def rate(self, name: str) -> float:
        rates = [member.rate(name) for member in self.members]
        for member, rate in zip(self.members, rates, strict=True):
            if not isinstance(rate, (int, float)):
                raise wrong(member, "rate", rate, "the number that the learning rate is multiplied with")
        return prod(rates)

    def change_batch(self, batch: Batch) -> Batch:
        for member in self.members:
            changed = member.change_batch(batch)
            if not isinstance(changed, Batch):
                raise wrong(member, "change_batch", changed, "the batch")
            batch = changed
        return batch

    def penalties(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """What each adds to the loss of a text, by its name."""
        found = {}
        for member in self.members:
            penalty = member.penalty(output, batch)
            if penalty is None:
                continue
            if not isinstance(penalty, Tensor) or penalty.ndim:
                raise wrong(member, "penalty", penalty, "a scalar tensor, a mean per text")
            found[member.name] = penalty
        return found

    def second_pass(self, task: Callable[..., Tensor], *at: Any) -> None:
        """`task`, with `at` as its arguments, runs the model once more."""
        for member in self.members:
            member.second_pass(partial(task, *at))

    def change_gradients(self, model: Model) -> None:
        for member in self.members:
            member.change_gradients(model)

    def after_step(self, model: Model, done: float) -> None:
        for member in self.members:
            member.after_step(model, done)

    @contextmanager
    def evaluation(self, model: Model) -> Iterator[None]:
        with ExitStack() as stack:
            for member in self.members:
                around = member.evaluation(model)
                if not hasattr(around, "__enter__"):
                    raise wrong(member, "evaluation", around, "a context manager: write @contextmanager above it")
                stack.enter_context(around)
            yield

    def states(self) -> list[dict[str, Any]]:
        return [member.state() for member in self.members]

    def load_states(self, states: Sequence[dict[str, Any]]) -> None:
        if len(states) != len(self.members):
            raise ValueError(f"the run had {len(states)} regularizers when it was stopped, not {len(self.members)}")
        for member, state in zip(self.members, states, strict=True):
            member.load_state(state)


def loss_of(member: Regularizer, logits: Tensor, targets: Tensor) -> Tensor:
    """(B, C), (B, C) → (B,) or (B, C)"""
    losses = member.loss(logits, targets)
    if not isinstance(losses, Tensor) or losses.shape not in (logits.shape[:1], logits.shape):
        raise wrong(member, "loss", losses, f"a tensor of shape {(len(logits),)}, the loss of each text")
    return losses


def wrong(member: Regularizer, hook: str, value: Any, wanted: str) -> ValueError:
    """The error for what a method must not return."""
    what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.60}"
    return ValueError(f"{hook} of the regularizer {member.name} returned {what}; it must return {wanted}")
