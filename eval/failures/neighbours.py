"""Which texts does an encoder take for alike? One vector a text, and the nearest of them.

Letters: B sequences in a batch, T tokens in the packed batch, H hidden size, n texts, m of them (or others) asked for,
k neighbours.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.packing import Encodings, Packed
from ..predict import in_batches

AT_ONCE = 2**22  # cosines in memory at a time: 16 MiB


def representations(
    encoder: Any,
    encodings: Encodings,
    batch_size: int = 64,
    precision: torch.dtype = torch.float32,
    progress: str | None = None,
) -> Tensor:
    """The mean of a text's token vectors in the last layer ([CLS] and [SEP] among them), as a unit vector.

    The mean, since nothing has to train it. The pooler, and the vector of [CLS], say what they were trained to say:
    before fine-tuning, little about the text, and some checkpoints have no pooler at all. Reimers & Gurevych 2019
    (arXiv:1908.10084, table 1) find the mean far better than [CLS] in an encoder that was only pretrained.

    Args:
        encoder: that of a model with a head is `model.bert`. The rest is as in `predict`.

    Returns:
        (n, H), fp32, on the CPU, in the order of the texts.
    """

    def sums(packed: Packed) -> Tensor:
        return packed.sums(encoder(packed).hidden)  # (T, H) -> (B, H)

    # A sum points where the mean does.
    found = in_batches(encoder, sums, encoder.config.hidden_size, encodings, batch_size, precision, progress)
    return F.normalize(found, dim=1)


def nearest(queries: Tensor, references: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k references with the greatest cosine to each query, the greatest first.

    Args:
        queries: (m, H) unit vectors, as `representations` gives them.
        references: (n, H) unit vectors.
        k: there are fewer neighbours where there are fewer references.
        exclude: (m,) the number of the reference that each query must not find: where the queries are among the
            references, itself. Another text with the same words is found.

    Returns:
        Their numbers (m, k) and the cosines (m, k).
    """
    k = min(k, len(references) - (exclude is not None))
    rows = max(1, AT_ONCE // max(1, len(references)))
    numbers, cosines = [], []
    for start, some in zip(range(0, max(1, len(queries)), rows), queries.split(rows), strict=True):
        alike = some @ references.T  # (rows, n)
        if exclude is not None:
            alike.scatter_(1, exclude[start : start + rows, None], -torch.inf)
        best = alike.topk(k)
        numbers.append(best.indices)
        cosines.append(best.values)
    return torch.cat(numbers), torch.cat(cosines)
