"""Whole-word masking: which tokens a masked-language model has to predict.

Devlin et al. 2019 (arXiv:1810.04805), section 3.1 and appendix A.1: 15 % are chosen; of these, 80 % become [MASK],
10 % a random token, 10 % stay. Whole words (Cui et al. 2019, arXiv:1906.08101): the pieces of a word are chosen
together.

Letters: T tokens in a packed batch, M of them chosen, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np

from ..tokenize.tokenizer import Tokenizer


@dataclass(frozen=True)
class Masker:
    """Masks the tokens of a batch."""

    special: np.ndarray  # (V,) bool, special tokens
    continues: np.ndarray  # (V,) bool, tokens that continue a word
    mask_id: int
    rate: float = 0.15

    @classmethod
    def of(cls, tokenizer: Tokenizer, rate: float = 0.15) -> "Masker":
        special = np.zeros(tokenizer.vocab_size, dtype=bool)
        special[list(tokenizer.special_ids.values())] = True
        return cls(special, tokenizer.continues() & ~special, tokenizer.mask_id, rate)

    def __call__(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(T,) ids → (T,) masked ids, (M,) places to predict, (M,) the ids there; special tokens are never chosen."""
        word = np.cumsum(~self.continues[ids])  # (T,) the number of each token's word, from 1
        chosen = (rng.random(word[-1] + 1) < self.rate)[word] & ~self.special[ids]
        at = np.flatnonzero(chosen)
        draws = rng.random(len(at))
        masked = ids.copy()
        masked[at[draws < 0.8]] = self.mask_id
        random = at[draws >= 0.9]
        masked[random] = rng.choice(np.flatnonzero(~self.special), len(random))
        return masked, at, ids[at]
