"""What the averaging methods share: a model that is looked at with other weights than its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def looking_with(weights: Sequence[Tensor], model: nn.Module) -> Iterator[None]:
    """Within it the parameters of the model are these, in their order; none where there are none yet."""
    own = [parameter.data for parameter in model.parameters()]
    for parameter, data in zip(model.parameters(), weights or own, strict=True):
        parameter.data = data
    try:
        yield
    finally:
        for parameter, data in zip(model.parameters(), own, strict=True):
            parameter.data = data
