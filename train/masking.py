"""Whole-word masking: which tokens a masked-language model has to guess.

Devlin et al. 2019 (arXiv:1810.04805), section 3.1 and appendix A.1: 15 % are chosen; of these, 80 % become [MASK],
10 % a random token, 10 % stay. Whole words (the release of May 2019; Cui et al. 2019, arXiv:1906.08101): the pieces
of a word are chosen together, since a piece is too easily guessed from its neighbours. What goes on with a word, like
##pieces, the tokenizer knows.

Letters: T tokens in a packed batch, M of them chosen, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np

from ..tokenize.tokenizer import Tokenizer


@dataclass(frozen=True)
class Masker:
    """Knows of every token whether it is special and whether it goes on with a word."""

    special: np.ndarray  # (V,) bool
    continues: np.ndarray  # (V,) bool
    mask_id: int
    rate: float = 0.15

    @classmethod
    def of(cls, tokenizer: Tokenizer, rate: float = 0.15) -> "Masker":
        special = np.zeros(tokenizer.vocab_size, dtype=bool)
        special[list(tokenizer.special_ids.values())] = True
        return cls(special, tokenizer.continues() & ~special, tokenizer.mask_id, rate)

    def __call__(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(T,) ids → (T,) ids to be shown, (M,) places to be guessed, (M,) the ids that stood there.

        [UNK] is never asked for: there is nothing to be learned from it.
        """
        word = np.cumsum(~self.continues[ids])  # (T,) the number of each token's word, from 1
        chosen = (rng.random(word[-1] + 1) < self.rate)[word] & ~self.special[ids]
        at = np.flatnonzero(chosen)
        lot = rng.random(len(at))
        shown = ids.copy()
        shown[at[lot < 0.8]] = self.mask_id
        swapped = at[lot >= 0.9]
        shown[swapped] = rng.choice(np.flatnonzero(~self.special), len(swapped))
        return shown, at, ids[at]
