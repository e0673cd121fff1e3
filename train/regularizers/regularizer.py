"""What a regularizer may do: a few methods, all optional, called at the places that can be seen in train/loop.py.

Your own is a class with one or two of them, in any file: `--regularizer mine.py:Mine:weight=0.1`.

Letters: B texts in a micro-batch, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import prod
from typing import Any

from torch import Tensor

from ...model.model import Model
from ...model.packing import Output
from ..batch import Batch, Texts


class Regularizer:
    """Base of all: does nothing.

    name: what it is called in the log; yours is by default the name of its class.
    cost, paper: for people, in the listing.
    neutral: whether it would change nothing (weight 0 and the like). Then it is left out, and the run is exactly the
        one without it.
    refuses: names of those that it cannot work with.
    first_share: how much of the task loss is learned in the first pass, where `second_pass` brings the rest.

    Draw random numbers from torch alone: those of other sources are not kept in checkpoints.
    """

    name = ""
    cost = ""
    paper = ""
    neutral = False
    refuses: Sequence[str] = ()
    first_share = 1.0

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        """Once, before the optimizer exists: hang hooks into the model, exchange parts of it, look at the data.

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
        """In the place of the cross-entropy: fp32 logits (B, C) and targets (B, C) → losses (B,). Only one may."""
        return None

    def penalty(self, output: Output, batch: Batch) -> Tensor | None:
        """After the forward pass: a scalar, a mean per text, that is added to the task loss and logged.

        `output.logits` are (B, C), in half precision where the run is: compute with `.float()`.
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
        """Around every look at the dev split, and around taking the weights that are kept."""
        yield

    def finish(self, model: Model) -> None:
        """At the end, also of a run that broke off, with the weights that are kept: take out what `begin` put in."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from such a state, after `begin`."""


class Team(Regularizer):
    """Several regularizers as one, in the order in which they are given; those at a neutral setting are left out.

    penalties: summed over the texts of the epoch, by name, for the log.
    """

    def __init__(self, members: Sequence[Regularizer] = ()) -> None:
        self.members = [member for member in members if not member.neutral]
        check_together(self.members)
        self.first_share = prod(member.first_share for member in self.members)
        own = [member.loss for member in self.members if type(member).loss is not Regularizer.loss]
        self.own_loss: Callable[[Tensor, Tensor], Any] | None = own[0] if own else None
        self.logged = [m.name for m in self.members if type(m).penalty is not Regularizer.penalty]

    @contextmanager
    def at_work(self, model: Model, train: Texts, dev: Texts) -> Iterator[None]:
        """From `begin` to `finish` of all of them."""
        with ExitStack() as stack:
            for member in self.members:
                member.begin(model, train, dev)
                stack.callback(member.finish, model)
            yield

    def rate(self, name: str) -> float:
        return prod(member.rate(name) for member in self.members)

    def change_batch(self, batch: Batch) -> Batch:
        for member in self.members:
            batch = member.change_batch(batch)
        return batch

    def penalties(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """What each adds to the loss of a text, by its name."""
        found = {member.name: member.penalty(output, batch) for member in self.members}
        return {name: penalty for name, penalty in found.items() if penalty is not None}

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
                stack.enter_context(member.evaluation(model))
            yield

    def states(self) -> list[dict[str, Any]]:
        return [member.state() for member in self.members]

    def load_states(self, states: Sequence[dict[str, Any]]) -> None:
        for member, state in zip(self.members, states, strict=True):
            member.load_state(state)


def check_together(regularizers: Sequence[Regularizer]) -> None:
    """Raise ValueError where two of them cannot work together."""
    names = [regularizer.name for regularizer in regularizers]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"the regularizer {name} is asked for twice")
        for other in regularizers[number].refuses:
            if other in names:
                raise ValueError(f"the regularizers {name} and {other} cannot work together: choose one of them")
    losses = [r.name for r in regularizers if type(r).loss is not Regularizer.loss]
    if len(losses) > 1:
        raise ValueError(f"the regularizers {' and '.join(losses)} each want a loss of their own: choose one of them")
