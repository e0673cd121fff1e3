"""Training steps as CUDA graphs: a step's hundreds of kernels are recorded once, and then replayed by one call.

A step of a small batch is otherwise limited by Python and the driver, which start one kernel after another. A graph
replays the same kernels on the same memory, so there is one for each size of a batch (`pack`'s `even` makes few), its
input is copied to the place that it reads, and nothing in it may depend on Python: see `why_not`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..model.model import Model
from ..model.packing import Encodings, Packed
from ..model.ranks import ranks
from .batch import Batch
from .settings import Settings
from .team import Team

EVEN = 128  # tokens: T is a multiple of it
MOST = 16  # graphs; batches of more sizes run without

# A batch, of so many texts of so large a window (loop.py) → what the log needs; the weights are updated.
Step = Callable[[Packed, Batch, int, int], dict[str, Tensor]]

# A job that has run before → what replays it, and where its results will be.
Record = Callable[[Callable[[], dict[str, Tensor]]], tuple[Callable[[], None], dict[str, Tensor]]]


def why_not(settings: Settings, device: torch.device, precision: torch.dtype, team: Team, reads: str = "first") -> str:
    """Why steps cannot be replayed, or ""; `reads` is the head's."""
    others = [member.name for member in team.members if not member.replayable]
    if device.type != "cuda":
        return f"they are CUDA's, and this is {device}"
    if precision == torch.float16:
        return "the scaler of fp16 decides at every step whether it counts"
    if reads == "tokens":
        return "batches differ in what the head reads, all tokens"
    if settings.accumulate > 1 or ranks() > 1:
        return "a step is more than one batch of one process"
    return f"{', '.join(others)} may do something else at every step" if others else ""


def even_sizes(encodings: Encodings, positions: int) -> tuple[int, int]:
    """`pack`'s `even` for texts of a model with so many positions."""
    step = min(EVEN, positions)
    return step, max(step, max(len(encodings[i].ids) for i in range(len(encodings))))


def recorder() -> Record:
    """What makes CUDA graphs; they share their memory, since one ends before the next begins."""
    pool = None

    def record(job: Callable[[], dict[str, Tensor]]) -> tuple[Callable[[], None], dict[str, Tensor]]:
        nonlocal pool
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            results = job()
        pool = graph.pool()
        return graph.replay, results

    return record


class Halves:
    """The weights of all products in half precision, cast together.

    Autocast casts each of them, and each of their gradients, by a kernel of its own: a third of all kernels of a step.
    """

    def __init__(self, model: Model, precision: torch.dtype) -> None:
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self.places = [(layer, name) for layer in layers for name, p in layer.named_parameters(recurse=False)]
        self.own: list[Tensor] = [layer.get_parameter(name) for layer, name in self.places]
        self.half: list[Tensor] = [nn.Parameter(p.detach().to(precision), p.requires_grad) for p in self.own]

    def put(self, parameters: Sequence[Tensor]) -> None:
        for (layer, name), parameter in zip(self.places, parameters, strict=True):
            setattr(layer, name, parameter)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The model computes with them; at the end their gradients are those of its own weights."""
        with torch.no_grad():
            torch._foreach_copy_(self.half, self.own)
        self.put(self.half)
        try:
            yield
        finally:
            self.put(self.own)
        found = [(own, half.grad) for own, half in zip(self.own, self.half, strict=True) if half.grad is not None]
        gradients = [torch.empty_like(own) for own, _ in found]
        torch._foreach_copy_(gradients, [gradient for _, gradient in found])
        for (own, _), gradient in zip(found, gradients, strict=True):
            own.grad = gradient
        for half in self.half:
            half.grad = None


class Graphs:
    """Steps by size: the first of a size runs as it is, the second is recorded, and all from there on are replayed."""

    def __init__(self, step: Step) -> None:
        self.step, self.record = step, recorder()
        self.graphs: dict[tuple[Any, ...], Any] = {}  # by size; None after the first step of it

    def __call__(self, packed: Packed, batch: Batch, texts: int, of: int) -> dict[str, Tensor]:
        size = (texts, of, packed.longest, packed.fillers, *(x.shape for x in tensors(packed, batch)))
        if size not in self.graphs:
            if len(self.graphs) < MOST:
                self.graphs[size] = None
            return self.step(packed, batch, texts, of)
        if self.graphs[size] is None:
            own = packed.map(Tensor.clone), batch.map(Tensor.clone)
            self.graphs[size] = own, *self.record(lambda: self.step(*own, texts, of))
        own, replay, results = self.graphs[size]
        for place, value in zip(tensors(*own), tensors(packed, batch), strict=True):
            place.copy_(value, non_blocking=True)
        replay()
        return {name: result.clone() for name, result in results.items()}


def tensors(packed: Packed, batch: Batch) -> list[Tensor]:
    return [x for x in (*vars(packed).values(), *vars(batch).values()) if isinstance(x, Tensor)]
