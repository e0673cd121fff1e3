"""A small BERT without pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.bert import Bert, BertConfig
from ..model.heads import ClassHead, Head
from ..model.model import Model, use_kernel
from ..tokenize.japanese import JapaneseTokenizer
from ..tokenize.kinds import tokenizer_of
from ..tokenize.tokenizer import Tokenizer
from ..tokenize.vocabulary import vocabulary_of
from ..weights.find import find
from ..weights.load import Loaded, LoadReport

SIZES: dict[str, Any] = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024,
}  # fmt: skip


def scratch(
    labels: Sequence[str],
    texts: Sequence[str],
    vocabulary: str | None,
    revision: str | None,
    changes: Mapping[str, Any],
    head: type[Head] = ClassHead,
    pooling: str | None = None,
    kernel: str = "auto",
) -> Loaded:
    """A new classifier and its tokenizer.

    Args:
        texts: of the training split, from which a vocabulary is made where `vocabulary` is None.
        vocabulary: folder or hub id of a tokenizer.
        revision: of that hub id.
        changes: fields of BertConfig to change.
    """
    tokenizer: Tokenizer
    if vocabulary is None:
        tokenizer, source = JapaneseTokenizer(vocabulary_of(texts)), "the training texts"
    else:
        files = find(vocabulary, revision, weights=False)
        tokenizer, source = tokenizer_of(files.folder), files.source
    config = BertConfig(**SIZES | {"vocab_size": tokenizer.vocab_size} | dict(changes))
    reads = pooling or head.reads
    model = Model(Bert(config, pooler=reads == "first" and head.use != "encode"), labels, head, reads)
    use_kernel(model, kernel)
    size = sum(parameter.numel() for parameter in model.parameters())
    report = LoadReport(f"a model of {size:,} parameters, its vocabulary that of {source}", notes=tokenizer.notes)
    return Loaded(model, tokenizer, report)
