"""tezukuri (手作り): a BERT for Japanese, written by hand in plain PyTorch.

The short names are imported when they are first used, so that `import tezukuri` and the tokenizer start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Classifier", "Encoder", "Plan", "Run", "TextAnswerer", "TextChooser", "TextClassifier",
    "TextMultilabelClassifier", "TextRegressor", "TextTagger", "__version__", "adapt", "evaluate", "finetune", "load",
]  # fmt: skip

if TYPE_CHECKING:
    from .eval.classifier import Classifier
    from .eval.encoder import Encoder
    from .train.adapt import adapt
    from .train.estimator import (
        TextAnswerer,
        TextChooser,
        TextClassifier,
        TextMultilabelClassifier,
        TextRegressor,
        TextTagger,
    )
    from .train.evaluation import evaluate
    from .train.finetune import finetune
    from .train.plan import Plan
    from .train.run import Run
    from .weights.load import load

PLACES = {
    "Classifier": "eval.classifier", "Encoder": "eval.encoder", "Plan": "train.plan", "Run": "train.run",
    "TextAnswerer": "train.estimator", "TextChooser": "train.estimator", "TextClassifier": "train.estimator",
    "TextMultilabelClassifier": "train.estimator", "TextRegressor": "train.estimator",
    "TextTagger": "train.estimator", "adapt": "train.adapt", "evaluate": "train.evaluation",
    "finetune": "train.finetune", "load": "weights.load",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(PLACES))}")
    return getattr(import_module(f".{PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
