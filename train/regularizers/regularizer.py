"""What a regularizer may do: a few methods, all optional, called at the places that can be seen in train/loop.py.

Your own is a class with one or two of them, in any file: `--regularizer mine.py:Mine:weight=0.1`.

Letters: B texts in a micro-batch, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from ...model.bert import Output
from ...model.heads import BertClassifier
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

    def begin(self, model: BertClassifier, train: Texts, dev: Texts) -> None:
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

    def change_gradients(self, model: BertClassifier) -> None:
        """When the gradients of a step are complete, before they are clipped."""

    def after_step(self, model: BertClassifier, done: float) -> None:
        """After the optimizer's step; `done` is the share of all steps made so far, at the last one 1."""

    @contextmanager
    def evaluation(self, model: BertClassifier) -> Iterator[None]:
        """Around every look at the dev split, and around taking the weights that are kept."""
        yield

    def finish(self, model: BertClassifier) -> None:
        """At the end, also of a run that broke off, with the weights that are kept: take out what `begin` put in."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from such a state, after `begin`."""


@contextmanager
def at_work(regularizers: Sequence[Regularizer], model: BertClassifier, train: Texts, dev: Texts) -> Iterator[None]:
    """From `begin` to `finish` of all of them; ValueError where two cannot work together."""
    check_together(regularizers)
    with ExitStack() as stack:
        for regularizer in regularizers:
            regularizer.begin(model, train, dev)
            stack.callback(regularizer.finish, model)
        yield


@contextmanager
def evaluation(model: BertClassifier, regularizers: Sequence[Regularizer]) -> Iterator[None]:
    """`Regularizer.evaluation` of all of them."""
    with ExitStack() as stack:
        for regularizer in regularizers:
            stack.enter_context(regularizer.evaluation(model))
        yield


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
