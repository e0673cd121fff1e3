"""The numbers that define one BERT, read from the hub's `config.json`.

Every key that changes what is computed is honoured here or refused by name; keys that are only book-keeping are passed
over, and keys that nobody here knows are handed to the load report instead of being accepted in silence.

Source: Devlin et al. 2019, "BERT" (arXiv:1810.04805), section 3; key names are those of the hub.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2)."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}

# A key that changes the computation, and the only values with which this BERT computes the same thing.
SUPPORTED = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "pruned_heads": ({},),
}
LABEL_KEYS = {
    "id2label",
    "label2id",
    "num_labels",
    "_num_labels",
    "problem_type",
}  # read in weights/, for classifiers only
SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip
# Book-keeping of the hub and of pretraining, and switches of the library that wrote the file.
HARMLESS = LABEL_KEYS | {
    "architectures", "bos_token_id", "chunk_size_feed_forward", "directionality", "dtype", "eos_token_id",
    "finetuning_task", "gradient_checkpointing", "language", "name", "output_attentions", "output_hidden_states",
    "output_past", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head",
    "pooler_type", "return_dict", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version", "use_cache",
}  # fmt: skip


@dataclass
class BertConfig:
    """Sizes and rates of one BERT; the defaults are BERT-base's.

    Raises:
        ValueError: for values that cannot be (heads that do not divide the hidden size, an unknown activation, a
            dropout outside [0, 1)).
    """

    vocab_size: int = 32768  # V
    hidden_size: int = 768  # H
    num_hidden_layers: int = 12  # L
    num_attention_heads: int = 12  # N; a head has D = H / N dimensions
    intermediate_size: int = 3072  # F
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1  # after the embeddings and after each sublayer
    attention_probs_dropout_prob: float = 0.1  # on the attention probabilities
    classifier_dropout: float | None = None  # on the pooled output; None means hidden_dropout_prob
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02  # standard deviation of new weights
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0  # kept for the saved file; a packed batch has no padding
    labels: tuple[str, ...] = ()  # names of the C classes, in the order of the head's rows
    attention_kernel: str = "auto"  # a matter of this machine, not of the checkpoint: see attention.py

    def __post_init__(self) -> None:
        for name in SIZES:
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} is {size!r}; it must be a whole number above 0")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} cannot be divided into {self.num_attention_heads} attention heads"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            rate = getattr(self, name)
            if rate is not None and not (isinstance(rate, int | float) and 0 <= rate < 1):
                raise ValueError(f"{name} is {rate!r}; a dropout rate lies in [0, 1)")

    @classmethod
    def from_hub(cls, settings: dict[str, Any]) -> tuple["BertConfig", list[str]]:
        """Read the settings of a `config.json`.

        A config without `model_type` is a BERT: files from before 2020 have none. Labels are not looked at.

        Returns:
            The configuration, and the names of keys that are unknown here and were passed over.

        Raises:
            ValueError: a key asks for a computation that this BERT does not do; the message names it.
        """
        for key, values in SUPPORTED.items():
            if key in settings and settings[key] not in values:
                allowed = " or ".join(json.dumps(value) for value in values)
                raise ValueError(f"config.json: {key} is {json.dumps(settings[key])}; this BERT has only {allowed}")
        known = {field.name for field in fields(cls)} - {"labels", "attention_kernel"}
        unknown = [k for k in settings if k not in known | set(SUPPORTED) | HARMLESS and not k.startswith("_")]
        return cls(**{key: value for key, value in settings.items() if key in known}), sorted(unknown)

    def to_hub(self, architecture: str) -> dict[str, Any]:
        """The settings as `config.json` has them, for a model of the class `architecture` of the hub's libraries."""
        settings = asdict(self)
        del settings["labels"], settings["attention_kernel"]
        settings |= {"architectures": [architecture], "model_type": "bert", "position_embedding_type": "absolute"}
        if self.labels:
            settings["id2label"] = {str(i): label for i, label in enumerate(self.labels)}
            settings["label2id"] = {label: i for i, label in enumerate(self.labels)}
        return settings
