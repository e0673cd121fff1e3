"""What a regularizer may do: a few methods, all optional, called at the places that can be seen in train/loop.py.

Your own is a class with one or two of them, in any file: `--regularizer mine.py:Mine:weight=0.1`.

Letters: B texts in a micro-batch, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...model.bert import Output
from ...model.heads import BertClassifier
from ...model.packing import Encoded


@dataclass
class Batch:
    """A micro-batch on its way into the model."""

    texts: list[Encoded]  # B
    targets: Tensor  # (B,) their class numbers, on the model's device


class Regularizer:
    """Base of all: does nothing.

    name: what it is called in the log; yours is by default the name of its class.
    neutral: whether it would change nothing (weight 0 and the like). Then it is left out, and the run is exactly the
        one without it.

    Draw random numbers from torch alone: those of other sources are not kept in checkpoints.
    """

    name = ""
    neutral = False

    def change_model(self, model: BertClassifier) -> None:
        """Once, before the optimizer exists: hang hooks into the model, exchange parts of it."""

    def change_batch(self, batch: Batch) -> Batch:
        """Before the forward pass: repeat or replace texts. The loss becomes the mean over what is returned."""
        return batch

    def penalty(self, output: Output, batch: Batch) -> Tensor | None:
        """After the forward pass: a scalar, a mean per text, that is added to the task loss and logged.

        `output.logits` are (B, C), in half precision where the run is: compute with `.float()`.
        """
        return None

    def second_pass(self, task: Callable[[], Tensor]) -> None:
        """After the backward pass of a micro-batch: `task()` runs the model on it once more and gives the task loss,
        already scaled; call its `backward()` to add to the gradients."""

    def after_step(self, model: BertClassifier) -> None:
        """After the optimizer's step."""

    @contextmanager
    def evaluation(self, model: BertClassifier) -> Iterator[None]:
        """Around every look at the dev split, and around taking the weights that are kept."""
        yield

    def finish(self, model: BertClassifier) -> None:
        """At the end of a whole run, with the weights that are kept: take out what `change_model` put in."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from such a state, after `change_model`."""


@contextmanager
def evaluation(model: BertClassifier, regularizers: Sequence[Regularizer]) -> Iterator[None]:
    """`Regularizer.evaluation` of all of them."""
    with ExitStack() as stack:
        for regularizer in regularizers:
            stack.enter_context(regularizer.evaluation(model))
        yield
