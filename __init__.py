"""tezukuri (手作り): a BERT for Japanese, written by hand in plain PyTorch.

The short names are imported when they are first used, so that `import tezukuri` and the tokenizer start without torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "load"]

if TYPE_CHECKING:
    from .eval.classifier import Classifier
    from .weights.load import load


def __getattr__(name: str) -> Any:
    if name == "load":
        from .weights.load import load

        return load
    if name == "Classifier":
        from .eval.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
