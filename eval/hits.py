"""The vectors most like a query's, exactly: every cosine is computed, a block of the corpus at a time.

Letters: m queries, n vectors of the corpus, H hidden size, k hits, R vectors in a block.
"""

from typing import NamedTuple

import numpy as np

AT_ONCE = 2**22  # numbers in memory at a time, of vectors or cosines: 16 to 32 MiB
DIGITS = 6  # of a cosine; beyond them equal texts may differ, by the other texts of their batches
NUMBERS = 2**32  # most vectors of a corpus


class Hit(NamedTuple):
    """What was found: its number in the corpus from 0, its cosine, and its text where that is known."""

    number: int
    score: float
    text: str | None = None


def unit(vectors: np.ndarray) -> np.ndarray:
    """(n, H) → (n, H) fp32 of length 1; a vector of zeros stays one, and one with NaN is NaN."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def require_one_size(one: np.ndarray, other: np.ndarray) -> None:
    """ValueError unless they are (m, H) and (n, H)."""
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(
            f"vectors of the shapes {one.shape} and {other.shape} cannot be compared: give (m, H) and (n, H), made by "
            "one model"
        )


def nearest(queries: np.ndarray, corpus: np.ndarray, k: int) -> list[list[Hit]]:
    """For each query the k vectors of the greatest cosine, greatest first; of equals that of the lower number.

    queries: (m, H). corpus: (n, H), of any length each, on disk too (np.memmap); where n < k there are n hits. A vector
        with NaN or infinity stands for no text, and is never found.

    Raises:
        ValueError: k is below 1, or the vectors differ in size.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    require_one_size(queries, corpus)
    queries = unit(queries)
    rows = max(1, AT_ONCE // max(1, *queries.shape))
    best = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(corpus), rows):
        cosines = queries @ unit(corpus[start : start + rows]).T  # (m, R)
        found = np.rint(np.nan_to_num(cosines, nan=-2) * 10**DIGITS).astype(np.int64)
        # One number for both, so that all differ: the cosine above, how far the number is from the last below.
        keys = found * NUMBERS + (NUMBERS - 1 - start - np.arange(found.shape[1]))
        best = np.concatenate([best, keys], axis=1)
        best = -np.partition(-best, min(k, best.shape[1]) - 1, axis=1)[:, :k]
    best = -np.sort(-best, axis=1)  # (m, k)
    scores, numbers = best // NUMBERS, NUMBERS - 1 - best % NUMBERS
    return [
        [Hit(number, score / 10**DIGITS) for number, score in zip(*row, strict=True) if score >= -(10**DIGITS)]
        for row in zip(numbers.tolist(), scores.tolist(), strict=True)
    ]
