"""How alike two texts are, by the vectors that one encoder makes of each: sentence vectors are learned by this task.

Letters: n examples, P texts of each, H hidden size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from scipy.stats import rankdata

from ...data.dataset import SPLITS, Dataset, Example
from ...data.pairs import pairs_of_classes
from ...model.vectors import NUMBERS, CoSENT, VectorHead, vector_head
from ...tokenize.encoding import EncodedBatch
from .score import pearson
from .task import Task

BLOCK = 64  # examples; the loss of a split is the mean of those of such batches
SEED = 0  # of the pairs that are drawn from classes


class Similarity(Task):
    """Labels are numbers, the higher the more alike; or None, where text and pair are alike in every example.

    range: the labels that are 0 and 1 for the loss; answers are on this scale.
    prefix: what stands before each text.
    """

    name = "similarity"
    head: type[VectorHead] = CoSENT
    best = "spearman"
    falling = ("loss", "mae", "mape", "uniformity")
    r_drop = False
    takes = ("similarity", "score", "classify")
    options: Mapping[str, type] = {"loss": str, "low": float, "high": float, "pairs": int} | dict.fromkeys(
        NUMBERS.values(), float
    )
    range = (0.0, 1.0)
    prefix = ""
    draws = 0  # pairs of each sort for a text of a class

    def __init__(self, labels: Sequence[str] = ("text", "pair"), loss: str = CoSENT.name, **numbers: float) -> None:
        super().__init__(labels)
        self.parts = len(self.labels)
        self.loss, self.numbers, self.head = loss, numbers, vector_head(loss, **numbers)

    @staticmethod
    def labels_for(pair: bool, label: bool) -> str:
        """Numbers beside pairs; beside single texts the names of classes."""
        return "nothing" if not label else "number" if pair else "name"

    @staticmethod
    def fits(label: Any) -> bool:
        return label is None or np.isscalar(label)

    @classmethod
    def of(cls, data: Dataset, **told: Any) -> Self:
        """Options: `loss` of model/vectors.py with its number (`temperature`, `scale`, `margin`); `low` and `high`, the
        scale of the scores, by default the lowest and highest to learn from; `pairs` drawn for each text of a class."""
        train = data.split("train")
        low, high, pairs = told.pop("low", None), told.pop("high", None), told.pop("pairs", None)
        of_classes, scored = isinstance(train[0].label, str), train[0].label is not None
        usual = "ranking" if not scored else "cosine" if of_classes else "cosent"
        unlike = max(len(e.choices or ()) for e in train)
        names = ("text", "pair", *(f"unlike{number}" for number in range(1, unlike + 1)))
        task = cls(names, told.pop("loss", usual), **told)
        if not scored or of_classes:
            for name, value in {"low": low, "high": high}.items():
                if value is not None:
                    raise ValueError(f"{data.name} has no scores, which {name} would be of: leave it out")
        if pairs is not None and not of_classes:
            raise ValueError(f"{data.name} has no classes to draw pairs from: leave pairs out")
        if of_classes:
            task.draws = pairs or 1
        elif scored:
            scores = [float(e.label) for e in train]
            task.range = (min(scores) if low is None else low, max(scores) if high is None else high)
            if not task.range[0] < task.range[1]:
                raise ValueError(f"the scores of {data.name} lie between {task.range[0]:g} and {task.range[1]:g}")
        elif task.loss != "ranking":
            raise ValueError(
                f"{data.name} has no scores, by which {task.loss} learns: leave the loss out, or choose ranking"
            )
        if unlike and task.loss != "ranking":
            raise ValueError(f"texts that are unlike are for the loss ranking, and not for {task.loss}")
        if not scored:
            same = all(e.pair is None for e in train)
            task.best = "uniformity" if same else "mrr"
        return task

    def prepared(self, data: Dataset) -> Dataset:
        """Pairs are drawn from classes, and a text alone is its own pair."""
        if self.draws:
            found = pairs_of_classes(data.examples, self.draws, SEED)
            note = (
                f"{len(data.examples):,} texts of {len(data.labels)} classes became {len(found):,} pairs (seed {SEED})"
            )
            return replace(data, examples=found, labels=(), notes=[*data.notes, note], task=self.name)
        examples = [e if e.pair is not None else replace(e, pair=e.text) for e in data.examples]
        alone = sum(e.pair is None for e in data.examples)
        notes = [f"{alone:,} texts without a second one are pairs with themselves (SimCSE)"] if alone else []
        return replace(data, examples=examples, notes=[*data.notes, *notes], labels=())

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        self.loss, self.numbers = str(kept.get("loss", self.loss)), dict(kept.get("numbers", {}))
        self.head = vector_head(self.loss, **self.numbers)
        low, high = kept.get("range", self.range)
        self.range, self.prefix = (float(low), float(high)), str(kept.get("prefix", ""))
        self.best = str(kept.get("best", self.best))

    def kept(self) -> dict[str, Any]:
        more = {"numbers": self.numbers} if self.numbers else {}
        own = {"loss": self.loss, "best": self.best, "range": list(self.range), "prefix": self.prefix}
        return super().kept() | own | more

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        found, (low, high) = [], self.range
        scores = {split: [(e.id, e.label) for e in data.examples if e.split == split] for split in splits}
        outside = [id_ for own in scores.values() for id_, y in own if y is not None and not low <= float(y) <= high]
        if outside:
            where = f"between {low:g} and {high:g}: that of {outside[0]} is the first"
            found.append(f"{len(outside)} of {len(data.examples)} scores are not {where}")
        for split, own in scores.items():
            if own and own[0][1] is not None and len({y for _, y in own}) == 1:
                found.append(
                    f"all scores of {split} are {own[0][1]:g}: a correlation with them is not defined, and 0 here"
                )
        return found

    def fault(self, example: Example) -> str:
        if example.pair is None:
            return "has no second text: name their column (--pair-column), or give (text, second text)"
        unlike = len(example.choices or ())
        return f"has {unlike} texts that are unlike it, others {self.parts - 2}" if unlike != self.parts - 2 else ""

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> EncodedBatch:
        """Each of n · P texts by itself, with the prefix."""
        texts = [text for e in examples for text in (e.text, e.pair or "", *(e.choices or ()))]
        return tokenizer.encode_batch([self.prefix + text for text in texts], None, **how)

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """(n, 3): the label from 0 to 1, and numbers of text and pair, the same for the same one."""
        low, high = self.range
        numbers: dict[str, int] = {}
        rows = [
            (
                1.0 if e.label is None else (float(e.label) - low) / (high - low),
                *(numbers.setdefault(text, len(numbers)) for text in (e.text, e.pair or "")),
            )
            for e in examples
        ]
        return np.array(rows, dtype=np.float32).reshape(-1, 3)

    def vectors(self, logits: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(logits, dtype=np.float32)).unflatten(1, (self.parts, -1))  # (n, P, H)

    def answers(self, logits: np.ndarray) -> list[float]:
        """Six digits of them, as many as fp32 has."""
        return [float(f"{number:.6g}") for number in self.similarities(logits).tolist()]

    def similarities(self, logits: np.ndarray) -> np.ndarray:
        low, high = self.range
        return low + (high - low) * self.head(0, self.parts).alike(self.vectors(logits)).double().numpy()

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The loss, and where there are scores, the correlations of the similarities with them, their mean distance
        (MAE) and, where no score is 0, that as a share of the score (MAPE, in percent).

        Without scores: how often a text's own pair is the nearest of all pairs of the split (accuracy), the mean of
        1 / its rank (MRR), and the uniformity of the texts' vectors: log of the mean of exp(−2 d²) over all twos of
        them, the lower the better (Wang and Isola 2020, arXiv:2005.10242, equation 2).
        """
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        head, low, high = self.head(0, self.parts), *self.range
        rows, wanted = torch.from_numpy(np.asarray(logits, dtype=np.float32)), torch.from_numpy(targets)
        blocks = zip(rows.split(BLOCK), wanted.split(BLOCK), strict=True)
        found = {"loss": float(torch.cat([head.loss(own, gold) for own, gold in blocks]).double().mean())}
        if self.best != "spearman":
            return found | retrieval(self.vectors(logits), targets)
        told, gold = self.similarities(logits), low + (high - low) * targets[:, 0].astype(np.float64)
        away = np.abs(told - gold)
        found |= {
            "pearson": pearson(told, gold),
            "spearman": pearson(rankdata(told), rankdata(gold)),
            "mae": float(away.mean()),
        }
        return found | ({"mape": float(100 * (away / np.abs(gold)).mean())} if np.abs(gold).min() > 1e-6 else {})


def retrieval(vectors: torch.Tensor, targets: np.ndarray) -> dict[str, float]:
    """Accuracy, MRR and uniformity from (n, P, H) vectors; equal texts are no rivals of each other."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    numbers, ranks, spread = torch.from_numpy(targets[:, 1:]), [], 0.0
    n = len(unit)
    for start in range(0, n, BLOCK):
        own, mine = unit[start : start + BLOCK], numbers[start : start + BLOCK]
        cosines = own[:, 0] @ unit[:, 1].T  # (B, n)
        right = cosines.diagonal(start)[:, None]
        rivals = ~(mine[:, None] == numbers[None]).any(dim=-1)
        ranks.append(1 + ((cosines >= right) & rivals).sum(dim=1))
        spread += float((-2 * (2 - 2 * own[:, 0] @ unit[:, 0].T)).exp().double().sum())
    rank = torch.cat(ranks).double()
    apart = (spread - n) / max(1, n * (n - 1))
    found = {"accuracy": float((rank == 1).double().mean()), "mrr": float((1 / rank).mean())}
    return found | {"uniformity": float(np.log(max(apart, 1e-300)))}
