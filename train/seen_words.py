"""Word embeddings of which only the rows of the training texts' words are trained.

The other rows get no gradient, but the optimizer would read and write them and their moments at every step: a fifth of
BERT-base. So they stay as they are (weight decay would shrink them by a fraction of a percent). Losses and gradients
are those of the whole table.

Letters: T tokens, V vocabulary, K of its words in the training texts, H hidden size.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.bert import Bert
from ..model.packing import Encodings


class SeenWords(nn.Module):
    """A word embedding of which K rows are trained (`weight`)."""

    row_of: Tensor  # (V,) a word's row in `weight`, -1 for the others
    others: Tensor  # (V, H) the whole table as it was; its memory, not a copy

    def __init__(self, whole: nn.Embedding, ids: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(whole.weight.detach()[ids])  # (K, H)
        row_of = torch.full((whole.num_embeddings,), -1, device=ids.device)
        row_of[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("row_of", row_of, persistent=False)
        self.register_buffer("others", whole.weight.detach(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(T,) → (T, H)"""
        rows = self.row_of[ids]
        trained = F.embedding(rows.clamp(min=0), self.weight)
        return torch.where(rows[:, None] < 0, self.others[ids], trained)


@contextmanager
def only_seen_words(model: Bert, texts: Encodings) -> Iterator[None]:
    """Within it, `model` trains the embeddings of the words of `texts` alone."""
    whole = model.embeddings.word
    assert isinstance(whole, nn.Embedding)
    seen = set().union(*(texts[i].ids.tolist() for i in range(len(texts))))
    ids = torch.tensor(sorted(seen), dtype=torch.int64, device=whole.weight.device)
    words = SeenWords(whole, ids)
    model.embeddings.word = words
    try:
        yield
    finally:
        with torch.no_grad():
            whole.weight[ids] = words.weight
        model.embeddings.word = whole
