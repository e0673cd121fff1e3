"""What a fine-tuning run is told, and the two recipes."""

import math
from dataclasses import dataclass

from ..model.precision import PRECISIONS
from ..tokenize.encoding import TRUNCATIONS

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run besides model and data.

    The defaults are the recipe that we recommend. Devlin et al. 2019 (appendix A.3) search 2 to 4 epochs and rates of
    2e-5 to 5e-5; Mosbach et al. 2021 (arXiv:2006.04884) find fine-tuning stable with a small rate, a warm-up over a
    tenth of the steps and Adam's bias correction. Four epochs, because the course's own curves show validation loss
    lowest after the second and accuracy hardly rising after the fourth, while the model grows more and more
    over-confident; and the epoch with the best macro-F1 on the dev split is kept, because which one that is differs
    from seed to seed.
    """

    epochs: int = 4
    batch_size: int = 16  # texts in a micro-batch
    accumulate: int = 1  # micro-batches in a step
    lr: float = 3e-5  # for a model of BERT-base's width; see rate_for
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1  # of all steps; warmup_steps, where given, goes before
    warmup_steps: int | None = None
    max_grad_norm: float = 1.0
    max_length: int = 512  # tokens of a text; never more than the model has positions
    truncation: str = "longest_first"
    regularizers: tuple[str, ...] = ()  # as regularizers/shelf.py names them
    select: str = "best"  # epoch: best by the task's own score, best-NAME by another one, or last
    patience: int = 0  # stop after so many epochs without a better one; 0 never stops early
    precision: str = "auto"
    compile: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number above 0")
        for name in ("weight_decay", "patience", "warmup_steps", "seed"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be below 0")
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; it lies in [0, 1)")
        if self.select not in ("best", "last") and not self.select.startswith("best-"):
            raise ValueError(f"select {self.select!r} is not known; choose best, best-NAME (of a score) or last")
        choices_of = {
            "precision": ("auto", *PRECISIONS),
            "truncation": TRUNCATIONS,
        }
        for name, choices in choices_of.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not known; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class Pretraining:
    """Everything that decides the outcome of pretraining besides model and text.

    The defaults suit an encoder of a few million weights; larger ones want a smaller rate (BERT-base: 1e-4).
    """

    steps: int = 10_000
    batch_tokens: int = 4096  # in a step, or a passage more
    max_length: int = 128  # tokens of a sequence; a longer passage becomes several
    mask_rate: float = 0.15
    optimizer: str = "adamw"  # or muon, whose loss fell faster in the first steps from scratch
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_ratio: float = 0.06
    warmup_steps: int | None = None
    max_grad_norm: float = 1.0
    look_every: int = 250  # steps between two looks at the validation passages, each with a checkpoint
    precision: str = "auto"
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens", "look_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_length < 3:
            raise ValueError(f"max_length is {self.max_length}; [CLS], one token and [SEP] need 3")
        for name in ("lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number above 0")
        for name in ("weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be below 0")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is not known; choose one of {', '.join(OPTIMIZERS)}")
        if not 0 < self.mask_rate < 1 or not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"mask_rate {self.mask_rate} and warmup_ratio {self.warmup_ratio} are shares of 1")


def rate_for(hidden_size: int) -> float:
    """The default rate of a model of this width: `Settings.lr` suits a BERT-base of 768; narrower ones want more.

    Turc et al. 2019 (arXiv:1908.08962) fine-tune compact models with up to 3e-4. Of four rates tried, an earlier state
    of mini, of width 256, did best on JRTE's dev split at 5e-4, and badly at 1e-3 (weights/mini/README.md); the power
    joins the two widths, and nothing in between was measured.
    """
    return min(5e-4, Settings.lr * (768 / hidden_size) ** 2.5)


def regularizers_for(voted: bool) -> tuple[str, ...]:
    """The default recipe's regularizers: R-Drop, and the judges' votes as targets where the data has any.

    Both together did best of all that was tried on JRTE's dev split, in accuracy as in loss (docs/overfitting.md).
    R-Drop costs about 1.7 times the time; `--regularizer none` saves it.
    """
    return ("r-drop", "judge-votes") if voted else ("r-drop",)


RECIPES = {
    "default": Settings(),
    # The course's Level 2 as its library runs it: all other values are that library's defaults, fp32 among them.
    "course": Settings(
        epochs=10,
        batch_size=16,
        lr=5e-5,
        weight_decay=0.01,
        warmup_steps=500,
        max_length=128,
        select="last",
        precision="fp32",
    ),
}
