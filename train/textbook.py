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

# For tohoku-nlp/bert-base-japanese-v3, each on the split by which it chose the epoch.
FIGURES = {
    "wrime": {"accuracy": 0.9415},
    "marc-ja": {"accuracy": 0.9652},
    "jnli": {"accuracy": 0.9088},
    "jsts": {"pearson": 0.9151, "spearman": 0.8777},
    "jcommonsenseqa": {"accuracy": 0.8400},
}


def textbook(task: Task | None, device: torch.device) -> Settings:
    """The recipe with what it has for a task: in fp16 on a GPU, as the book, elsewhere in the fastest precision."""
    precision = "fp16" if device.type == "cuda" else "auto"
    return Settings(
        **vars(RECIPE) | {"precision": precision} | (CHANGES.get((task.name, task.pairs), {}) if task else {})
    )


def published_for(data: str) -> str:
    """A sentence on what the book has for some data; empty where it has nothing."""
    figures = ", ".join(f"{name} {value:.4f}" for name, value in FIGURES.get(data, {}).items())
    return figures and f"for comparison: on dev, as in the table of epochs, the book gives {figures} for tohoku v3"
