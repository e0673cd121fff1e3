"""Encoded texts → logits, a batch at a time.

Letters: B sequences in a batch, C classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..model.heads import BertClassifier
from ..model.packing import Encodings, Packed, pack
from ..model.precision import autocast, round_size
from ..model.ranks import rank, ranks, sum_over_ranks


class NotFiniteError(ValueError):
    """A model that answers with infinities or with what is no number."""


def predict(
    model: BertClassifier,
    encodings: Encodings,
    batch_size: int = 64,
    precision: torch.dtype = torch.float32,
    progress: str | None = None,
) -> Tensor:
    """Score texts.

    Args:
        model: on the device to compute on; it is put into evaluation mode, and back into its own afterwards.
        encodings: n encoded texts.
        progress: a title for a progress bar; without it, or without a terminal, there is none.

    Returns:
        Logits (n, C), fp32, on the CPU, in the order of the texts.

    Raises:
        NotFiniteError: a logit is infinite or no number.
    """
    scores = in_batches(
        model,
        lambda packed: model(packed).logits,
        len(model.config.labels),
        encodings,
        batch_size,
        precision,
        progress,
    )
    if not scores.isfinite().all():
        number = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise NotFiniteError(f"the model's scores for text {number + 1} are no finite numbers: its weights are broken")
    return scores


@torch.no_grad()  # not inference_mode, in which autocast casts the weights anew at every use
def in_batches(
    model: nn.Module,
    answer: Callable[[Packed], Tensor],
    width: int,
    encodings: Encodings,
    batch_size: int,
    precision: torch.dtype,
    progress: str | None,
) -> Tensor:
    """What `answer`, a function that runs the model, says of each text: packed batch → (B, width).

    Returns (n, width), as `predict` does in all else: texts of like length share a batch, processes share the texts.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    answers = []
    by_length = sorted(range(len(encodings)), key=lambda i: len(encodings[i].ids))  # so that attention pads little
    share = by_length[rank() :: ranks()]  # all of them, unless there are several processes
    batches = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
    silent = True if rank() or not progress else None  # None: where there is no terminal
    with autocast(device, precision):  # around all batches: inside, weights are cast once
        for batch in tqdm(batches, desc=progress, unit="batch", leave=False, disable=silent):
            packed = pack([encodings[i] for i in batch], round_size(precision)).to(device)
            answers.append(answer(packed).float())  # (B, width)
    model.train(was_training)
    found = torch.zeros(len(encodings), width, device=device)
    if answers:
        found[share] = torch.cat(answers)
    sum_over_ranks([found])  # the others' are zero
    return found.cpu()
