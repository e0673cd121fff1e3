"""The recipe of a Japanese textbook, task by task, and what it gives for tohoku v3: `--recipe textbook`.

Yamada et al. 2023, 大規模言語モデル入門 (Gijutsu-Hyoron), chapters 5 and 6. Its programs leave open what the Trainer
of `transformers` has by default: no weight decay, gradients clipped to 1.
"""

from typing import Any

import torch

from ..eval.tasks.task import Task
from .settings import Settings

RECIPE = Settings(epochs=3, batch_size=32, lr=2e-5, weight_decay=0.0, warmup_ratio=0.1)
CHANGES: dict[tuple[str, bool | None], dict[str, Any]] = {  # (task, whether in pairs) → what is different there
    ("classify", False): {"select": "best-accuracy"},
    ("classify", True): {"select": "best-accuracy", "max_length": 128},
    ("score", True): {"max_length": 128},
    ("choose", False): {"max_length": 64},
    ("tag", False): {"epochs": 5, "lr": 1e-4},
}  # fmt: skip

# For tohoku-nlp/bert-base-japanese-v3, each on the split by which it chose the epoch: how many texts that has, and the
# figures. Of WRIME's 2,500 it is not said how many are not neutral.
FIGURES: dict[str, tuple[int | None, dict[str, float]]] = {
    "wrime": (None, {"accuracy": 0.9415}),
    "marc-ja": (5654, {"accuracy": 0.9652}),
    "jnli": (2434, {"accuracy": 0.9088}),
    "jsts": (1457, {"pearson": 0.9151, "spearman": 0.8777}),
    "jcommonsenseqa": (1119, {"accuracy": 0.8400}),
}


def textbook(task: Task | None, device: torch.device) -> Settings:
    """The recipe with what it has for a task: in fp16 on a GPU, as the book, elsewhere in the fastest precision."""
    precision = "fp16" if device.type == "cuda" else "auto"
    return Settings(
        **vars(RECIPE) | {"precision": precision} | (CHANGES.get((task.name, task.pairs), {}) if task else {})
    )


def published_for(data: str, texts: int) -> str:
    """A sentence on what the book has for some data with so many texts in dev; empty where it has nothing."""
    if data not in FIGURES:
        return ""
    whole, scores = FIGURES[data]
    if texts != (whole or texts):
        return f"not compared: the book's figures are of the {whole:,} texts of dev, and here are {texts:,}"
    figures = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    return f"for comparison: on dev, as in the table of epochs, the book gives {figures} for tohoku v3"


def told(settings: Settings) -> str:
    """The settings that the book names, on a line."""
    steps = settings.warmup_steps
    warmup = f"{settings.warmup_ratio:.0%} of all steps" if steps is None else f"{steps} steps"
    return (
        f"{settings.epochs} epochs, batches of {settings.batch_size * settings.accumulate}, rate {settings.lr:g} "
        f"({settings.schedule}) after a warm-up of {warmup}, weight decay {settings.weight_decay:g}, at most "
        f"{settings.max_length} tokens, {settings.precision} precision, epoch kept: {settings.select}"
    )
