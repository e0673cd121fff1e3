"""Which texts does an encoder take for alike? One vector a text, and the nearest of them.

Letters: B sequences in a batch, T tokens in the packed batch, H hidden size, n texts, m of them (or others) asked for,
k neighbours.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.bert import Bert
from ...model.packing import Encodings, Packed
from ..predict import in_batches

AT_ONCE = 2**22  # cosines in memory at a time: 16 MiB


def representations(
    bert: Bert,
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
        bert: the encoder; that of a model with a head is `model.bert`. The rest is as in `predict`.

    Returns:
        (n, H), fp32, on the CPU, in the order of the texts.
    """

    def sums(packed: Packed) -> Tensor:
        hidden = bert(packed).hidden.float()  # (T, H)
        sequence = packed.slots // packed.longest  # (T,) 0 0 0 1 2 2
        found = hidden.new_zeros(len(packed.boundaries) - 1, hidden.shape[1]).index_add(0, sequence, hidden)
        return found[: len(packed)]  # (T, H) -> (B, H), without what fills up

    # A sum points where the mean does.
    found = in_batches(bert, sums, bert.config.hidden_size, encodings, batch_size, precision, progress)
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
