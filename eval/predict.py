"""Encoded texts → logits, a batch at a time.

Letters: B sequences in a batch, C classes.
"""

import torch
from torch import Tensor
from tqdm import tqdm

from ..model.heads import BertClassifier
from ..model.packing import Encodings, pack
from ..model.precision import autocast


class NotFiniteError(ValueError):
    """A model that answers with infinities or with what is no number."""


@torch.inference_mode()
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
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits = []
    starts = range(0, len(encodings), batch_size)
    for start in tqdm(starts, desc=progress, unit="batch", leave=False, disable=None if progress else True):
        batch = [encodings[i] for i in range(start, min(start + batch_size, len(encodings)))]
        with autocast(device, precision):
            logits.append(model(pack(batch).to(device)).logits.float())  # (B, C)
    model.train(was_training)
    scores = torch.cat(logits).cpu() if logits else torch.empty(0, len(model.config.labels))
    if not scores.isfinite().all():
        number = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise NotFiniteError(f"the model's scores for text {number + 1} are no finite numbers: its weights are broken")
    return scores
