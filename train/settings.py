"""The settings of fine-tuning and pretraining, and the recipes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model.precision import PRECISIONS
from ..tokenize.encoding import TRUNCATIONS

STOP_BY = ("dev", "train-loss")
SCHEDULES = ("linear", "constant")
OPTIMIZERS = ("adamw", "muon")


def check_numbers(settings: Any, positive: Sequence[str], not_negative: Sequence[str] = ()) -> None:
    """Raise ValueError for fields of whole numbers below 1 or 0, and for those that all settings have."""
    for name in positive:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must be at least 1")
    for name in ("lr", "max_grad_norm"):
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must be a number above 0")
    for name in ("weight_decay", *not_negative, "seed"):
        if not 0 <= (getattr(settings, name) or 0) < math.inf:
            raise ValueError(f"{name} is {getattr(settings, name)}; it cannot be below 0")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run besides model and data.

    The defaults are the recommended recipe: epochs and rate as in Devlin et al. 2019 (appendix A.3), a warm-up over a
    tenth of the steps as in Mosbach et al. 2021 (arXiv:2006.04884). There also more epochs for few texts, which
    `enough_epochs` gives to a new head.
    """

    epochs: int = 3  # the figures of mini are with 4
    batch_size: int = 16  # texts in a micro-batch
    accumulate: int = 1  # micro-batches in a step
    lr: float = 3e-5  # for a model of BERT-base's width; see rate_for
    weight_decay: float = 0.01
    decay_all: bool = False  # also biases and normalisations
    warmup_ratio: float = 0.1  # of all steps; warmup_steps, where given, has priority
    warmup_steps: int | None = None
    schedule: str = "linear"  # after the warm-up the rate falls to 0, or is constant
    max_grad_norm: float = 1.0
    max_length: int = 512  # tokens of a text; never more than the model has positions
    truncation: str = "longest_first"
    regularizers: tuple[str, ...] = ()  # as regularizers/shelf.py names them
    select: str = "best"  # epoch: best by the task's own score, best-NAME by another one, or last
    patience: int = 0  # stop after so many epochs without a better one; 0 never stops early
    stop_by: str = "dev"  # what patience looks at: dev, by what epochs are chosen by, or train-loss
    least_change: float = 0.0  # of the loss of training, in a better epoch (stop_by train-loss)
    precision: str = "auto"
    compile: bool = False
    graphs: bool = False
    beta2: float = 0.999  # of Adam
    epsilon: float = 1e-8  # likewise
    seed: int = 42

    def __post_init__(self) -> None:
        not_negative = ("patience", "warmup_steps", "least_change", "epsilon")
        check_numbers(self, ("epochs", "batch_size", "accumulate", "max_length"), not_negative)
        if self.stop_by == "train-loss" and not self.patience:
            raise ValueError(
                "to stop by the loss of training, say after how many epochs without a better one: patience"
            )
        if self.least_change and self.stop_by != "train-loss":
            raise ValueError("least_change is of the loss of training: give stop_by train-loss too")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2 is {self.beta2}; it lies in [0, 1)")
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; it lies in [0, 1)")
        if self.select not in ("best", "last") and not self.select.startswith("best-"):
            raise ValueError(f"select {self.select!r} is not known; choose best, best-NAME (of a score) or last")
        for name, choices in (
            ("precision", ("auto", *PRECISIONS)),
            ("truncation", TRUNCATIONS),
            ("stop_by", STOP_BY),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not known; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class Pretraining:
    """Everything that decides the outcome of pretraining besides model and text.

    The defaults are for an encoder of a few million weights; larger ones need a smaller rate (BERT-base: 1e-4).
    """

    steps: int = 10_000
    batch_tokens: int = 4096  # in a step, or a passage more
    max_length: int = 128  # tokens of a sequence; a longer passage becomes several
    mask_rate: float = 0.15
    optimizer: str = "adamw"  # or muon
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_ratio: float = 0.06
    warmup_steps: int | None = None
    max_grad_norm: float = 1.0
    look_every: int = 250  # steps between two evaluations, each with a checkpoint
    precision: str = "auto"
    seed: int = 42

    def __post_init__(self) -> None:
        check_numbers(self, ("steps", "batch_tokens", "look_every"))
        if self.max_length < 3:
            raise ValueError(f"max_length is {self.max_length}; [CLS], one token and [SEP] need 3")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is not known; choose one of {', '.join(OPTIMIZERS)}")
        if not 0 < self.mask_rate < 1 or not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"mask_rate {self.mask_rate} and warmup_ratio {self.warmup_ratio} are shares of 1")


RATES = {128: 5e-4, 256: Settings.lr * 3**2.5, 384: 1.2e-4, 768: Settings.lr}  # width → rate

# What that is multiplied with by a method. setfit: 2e-5 for small, the best of three on JRTE's dev split, by the mean
# macro-F1 with 8 and with 32 texts a class, three draws each: .660 at 2e-5, .652 at 5e-5, .642 at 1.2e-4.
METHOD_RATES = {"setfit": 1 / 6}


LEAST_STEPS = 300  # of a head that is new


def enough_epochs(settings: Settings, n: int, least: int) -> int:
    """The epochs of the settings, or, where n texts are few, as many as make `least` steps.

    Mosbach et al. 2021 (arXiv:2006.04884, section 6) fine-tune on few texts for 20 epochs. What fewer steps cost, above
    all where classes are many, is in docs/few-shot.md.
    """
    steps = math.ceil(n / (settings.batch_size * settings.accumulate)) or least
    return max(settings.epochs, math.ceil(least / steps))


def rate_for(hidden_size: int) -> float:
    """The default rate for a model's width, from those of mini and small, the best on JRTE's dev split (their cards),
    and of BERT-base: between them on a straight line of the logarithms, above them on a power law, below them the same.
    Nothing else was measured.
    """
    if hidden_size in RATES:
        return RATES[hidden_size]
    if hidden_size > 768:
        return Settings.lr * (768 / hidden_size) ** 2.5
    widths, rates = np.log(list(RATES)), np.log(list(RATES.values()))
    return math.exp(np.interp(math.log(hidden_size), widths, rates))


def regularizers_for(voted: bool, r_drop: bool = True) -> tuple[str, ...]:
    """The default recipe's regularizers: R-Drop, and the judges' votes as targets where the data has any.

    They were the best on JRTE's dev split (docs/overfitting.md). R-Drop takes about 1.7 times as long.
    """
    return (*(["r-drop"] * r_drop), *(["judge-votes"] * voted))


RECIPES = {
    "default": Settings(),
    # The course's Level 2, with its library's defaults for all that it leaves open.
    "course": Settings(
        epochs=10, batch_size=16, lr=5e-5, weight_decay=0.01, warmup_steps=500, max_length=128, select="last",
        precision="fp32",
    ),
    # A tutorial that adapts a sentence encoder to job titles, with Keras; its loss is the task's option loss=angular.
    "siamese-tutorial": Settings(
        epochs=20, batch_size=8, lr=1e-5, weight_decay=0.0, warmup_steps=0, schedule="constant", beta2=0.9999,
        epsilon=1e-7, select="last", patience=3, stop_by="train-loss", least_change=0.001,
    ),
    # A tutorial that classifies the livedoor news (hppRC's bert-classification-tutorial): its warm-up takes 2 epochs,
    # it keeps the best epoch by macro-F1 on dev, and does not clip gradients.
    "hpprc": Settings(
        epochs=20, batch_size=16, lr=2e-5, weight_decay=0.01, warmup_ratio=0.1, max_grad_norm=1e9, max_length=512,
        truncation="only_second",
    ),
}  # fmt: skip


def deviation(recipe: str, settings: Settings) -> str:
    """A sentence on what is otherwise than in the recipe's source, on purpose; empty where nothing is."""
    if recipe != "hpprc" or settings.decay_all or not settings.weight_decay:
        return ""
    return "weight decay on matrices alone; the tutorial's code, by mistake, has it on everything (--decay-all)"
