"""The runs of one study: methods and a baseline, with the same seeds and the same dev and test texts, compared.

Letters: n texts of a split, S seeds, C classes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from ...weights.files import read_json
from ..runs import read_log, read_predictions
from ..statistics import ALPHA, PERCENTILES, RISE, drawn_class_scores

BASELINE = "baseline"
DRAWS = 10_000  # of the bootstrap, by default
MOST_DRAWS = 100_000
AT_ONCE = 500  # of them


@dataclass(frozen=True)
class Trial:
    """One finished run of finetune."""

    method: str
    lr: float
    seed: int
    epochs: list[dict[str, float]]  # of log.csv, from epoch 1
    metrics: dict[str, dict[str, Any]]  # by split
    gold: dict[str, list[str]]  # n labels by split (dev, test)
    predicted: dict[str, list[str]]
    labels: list[str]
    judged: str  # sha256 of the texts and labels of dev and test
    commit: str | None  # of the code

    @property
    def lowest(self) -> int:
        """The epoch of the lowest loss on the dev split."""
        return int(min(self.epochs, key=lambda row: row["dev_loss"])["epoch"])

    def right(self, split: str) -> np.ndarray:
        """(n,) whether each prediction is right."""
        return np.array(self.gold[split]) == np.array(self.predicted[split])

    def row(self) -> dict[str, Any]:
        """The row of `runs.csv`, with the scores of the dev split: shares of 1, losses in nats."""
        dev, last = self.metrics["dev"], self.epochs[-1]
        return {
            "method": self.method, "lr": self.lr, "seed": self.seed, "accuracy": dev["accuracy"],
            "last_accuracy": last["dev_accuracy"], "f1": dev["f1"], "loss": dev["loss"], "last_loss": last["dev_loss"],
            "ece": dev["ece"], "epochs": len(self.epochs), "lowest_loss_epoch": self.lowest,
            "gap": self.metrics["train"]["accuracy"] - dev["accuracy"],
            "seconds": sum(row["seconds"] for row in self.epochs),
        }  # fmt: skip


Variant = list[Trial]  # the S runs of a method at one learning rate, by seed


def read_run(folder: Path, method: str, seed: int) -> Trial:
    """From a run folder of `finetune --judge-train`."""
    gold, predicted, metrics, judged = {}, {}, {}, hashlib.sha256()
    for split, file_name in (("train", "train"), ("dev", "val"), ("test", "test")):
        if (folder / f"{file_name}-metrics.json").is_file():
            metrics[split] = read_json(folder / f"{file_name}-metrics.json")
        predictions = read_predictions(folder, split)
        if predictions is not None:
            judged.update(json.dumps([[split, p["id"], p["text"], p["label"]] for p in predictions]).encode())
            gold[split] = [p["label"] for p in predictions]
            predicted[split] = [p["predicted"] for p in predictions]
    config = read_json(folder / "config.json")
    lr, labels = config["settings"]["lr"], config["data"]["labels"]
    rows, sha256 = read_log(folder)[1:], judged.hexdigest()
    return Trial(method, lr, seed, rows, metrics, gold, predicted, labels, sha256, config.get("git"))


def variants(runs: Sequence[Trial]) -> list[Variant]:
    """The runs by method and learning rate, the baseline first, then by mean accuracy on dev.

    ValueError: the runs have different dev or test texts, or different seeds, or there is no baseline.
    """
    if len({run.judged for run in runs}) != 1:
        raise ValueError("the runs of this study are judged by different texts or labels: start another study")
    grouped: dict[tuple[str, float], Variant] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        grouped.setdefault((run.method, run.lr), []).append(run)
    seeds = {tuple(run.seed for run in variant) for variant in grouped.values()}
    if len(seeds) != 1:
        raise ValueError(f"the methods of this study have different seeds: {', '.join(map(str, sorted(seeds)))}")
    ordered = sorted(grouped.values(), key=lambda variant: -accuracy(variant))
    first = next((variant for variant in ordered if variant[0].method == BASELINE), None)
    if first is None:
        raise ValueError("the study has no run of the baseline to compare with")
    return [first, *(variant for variant in ordered if variant is not first)]


def with_all_seeds(runs: Sequence[Trial]) -> list[Trial]:
    """The runs with the seeds that every method has of those that have any; ValueError where there is none."""
    seeds: dict[tuple[str, float], set[int]] = {}
    for run in runs:
        seeds.setdefault((run.method, run.lr), set()).add(run.seed)
    shared = set.intersection(*seeds.values())
    if not shared:
        raise ValueError("no seed has a finished run of every method: leave out the method that fails")
    return [run for run in runs if run.seed in shared]


def accuracy(variant: Variant) -> float:
    """The mean accuracy on dev; what methods are chosen by."""
    return mean(run.metrics["dev"]["accuracy"] for run in variant)


def loss(variant: Variant) -> float:
    return mean(run.metrics["dev"]["loss"] for run in variant)


@dataclass(frozen=True)
class Difference:
    """A method's score less the baseline's."""

    mean: float
    low: float  # of the 95 % interval
    high: float
    p: float  # two-sided: twice the share of the draws on the other side of 0


def draws_for(comparisons: int) -> int:
    """DRAWS; or of many comparisons twice what it takes for a p, which is 2 / draws or more, to be below ALPHA by Holm,
    but no more than MOST_DRAWS."""
    return min(MOST_DRAWS, max(DRAWS, AT_ONCE * ceil(4 * comparisons / ALPHA / AT_ONCE)))


def differences(variant: Variant, baseline: Variant, split: str, draws: int = DRAWS) -> dict[str, Difference]:
    """Of accuracy and macro-F1, by a paired bootstrap over texts (Koehn 2004, "Statistical Significance Tests").

    A draw takes n of the n texts with repetition, and is scored for every run; means over the S seeds are compared, so
    that only texts vary. No p is below that of a sign test on the texts on which the methods differ.
    """
    gold, labels = np.array(variant[0].gold[split]), variant[0].labels
    predicted = [np.array([run.predicted[split] for run in runs]) for runs in (variant, baseline)]  # (S, n) each
    ours, theirs = (drawn_scores(gold, answers, labels, draws) for answers in predicted)
    apart = texts_apart(gold, *predicted)
    return {name: difference(ours[name], theirs[name], apart) for name in ours}


def drawn_scores(
    gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str], draws: int = DRAWS
) -> dict[str, np.ndarray]:
    """Accuracy and macro-F1, means over S runs, of the n texts as they are and then of each draw: (1 + draws,) each.

    gold: (n,) labels. predicted: (S, n) labels.
    """
    n = len(gold)
    parts = [
        drawn_class_scores(gold, predicted, labels, part.astype(np.float32))
        for part in [np.ones((1, n)), *drawn_texts(n, draws)]
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def texts_apart(gold: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> int:
    """On how many of n texts two sets of runs, (S, n) labels each, are not right equally often."""
    return int(np.sum((ours == gold).mean(axis=0) != (theirs == gold).mean(axis=0)))


def difference(ours: np.ndarray, theirs: np.ndarray, apart: int) -> Difference:
    """From the `drawn_scores` of two, which differ on so many texts."""
    whole = (ours - theirs).round(9)  # so that equal scores differ by 0
    low, high = np.quantile(whole[1:], PERCENTILES)
    tail = min(np.sum(whole[1:] <= 0), np.sum(whole[1:] >= 0))
    p = min(1.0, max(2.0 ** (1 - apart), 2 * (tail + 1) / len(whole)))  # + 1: the texts as they are count as a draw
    return Difference(float(whole[0]), float(low), float(high), float(p))


@lru_cache(maxsize=1)
def drawn_texts(n: int, draws: int) -> list[np.ndarray]:
    """How often each of n texts is in each draw, in parts of (AT_ONCE, n); more draws begin with the same ones."""
    random = np.random.default_rng(0)
    parts = []
    for _ in range(draws // AT_ONCE):
        chosen = random.integers(0, n, (AT_ONCE, n)) + n * np.arange(AT_ONCE)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=n * AT_ONCE).reshape(-1, n)
        parts.append(counts.astype(np.uint8))  # that a text is drawn 256 times does not happen
    return parts


@dataclass(frozen=True)
class Change:
    """The change on dev from the epoch of the lowest loss to the last one; means over the seeds."""

    loss: float
    accuracy: float
    ece: float
    accuracy_error: float  # standard errors over the seeds; infinite with one seed
    ece_error: float

    @property
    def verdict(self) -> str:
        if self.loss < RISE:
            return "no rise"
        if self.accuracy < -2 * self.accuracy_error:
            return "over-fitting"
        return "over-confidence" if self.accuracy >= 0 and self.ece > 2 * self.ece_error else "unclear"


def change_after_lowest(variant: Variant) -> Change:
    changes = []
    for run in variant:
        lowest, last = run.epochs[run.lowest - 1], run.epochs[-1]
        changes.append([last[f"dev_{name}"] - lowest[f"dev_{name}"] for name in ("loss", "accuracy", "ece")])
    losses, accuracies, eces = zip(*changes, strict=True)
    errors = [stdev(v) / len(v) ** 0.5 if len(v) > 1 else float("inf") for v in (accuracies, eces)]
    return Change(mean(losses), mean(accuracies), mean(eces), *errors)
