"""Word noise: each time a text is read, some word pieces are missing, some neighbours swapped.

    every token is deleted with probability α; then round(α · n) times, one of the n left changes places with the next

Wei & Zou 2019, "EDA: Easy Data Augmentation Techniques" (arXiv:1901.11196), section 2: the two of its four operations
that need no thesaurus, on word pieces, anew in each epoch. Ends and special tokens ([CLS] and [SEP]) stay, and one
token between two of them.

Letters: B texts in a micro-batch, n tokens between two special ones.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from ...model.packing import Encoded
from ...tokenize.encoding import EncodedText
from .regularizer import FROM_0_BELOW_1, Batch, Model, Regularizer, Texts, require_one_vector


class WordNoise(Regularizer):
    name = "word-noise"
    paper = "Wei and Zou 2019, arXiv:1901.11196"
    ranges = {"alpha": FROM_0_BELOW_1}
    neutral_at = {"alpha": 0}
    replayable = True

    def __init__(self, alpha: float = 0.1) -> None:
        self.alpha = alpha
        self.special_ids: list[int] = []

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        require_one_vector(model, "word-noise moves and deletes tokens")
        self.special_ids = train.special_ids

    def change_batch(self, batch: Batch) -> Batch:
        return replace(batch, texts=[self.noisy(text) for text in batch.texts])  # B

    def noisy(self, text: Encoded) -> Encoded:
        if len(text.ids) < 3:  # nothing between its ends
            return text
        stay = np.isin(text.ids, self.special_ids)
        stay[[0, -1]] = True
        order = [np.zeros(1, dtype=np.int64)]
        for before, after in pairwise(np.flatnonzero(stay).tolist()):
            order += [self.between(before, after), np.array([after])]
        places = np.concatenate(order)
        return EncodedText(text.ids[places], text.type_ids[places])

    def between(self, before: int, after: int) -> np.ndarray:
        """What is left of the places between two that stay, in their new order."""
        if after - before < 2:
            return np.empty(0, dtype=np.int64)
        draws = torch.rand(after - before - 1).numpy()
        kept = np.flatnonzero(draws >= self.alpha) + before + 1
        if not len(kept):
            kept = np.array([draws.argmax() + before + 1])
        if len(kept) > 1:
            for place in torch.randint(len(kept) - 1, (round(self.alpha * len(kept)),)).tolist():
                kept[[place, place + 1]] = kept[[place + 1, place]]
        return kept
