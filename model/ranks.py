"""Synchronous data parallelism: several processes ("ranks"), as `torchrun --nproc-per-node 2 scripts/finetune.py …`.

Each has the whole model and computes on its share of every batch; after the backward pass gradients are summed over
all, so that each takes the step that one process alone would, but for dropout (Li et al. 2020, arXiv:2006.15704).
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather


def start() -> None:
    """Join the other processes, if torchrun started any; each has a GPU of its own where there are enough.

    NCCL sums on GPUs, gloo on CPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if int(os.environ["LOCAL_RANK"]) < torch.cuda.device_count():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; 0 prints and writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Put into each tensor its sum over all ranks."""
    if ranks() > 1:
        for pending in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
            pending.wait()


def sum_gradients(model: nn.Module) -> None:
    """Put into each gradient its sum over all ranks; a rank whose share of a short batch is empty adds zeros."""
    if ranks() > 1:
        for parameter in model.parameters():
            if parameter.grad is None and parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        sum_over_ranks(parameter.grad for parameter in model.parameters() if parameter.grad is not None)


def gathered(*rows: Tensor) -> tuple[Tensor, ...]:
    """(B, …) tensors → those of all ranks below each other, with their gradients; and (B,) where the own rows are.

    All ranks must call it with equally many rows. A loss of all rows that each rank computes for its own share of them
    has the gradients of one process when `sum_gradients` is done.
    """
    own = torch.arange(len(rows[0]), device=rows[0].device)
    if ranks() == 1:
        return *rows, own
    found = [torch.cat(all_gather(tensor.contiguous())) for tensor in rows]
    return *found, own + rank() * len(own)
