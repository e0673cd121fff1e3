"""How alike two texts are, by the vectors that one encoder makes of each: sentence vectors are learned by this task.

Letters: n examples, P texts of each, H hidden size.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch

from ...data.dataset import SPLITS, Dataset, Example
from ...data.label_names import FEW_TEXTS, NUMBER, refuse_numbers
from ...data.pairs import pairs_of_classes
from ...model.vectors import NUMBERS, CoSENT, VectorHead, no_rivals, vector_head
from ...tokenize.encoding import EncodedBatch
from .score import pearson
from .task import Task

BLOCK = 256  # examples that are compared with all others at a time
ASKED = "the lowest and the highest that can be (tezukuri adapt --scale LOW HIGH, or --task similarity:low=L,high=H)"
SEED = 0  # of the pairs that are drawn from classes


class Similarity(Task):
    """Labels are numbers, the higher the more alike; or None, where text and pair are alike in every example.

    range: the labels that are 0 and 1 for the loss; answers are on this scale.
    draws: pairs of each sort that are drawn for a text of a class; 0 where the data have pairs.
    scored: whether the examples that were prepared last have scores.
    """

    name = "similarity"
    head: type[VectorHead] = CoSENT
    best = "spearman"
    falling = ("loss", "mae", "mape", "uniformity")
    separate = True
    r_drop = False
    rate = 5 / 12  # 5e-5 for small, with which docs/similarity.md was made; no other was tried
    takes = ("score", "classify")
    options: Mapping[str, type] = {"loss": str, "low": float, "high": float, "pairs": int} | dict.fromkeys(
        NUMBERS.values(), float
    )
    range = (0.0, 1.0)
    draws = 0
    scored = True
    why_last = "no split can say which epoch is best for texts that are pairs with themselves"

    def __init__(self, labels: Sequence[str] = ("text", "pair"), loss: str = CoSENT.name, **numbers: float) -> None:
        super().__init__(labels)
        self.parts = len(self.labels)
        self.loss, self.numbers, self.head = loss, numbers, vector_head(loss, **numbers)
        self.least_batch = 2 if self.head.gathers and self.parts == 2 else 1

    @classmethod
    def kind_by_columns(cls, pair: bool, label: bool) -> str:
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
        low, high, draws = told.pop("low", None), told.pop("high", None), told.pop("pairs", None)
        of_classes, scored = isinstance(train[0].label, str), train[0].label is not None
        paired = any(e.pair is not None for e in data.examples)
        # Only beside classes may texts that are judged lack them: they are left out.
        some = [e for e in data.examples if e.split == "train" or e.label is not None or not of_classes]
        odd = next((e for e in some if (e.label is not None, isinstance(e.label, str)) != (scored, of_classes)), None)
        if odd:
            raise ValueError(f"{data.name} has labels of two kinds, {train[0].label!r} and {odd.label!r}: give one")
        if paired and of_classes:
            raise ValueError(f"{data.name} has pairs with the names of classes, and vectors are learned from numbers")
        if scored and not paired and not of_classes:
            raise ValueError(f"{data.name} has scores of single texts: name the column of second ones (--pair-column)")
        if of_classes and len({e.label for e in train}) < 2:
            raise ValueError(
                f"all texts of the train split of {data.name} are {train[0].label!r}: nothing can be learned"
            )
        if of_classes and not data.named:
            refuse_numbers(data)
        if draws is not None and (draws < 1 or not of_classes):
            raise ValueError(
                f"pairs is {draws}; it must be at least 1" if of_classes else f"{data.name} has no classes to draw "
                "pairs from: leave pairs out"
            )  # fmt: skip
        if of_classes or not scored:
            for name, value in {"low": low, "high": high}.items():
                if value is not None:
                    raise ValueError(
                        f"{data.name} has no scores, which {name} would be of: leave it out, or its recipe"
                    )
        usual = "ranking" if not scored else "cosine" if of_classes else CoSENT.name
        unlike = max(len(e.choices or ()) for e in train)
        names = ("text", "pair", *(f"unlike{number}" for number in range(1, unlike + 1)))
        task = cls(names, told.pop("loss", usual), **told)
        if not scored and task.loss != "ranking":
            raise ValueError(f"{data.name} has no scores, by which {task.loss} learns: leave the loss out")
        if of_classes and task.loss == "ranking":
            raise ValueError("ranking takes each pair as alike, and half of those of classes are not: choose cosine")
        if unlike and task.loss != "ranking":
            raise ValueError(f"texts that are unlike are for the loss ranking, and not for {task.loss}")
        if not scored and paired and not unlike:
            pairs = {e.text if e.pair is None else e.pair for e in train}
            for side, texts in (("text", {e.text for e in train}), ("second text", pairs)):
                if len(texts) == 1:
                    raise ValueError(f"all pairs of {data.name} have the same {side}: there is none to rank it above")
        if of_classes:
            task.draws = draws or 1
            if all(n < 2 for n in Counter(e.label for e in data.examples if e.split == "dev").values()):
                task.select, task.why_last = "last", "dev has no two texts of one class, which could be alike"
        elif scored:
            scores = [float(e.label) for e in train]
            task.range = (min(scores) if low is None else low, max(scores) if high is None else high)
            check_scale(data.name, scores, *task.range, different=task.head.least_scores)
        elif paired:
            task.best = "mrr"
        else:
            task.best, task.select, task.twice = "loss", "last", True
        return task

    def unmeant(self, data: Dataset) -> str:
        """Classes that are numbers, and were not named: they may be scores whose second texts were forgotten."""
        labels = [str(e.label) for e in data.examples] if self.draws and not data.named else ["x"]
        if not all(map(NUMBER.fullmatch, labels)):
            return ""
        return (
            f"labels of {data.name} are numbers, such as {labels[0]}, of single texts: name the column of second texts "
            "(--pair-column), or, where they are names of classes, all of them (--classes)"
        )

    def prepared(self, data: Dataset) -> Dataset:
        """Pairs are drawn from classes, where texts without one are left out; else a text without label or pair is its
        own pair. ValueError for classes of pairs, or where none were learned."""
        of_classes = any(isinstance(e.label, str) for e in data.examples)
        if of_classes and not self.draws:
            raise ValueError(
                f"{data.name} has the names of classes, and the model has learned scores of pairs: name the columns of "
                "such (--pair-column, --label-column)"
            )
        if of_classes and any(e.pair is not None for e in data.examples):
            raise ValueError(f"{data.name} has pairs with classes, and the model has learned classes of single texts")
        notes = list(data.notes)
        if of_classes:
            own = [e for e in data.examples if e.label is not None]
            examples = pairs_of_classes(own, self.draws, SEED)
            notes.append(f"{len(own):,} texts of classes became {len(examples):,} pairs (seed {SEED})")
            alone = len(data.examples) - len(own)
            left = f"{alone:,} text{' without a class is' if alone == 1 else 's without a class are'} left out"
            notes += [left] * bool(alone)
        else:
            examples = [replace(e, pair=e.text) if e.pair is None and e.label is None else e for e in data.examples]
            alone = sum(e.pair is None and e.label is None for e in data.examples)
            notes += [f"{alone:,} texts without a second one are pairs with themselves (SimCSE)"] * bool(alone)
        self.scored = all(e.label is not None for e in examples)
        return replace(data, examples=examples, notes=notes, labels=())

    @property
    def page(self) -> str:
        return self.name if self.scored else f"{self.name} without scores"

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        self.loss, self.numbers = str(kept.get("loss", self.loss)), dict(kept.get("numbers", {}))
        self.head = vector_head(self.loss, **self.numbers)
        low, high = kept.get("range", self.range)
        self.range, self.prefix = (float(low), float(high)), str(kept.get("prefix", ""))
        self.draws, self.batch_size = int(kept.get("draws", 0)), int(kept.get("batch_size", self.batch_size))

    def kept(self) -> dict[str, Any]:
        names = ("loss", "numbers", "range", "draws", "prefix", "batch_size")
        return super().kept() | {name: getattr(self, name) for name in names}

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        low, high = self.range
        scores = {split: [(e.id, e.label) for e in data.examples if e.split == split] for split in splits}
        judged = [(id_, float(y)) for own in scores.values() for id_, y in own if y is not None]
        found = [self.head.of_scores.format(low=low, high=high)] if judged else []
        if outside := [id_ for id_, y in judged if not low <= y <= high]:
            found.append(f"{len(outside)} of {len(judged)} scores lie outside: that of {outside[0]} is the first")
        for split, own in scores.items():
            if own and own[0][1] is not None and len({y for _, y in own}) == 1:
                found.append(
                    f"all scores of {split} are {own[0][1]:g}: a correlation with them is not defined, and 0 here"
                    + ("; where it chooses the epoch, the lowest loss does" if split == "dev" else "")
                )
        twice = [e.id for e in data.examples if e.split in splits and e.label is not None and e.text == e.pair]
        if twice:
            where = f"{len(twice)} pair{'s' * (len(twice) > 1)}, whose cosine is always 1 ({twice[0]} is the first)"
            found.append(f"the same text stands twice in {where}")
        if self.prefix:
            found.append(f"{self.prefix!r} is set before each text, as the model says")
        for split in [split for split in splits if split != "train" and self.scored]:
            n = len(scores[split])
            if 0 < n < FEW_TEXTS:
                found.append(f"{split} has only {n} pair{'s' * (n > 1)}: correlations with so few say little")
        if self.select == "last":
            found.append(f"{self.why_last}: the last epoch is kept, unless another is asked for (--select)")
        return found

    def fault(self, example: Example) -> str:
        if example.pair is None:
            return "has no second text: name their column (--pair-column), or give (text, second text)"
        if len(example.choices or ()) == self.parts - 2:
            return ""
        if self.parts == 2:
            return "has texts that are unlike it, and the model compares two: leave them out (--choice-columns)"
        return f"has {len(example.choices or ())} texts that are unlike it, and others {self.parts - 2}"

    def encode(self, tokenizer: Any, examples: Sequence[Example], **how: Any) -> EncodedBatch:
        """Each of n · P texts by itself, with the prefix."""
        texts = [text for e in examples for text in texts_of(e)]
        return tokenizer.encode_batch([self.prefix + text for text in texts], None, **how)

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """(n, 1 + P): the label from 0 to 1, NaN where there is none, and a number for each text, the same for the same
        one."""
        low, high = self.range
        numbers: dict[str, int] = {}
        rows = []
        for e in examples:
            label = np.nan if e.label is None else (float(e.label) - low) / (high - low)
            rows.append([label, *(numbers.setdefault(text, len(numbers)) for text in texts_of(e))])
        return np.array(rows, dtype=np.float32).reshape(len(examples), -1)

    def vectors(self, logits: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(logits, dtype=np.float32)).unflatten(1, (self.parts, -1))  # (n, P, H)

    def answers(self, logits: np.ndarray) -> list[float]:
        """Six digits of them, as many as fp32 has."""
        return [float(f"{number:.6g}") for number in self.similarities(logits).tolist()]

    def similarities(self, logits: np.ndarray) -> np.ndarray:
        low, high = self.range
        return low + (high - low) * self.head(0, self.parts).alike(self.vectors(logits)).double().numpy()

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The loss, of batches as in training; and where there are scores, the correlations of the similarities with
        them, and, of losses by which the similarity itself is learned, their mean distance (MAE), and where no score is
        0, that as a share of the score (MAPE, in percent).

        Without scores: how often a text's own pair is the nearest of all pairs of the split (accuracy), the mean of
        1 / its rank (MRR), of texts that have a rival (0 where none has), neither for texts that are their own pairs,
        and the uniformity of the texts' vectors: log of the mean of exp(−2 d²) over all twos of them, the lower the
        better (Wang and Isola 2020, arXiv:2005.10242, equation 2).
        """
        from scipy.stats import rankdata  # takes a second, which predictions would wait for too

        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        head, (low, high) = self.head(0, self.parts).eval(), self.range
        scored = not np.isnan(targets[:, 0]).any()
        found = {}
        if scored or self.loss == "ranking":
            rows, wanted = torch.from_numpy(np.asarray(logits, dtype=np.float32)), torch.from_numpy(targets)
            blocks = zip(rows.split(self.batch_size), wanted.split(self.batch_size), strict=True)
            found["loss"] = float(torch.cat([head.loss(own, gold) for own, gold in blocks]).double().mean())
        if not scored:
            found |= retrieval(self.vectors(logits), torch.from_numpy(targets[:, 1:]))
            alone = (targets[:, 1] == targets[:, 2]).all()
            return {name: value for name, value in found.items() if not (alone and name in ("accuracy", "mrr"))}
        told, gold = self.similarities(logits), low + (high - low) * targets[:, 0].astype(np.float64)
        found |= {"pearson": pearson(told, gold), "spearman": pearson(rankdata(told), rankdata(gold))}
        if head.calibrated:
            away = np.abs(told - gold)
            found["mae"] = float(away.mean())
            if np.abs(gold).min() > 1e-6:
                found["mape"] = float(100 * (away / np.abs(gold)).mean())
        return found


def check_scale(name: str, scores: Sequence[float], low: float, high: float, different: int) -> None:
    """ValueError where scores to learn from are too few different ones, or most of them do not lie on the scale."""
    if len(set(scores)) < (different if low < high else 2):
        raise ValueError(
            f"all scores of {name} to learn from are {scores[0]:g}: give others too, or, for the loss cosine or "
            f"angular, {ASKED}"
        )
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"the scale goes from {low:g} to {high:g}: give two finite scores, the lower one first")
    outside = sum(not low <= score <= high for score in scores)
    if 2 * outside > len(scores):
        raise ValueError(
            f"{outside} of {len(scores)} scores of {name} lie outside the scale from {low:g} to {high:g}: give {ASKED}"
        )


def texts_of(example: Example) -> list[str]:
    return [example.text, example.pair or "", *(example.choices or ())]


def retrieval(vectors: torch.Tensor, numbers: torch.Tensor) -> dict[str, float]:
    """Accuracy, MRR and uniformity from (n, P, H) vectors and (n, P) numbers of their texts."""
    unit, n = torch.nn.functional.normalize(vectors, dim=-1), len(vectors)
    ranks, contested, spread = [], [], 0.0
    for start in range(0, n, BLOCK):
        own = unit[start : start + BLOCK, 0]
        cosines = own @ unit[:, 1].T  # (B, n)
        rivals = ~no_rivals(numbers[start : start + BLOCK, :2], numbers[:, :2])
        contested.append(rivals.any(dim=1))
        ranks.append(1 + ((cosines >= cosines.diagonal(start)[:, None]) & rivals).sum(dim=1))
        spread += float((-2 * (2 - 2 * own @ unit[:, 0].T)).exp().double().sum())
    rank = torch.cat(ranks).double()[torch.cat(contested)]
    found = {"accuracy": 0.0, "mrr": 0.0}
    if len(rank):
        found = {"accuracy": float((rank == 1).double().mean()), "mrr": float((1 / rank).mean())}
    return found | {"uniformity": float(np.log(max(spread - n, 1e-300) / (n * (n - 1)))) if n > 1 else 0.0}
