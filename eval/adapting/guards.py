"""Guards: sentence pairs of general language, whose judged similarity an adapted encoder must still follow.

Letters: n pairs, S draws of the bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from ...data.dataset import DataError, Example
from ...data.load import READERS, load
from ...data.table import NONE, SUFFIXES
from ..encoder import Encoder
from ..hits import unit
from ..statistics import AT_ONCE, DRAWS, PERCENTILES

SHORT = {"stsb-ja": "stsb", "stsb-en": "stsb:language=en"}
SEED = 0
FEW_PAIRS = 30


@dataclass(frozen=True)
class Guard:
    """The dev split of scored pairs, or the test split where there is no dev; of a file all rows."""

    name: str
    split: str
    examples: Sequence[Example]  # n

    def __post_init__(self) -> None:
        if len({e.label for e in self.examples}) < 2:
            raise DataError(
                f"all scores of the guard {self.name} are {self.examples[0].label:g}, and nothing correlates with "
                "these: give pairs with others too"
            )
        if all(e.text == e.pair for e in self.examples):
            raise DataError(f"all pairs of the guard {self.name} are of one text twice, whose cosine is always 1")

    @property
    def notes(self) -> list[str]:
        """Sentences on pairs that can say little."""
        n, same = len(self.examples), sum(e.text == e.pair for e in self.examples)
        found = []
        if n < FEW_PAIRS:
            found.append(f"the guard {self.name} has {n} pairs: with so few hardly any fall is more than chance")
        if same:
            found.append(
                f"{same} of {n} pairs of the guard {self.name} are of one text twice, whose cosine is always 1"
            )
        return found

    @classmethod
    def load(cls, told: str) -> "Guard":
        """`jsts`, `stsb-ja`, `stsb-en`, `jsts=PATH` for a local copy, or a table of one's own with the columns text,
        pair and label, a number; DataError where it is none."""
        if Path(told).suffix.lower() in SUFFIXES and ("=" not in told or Path(told).is_file()):
            try:
                data = load(told, pair_column="pair", split_column=NONE, labels_are="number")
            except DataError as error:
                raise DataError(f"a guard has the columns text, pair and label (a number): {error}") from error
            return cls(data.name, "all", data.examples)
        name, _, path = told.partition("=") if not told.startswith("stsb:") else (told, "", "")
        source = SHORT.get(name, name)
        reader = READERS.get(source.partition(":")[0])
        if reader is None or reader.card is None or reader.card.task != "score":
            known = [*SHORT, *(name for name, one in READERS.items() if one.card and one.card.task == "score")]
            raise DataError(
                f"{name!r} is no guard: choose of {', '.join(known)}, NAME=PATH for a local copy "
                "of one, or a table with the columns text, pair and label"
            )
        data = load(source, path=path or None)
        split = next(split for split in ("dev", "test", "train") if any(e.split == split for e in data.examples))
        return cls(name, split, data.split(split))

    @property
    def gold(self) -> np.ndarray:
        return np.array([float(e.label) for e in self.examples])

    def cosines(self, encoder: Encoder) -> np.ndarray:
        """(n,) of the vectors of both texts."""
        vectors = unit(encoder.encode([text for e in self.examples for text in (e.text, e.pair or "")]))  # (2n, H)
        return (vectors[::2] * vectors[1::2]).sum(axis=1).astype(float)


@dataclass(frozen=True)
class Change:
    """A correlation before and after, each with 95 % of the draws around it."""

    before: float
    after: float
    of_before: tuple[float, float]
    of_after: tuple[float, float]
    of_change: tuple[float, float]

    @property
    def verdict(self) -> str:
        if self.of_change[1] < 0:
            return "fell by more than chance"
        return "rose by more than chance" if self.of_change[0] > 0 else "no change that chance would not make"


def changes(gold: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Change]:
    """Pearson's and Spearman's correlations of n cosines with the scores, before and after.

    The bootstrap over pairs (Efron 1979, Annals of Statistics 7): both encoders are judged on the same draws, and the
    change lies between percentiles of the draws' changes.
    """
    n, random, size = len(gold), np.random.default_rng(SEED), max(1, AT_ONCE // len(gold))
    drawn = (random.integers(n, size=(min(size, DRAWS - start), n)) for start in range(0, DRAWS, size))
    parts: dict[str, list[list[np.ndarray]]] = {"pearson": [], "spearman": []}  # before and after, of some draws
    for rows in chain([np.arange(n)[None]], drawn):  # the pairs as they are first
        sides = [side[rows] for side in (gold, before, after)]
        for name, (scores, *both) in zip(parts, (sides, [rankdata(side, axis=1) for side in sides]), strict=True):
            parts[name].append([correlations(scores, side) for side in both])
    found = {}
    for name, of_draws in parts.items():
        first, second = np.concatenate(of_draws, axis=1)  # (1 + S,) each
        low_high = [tuple(np.quantile(of[1:], PERCENTILES).tolist()) for of in (first, second, second - first)]
        found[name] = Change(float(first[0]), float(second[0]), *low_high)
    return found


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(S,) correlations of the rows of two (S, n); 0 where one of them is constant."""
    x, y = (side - side.mean(axis=1, keepdims=True) for side in (one, other))
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    vary = (np.ptp(one, axis=1) > 0) & (np.ptp(other, axis=1) > 0)
    return np.divide((x * y).sum(axis=1), size, out=np.zeros(len(x)), where=vary)
