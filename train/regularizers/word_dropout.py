"""Word dropout: in training, some word pieces are hidden, and only their place is seen.

    word(x) ← 0 with probability p, for each token on its own

Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification" (ACL 2015), section
3.1; Gal & Ghahramani 2016 (arXiv:1512.05287), section 4.2, drop a word at all its places at once. Position and segment
vectors stay. Special tokens, and the first and the last token of a text, are never dropped. Every pass draws anew.

Letters: T tokens in the packed batch, H hidden size.
"""

import torch
from torch import Tensor, nn

from ...model.packing import Packed
from .regularizer import FROM_0_BELOW_1, Model, Regularizer, Texts


class WordDropout(Regularizer):
    name = "word-dropout"
    paper = "Iyyer et al. 2015, ACL"
    ranges = {"p": FROM_0_BELOW_1}
    neutral_at = {"p": 0}

    def __init__(self, p: float = 0.1) -> None:
        self.p = p
        self.special_ids = torch.empty(0, dtype=torch.int64)
        self.packed: Packed | None = None  # of this pass

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        embeddings = model.bert.embeddings
        device = next(model.parameters()).device
        self.special_ids = torch.tensor(train.special_ids, dtype=torch.int64, device=device)
        self.hooks = [embeddings.register_forward_pre_hook(self.see), embeddings.word.register_forward_hook(self.hide)]

    def see(self, embeddings: nn.Module, inputs: tuple[Packed]) -> None:
        self.packed = inputs[0]

    def hide(self, word: nn.Module, inputs: tuple[Tensor], x: Tensor) -> Tensor | None:
        if not word.training:
            return None
        assert self.packed is not None
        hidden = torch.rand(len(x), device=x.device) < self.p  # (T,)
        hidden[self.packed.first] = False
        hidden[self.packed.boundaries[1:] - 1] = False
        hidden &= ~torch.isin(self.packed.ids, self.special_ids)
        return x.masked_fill(hidden[:, None], 0)
