"""Token ids → vectors: the sum of a word, a position and a segment vector, normalised.

Letters: T tokens in a packed batch, H hidden size. Source: Devlin et al. 2019 (arXiv:1810.04805), figure 2.
"""

import torch
from torch import Tensor, nn

from .config import BertConfig
from .dropout import Dropout
from .packing import Packed


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word: nn.Module = table(config.vocab_size, config.hidden_size)
        self.position = table(config.max_position_embeddings, config.hidden_size)
        self.segment = table(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, packed: Packed) -> Tensor:
        """A packed batch → (T, H). A sequence longer than the learned positions is a ValueError."""
        if packed.longest > self.position.num_embeddings:
            raise ValueError(
                f"a sequence has {packed.longest} tokens, but the model has learned only "
                f"{self.position.num_embeddings} positions; encode with max_length={self.position.num_embeddings}"
            )
        x = self.word(packed.ids) + self.segment(packed.type_ids) + self.position(packed.positions)
        return self.dropout(self.norm(x))


def table(rows: int, width: int) -> nn.Embedding:
    """Vectors by number, still empty: `initialise` or a checkpoint fills them.

    `nn.Embedding(rows, width)` would fill them by itself, and where a checkpoint is to come (on the meta device) torch
    imports its compiler for that, which takes a second.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
