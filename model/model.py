"""An encoder with a head: what is trained, what predicts, and what regularizers are given.

Letters: B sequences, T tokens in the packed batch, M of them masked, S tokens of the longest sequence, H hidden size,
V vocabulary, C columns of logits.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .attention import Attention
from .dropout import Dropout
from .heads import ClassHead, Head, WordHead
from .initialisation import initialise
from .packing import Output, Packed


class Model(nn.Module):
    """An encoder (`bert`), dropout, and a new head (`classifier`) of C logits, which `labels` name.

    reads: what the head is given of each sequence, by default what its class says (`Head.reads`).

    The encoder is an architecture's (bert.py is one): called as `encoder(packed, output_hidden_states,
    output_attentions, first_only)` it gives an Output, and it has `embeddings`, `layers`, a `pooler` or None, and a
    `config` with `hidden_size`, `hidden_dropout_prob`, `initializer_range` and `max_position_embeddings`, and with
    `first_position` where positions do not begin at 0.

    Raises:
        ValueError: there are fewer than two classes, or the head cannot read what it is told to.
    """

    def __init__(
        self, encoder: nn.Module, labels: Sequence[str], head: type[Head] = ClassHead, reads: str | None = None
    ) -> None:
        super().__init__()
        if len(labels) < 2 and issubclass(head, ClassHead):
            raise ValueError(f"a classifier needs at least two labels, not {list(labels)}")
        if "tokens" in (head.reads, reads or head.reads) and reads not in (None, head.reads):
            raise ValueError(f"a {head.__name__} reads {head.reads}, and not {reads}: leave out the pooling")
        if reads == "last" and reads != head.reads and head.use != "encode":
            raise ValueError("only sentence vectors are those of the last token: choose another pooling (first, mean)")
        self.bert: Any = encoder
        self.labels = tuple(labels)
        rate = getattr(self.config, "classifier_dropout", None)
        rate = self.config.hidden_dropout_prob if rate is None else rate
        self.dropout = Dropout(rate if head.drops else 0.0)
        self.classifier = head(self.config.hidden_size, len(labels))
        # Kept, since int8 puts another layer in the head's place.
        self.reads, self.head = reads or self.classifier.reads, head
        self.classifier.apply(lambda module: initialise(module, self.config.initializer_range))

    @property
    def config(self) -> Any:
        return self.bert.config

    @property
    def width(self) -> int:
        """How many logits there are."""
        return self.head.width(self.config.hidden_size, len(self.labels))

    def forward(self, packed: Packed, output_hidden_states: bool = False, output_attentions: bool = False) -> Output:
        first_only = self.reads == "first" and not output_hidden_states
        output = self.bert(packed, output_hidden_states, output_attentions, first_only)
        if first_only and output.pooled is None:
            output.pooled = output.hidden  # (B, H)
        vectors = vectors_of(output, packed, self.reads)  # (B, H), or (T, H) of all tokens
        if self.reads != "tokens":
            output.pooled = vectors
        output.logits = self.classifier(self.dropout(vectors))  # (B, H) -> (B, C)
        if self.reads == "tokens":
            output.logits = packed.padded(output.logits)  # (T, C) -> (B, S, C)
        return output

    def depths(self) -> dict[str, int]:
        """The depth of each parameter by its name: 0 in head and pooler, 1 in the top layer, L in the lowest, and
        L + 1 in the embeddings."""
        parts = [self.bert.embeddings, *self.bert.layers]  # from the bottom up
        deep = {id(p): len(parts) - i for i, part in enumerate(parts) for p in part.parameters()}
        return {name: deep.get(id(parameter), 0) for name, parameter in self.named_parameters()}


class MaskedLM(nn.Module):
    """An encoder that says which word stands at a token; with labels, also which class the sequence has.

    The classes are in the place of the paper's next-sentence prediction.
    """

    def __init__(self, encoder: nn.Module, labels: Sequence[str] = ()) -> None:
        super().__init__()
        self.bert: Any = encoder
        self.labels = tuple(labels)
        self.head = WordHead(self.config)
        self.classifier = nn.Linear(self.config.hidden_size, len(labels)) if labels else None
        if self.classifier:
            initialise(self.classifier, self.config.initializer_range)

    @property
    def config(self) -> Any:
        return self.bert.config

    def forward(
        self,
        packed: Packed,
        at: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Output:
        """Logits (M, V) of the tokens at (M,) places of the batch, or (T, V) without `at`; class logits (B, C)."""
        output = self.bert(packed, output_hidden_states, output_attentions)
        if self.classifier:
            output.class_logits = self.classifier(output.pooled)  # (B, H) -> (B, C)
        hidden = output.hidden if at is None else output.hidden[at]
        output.logits = self.head(hidden, self.bert.embeddings.word.weight)
        return output


def vectors_of(output: Output, packed: Packed, reads: str) -> Tensor:
    """What a head reads: (B, H), or of all tokens (T, H)."""
    hidden = output.hidden
    if reads == "first":
        return hidden[packed.first] if output.pooled is None else output.pooled
    if reads == "last":
        return hidden[packed.boundaries[1 : len(packed) + 1] - 1]
    if reads == "mean":
        return packed.sums(hidden) / packed.boundaries.diff()[: len(packed), None]
    assert reads == "tokens", reads
    return hidden


def most_tokens(model: Any) -> int:
    """How many tokens a text of an encoder, or of a model with one, may have: RoBERTa's first positions have none."""
    return model.config.max_position_embeddings - getattr(model.config, "first_position", 0)


def use_kernel(model: nn.Module, kernel: str) -> None:
    """Set attention's kernel (attention.py) in all layers of a model."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.kernel = kernel
