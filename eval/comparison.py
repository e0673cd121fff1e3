"""Runs of one study, in which methods were tried with several seeds → what they differ in, and how surely.

A method's runs are compared with the baseline's on the same texts and seeds. eval/findings.py writes it down.

Letters: n texts of a split, S seeds, C classes.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ..model.config import read_json

BASELINE = "baseline"
DRAWS = 10_000  # of the bootstrap
SURE = 0.05  # a p below it is called a difference


@dataclass(frozen=True)
class Run:
    """One finished run of finetune."""

    method: str
    lr: float
    seed: int
    epochs: list[dict[str, float]]  # of log.csv, after the first
    metrics: dict[str, dict[str, Any]]  # split → its metrics, by the weights that were kept
    gold: dict[str, list[str]]  # split (dev, test) → n labels
    predicted: dict[str, list[str]]  # … and n predictions
    labels: list[str]
    data: str  # sha256 of texts, labels and splits

    @property
    def lowest(self) -> int:
        """The epoch of the lowest loss on the dev split."""
        return int(min(self.epochs, key=lambda row: row["dev_loss"])["epoch"])

    def right(self, split: str) -> np.ndarray:
        """(n,) whether each text was classified rightly."""
        return np.array(self.gold[split]) == np.array(self.predicted[split])

    def row(self) -> dict[str, Any]:
        """The run in a line of a table; scores are those of the dev split, shares of 1, losses in nats."""
        dev, last = self.metrics["dev"], self.epochs[-1]
        return {
            "method": self.method,
            "lr": self.lr,
            "seed": self.seed,
            "accuracy": dev["accuracy"],
            "last_accuracy": last["dev_accuracy"],
            "f1": dev["f1"],
            "loss": dev["loss"],
            "last_loss": last["dev_loss"],
            "ece": dev["ece"],
            "lowest_loss_epoch": self.lowest,
            "gap": self.metrics["train"]["accuracy"] - dev["accuracy"],
            "seconds": sum(row["seconds"] for row in self.epochs),
        }


Variant = list[Run]  # the S runs of one method at one learning rate, in the order of their seeds


def read_run(folder: Path, method: str, seed: int) -> Run:
    """A run folder of `finetune --judge-train`."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]
    gold, predicted, metrics = {}, {}, {}
    for split, file_name in (("train", "train"), ("dev", "val"), ("test", "test")):
        if (folder / f"{file_name}-metrics.json").is_file():
            metrics[split] = read_json(folder / f"{file_name}-metrics.json")
        if (folder / f"predictions-{split}.jsonl").is_file():
            lines = (folder / f"predictions-{split}.jsonl").read_text(encoding="utf-8").splitlines()
            examples = [json.loads(line) for line in lines]
            gold[split] = [example["label"] for example in examples]
            predicted[split] = [example["predicted"] for example in examples]
    told = read_json(folder / "config.json")
    return Run(
        method, told["settings"]["lr"], seed, rows[1:], metrics, gold, predicted, told["data"]["labels"],
        told["data"]["sha256"],
    )  # fmt: skip


def variants(runs: Sequence[Run]) -> list[Variant]:
    """Runs of one method and learning rate together, the baseline first, then by their mean accuracy on dev.

    Raises:
        ValueError: the runs are not of the same texts, or not with the same seeds.
    """
    if len({run.data for run in runs}) != 1:
        raise ValueError("the runs of this study saw different texts, labels or splits: start another study")
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


def accuracy(variant: Variant) -> float:
    """The mean on the dev split, over the seeds; what methods are chosen by."""
    return mean(run.metrics["dev"]["accuracy"] for run in variant)


@dataclass(frozen=True)
class Difference:
    """How much more a method has of a score than the baseline, and how sure that is."""

    mean: float
    low: float  # of the interval that holds 95 % of the draws
    high: float
    p: float  # two-sided: how often chance alone brings as much


def differences(variant: Variant, baseline: Variant, split: str) -> dict[str, Difference]:
    """In accuracy and macro-F1, by a paired bootstrap over texts (Koehn 2004, "Statistical Significance Tests").

    A draw takes n of the n texts, with repetition; on these every run of both methods is scored, and the means over
    the S seeds are compared. So seeds stay together and texts are what varies: what other seeds would bring is seen in
    the standard deviations, not here.
    """
    n = len(variant[0].gold[split])
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS)  # (draws, n)
    draws = np.vstack([np.ones((1, n)), draws])  # the first row: the texts as they are
    ours, theirs = (drawn_scores(runs, split, draws) for runs in (variant, baseline))
    found = {}
    for name in ours:
        apart = (ours[name] - theirs[name]).round(9)  # what is equal but for rounding is to be 0
        low, high = np.quantile(apart[1:], [0.025, 0.975])
        tail = min(np.sum(apart[1:] <= 0), np.sum(apart[1:] >= 0))
        p = min(1.0, 2 * (tail + 1) / (DRAWS + 1))  # never 0: the texts as they are count as a draw
        found[name] = Difference(float(apart[0]), float(low), float(high), float(p))
    return found


def drawn_scores(variant: Variant, split: str, draws: np.ndarray) -> dict[str, np.ndarray]:
    """How often each text was drawn (draws, n) → scores (draws,), the means over the seeds."""
    gold = np.array(variant[0].gold[split])
    accuracies, f1s = [], []
    for run in variant:
        predicted = np.array(run.predicted[split])
        accuracies.append(draws @ (predicted == gold) / len(gold))
        of_classes = []
        for label in run.labels:
            is_gold, is_predicted = gold == label, predicted == label
            hits, both = draws @ (is_gold & is_predicted), draws @ (is_gold.astype(float) + is_predicted)
            of_classes.append(np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0))
        f1s.append(np.mean(of_classes, axis=0))
    return {"accuracy": np.mean(accuracies, axis=0), "f1": np.mean(f1s, axis=0)}


def holm(ps: Sequence[float]) -> list[float]:
    """p of several comparisons → corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = highest
    return corrected


def mcnemar(run: Run, other: Run, split: str) -> float:
    """The exact test of McNemar 1947: of the texts that only one of two runs has right, is it often the same one?"""
    ours, theirs = run.right(split), other.right(split)
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


@dataclass(frozen=True)
class Fate:
    """What happens on the dev split from the epoch of the lowest loss to the last one; means over the seeds."""

    loss: float
    accuracy: float
    error: float  # standard error of `accuracy` over the seeds; nan with one seed
    ece: float

    @property
    def verdict(self) -> str:
        if self.loss < 0.01:
            return "the loss hardly rises"
        if self.accuracy < -2 * self.error:
            return "over-fitting"
        if self.ece <= 0:
            return "not clear"
        return "over-confidence" if self.accuracy >= 0 else "over-confidence, or a little over-fitting"


def fate(variant: Variant) -> Fate:
    changes = []
    for run in variant:
        lowest, last = run.epochs[run.lowest - 1], run.epochs[-1]
        changes.append([last[f"dev_{name}"] - lowest[f"dev_{name}"] for name in ("loss", "accuracy", "ece")])
    loss, right, ece = zip(*changes, strict=True)
    error = stdev(right) / len(right) ** 0.5 if len(right) > 1 else float("nan")
    return Fate(mean(loss), mean(right), error, mean(ece))
