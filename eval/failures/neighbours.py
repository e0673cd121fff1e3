"""Nearest neighbours: one vector for each text, and the texts with the most similar vectors.

Letters: B sequences in a batch, T tokens in the packed batch, H hidden size, n references, m queries, k neighbours.
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
    batch_size: int | None = None,
    precision: torch.dtype = torch.float32,
    progress: str | None = None,
) -> Tensor:
    """Unit vectors (n, H), fp32, on the CPU: the mean of each text's vectors in the last layer, with [CLS] and [SEP].

    The mean needs no training; the pooler and the vector of [CLS] do. Reimers & Gurevych 2019 (arXiv:1908.10084,
    table 1) find it far better than [CLS] in an encoder that was only pretrained.

    encoder: `model.bert` of a model with a head. The other arguments are those of `predict`.
    """

    def sums(packed: Packed) -> Tensor:
        return packed.sums(encoder(packed).hidden)  # (T, H) -> (B, H)

    # The sum has the direction of the mean.
    found = in_batches(encoder, sums, (encoder.config.hidden_size,), encodings, batch_size, precision, progress)
    return F.normalize(found, dim=1)


def nearest(queries: Tensor, references: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k references with the greatest cosine to each query: their numbers (m, k) and cosines (m, k), greatest first.

    queries: (m, H) unit vectors. references: (n, H) unit vectors; where n < k there are n neighbours.
    exclude: (m,) the number of a reference that each query must not find, such as itself.
    """
    k = min(k, len(references) - (exclude is not None))
    rows = max(1, AT_ONCE // max(1, len(references)))
    numbers, cosines = [], []
    for start, some in zip(range(0, max(1, len(queries)), rows), queries.split(rows), strict=True):
        similarity = some @ references.T  # (rows, n)
        if exclude is not None:
            similarity.scatter_(1, exclude[start : start + rows, None], -torch.inf)
        best = similarity.topk(k)
        numbers.append(best.indices)
        cosines.append(best.values)
    return torch.cat(numbers), torch.cat(cosines)
