"""Tiny random models and batches that several tests share."""

from types import SimpleNamespace

import torch

from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import MaskedLM, Model, use_kernel

LABELS = ("a", "b", "c")
TASK = Classify(LABELS)


def tiny(**changes) -> BertConfig:
    """A configuration small enough for any test, with weights so large that attention is far from uniform."""
    sizes = {
        "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 24, "initializer_range": 0.3,
    }  # fmt: skip
    return BertConfig(**(sizes | changes))


def classifier(labels=LABELS, kernel="auto", **changes) -> Model:
    """A random one of that size."""
    model = Model(Bert(tiny(**changes)), labels)
    use_kernel(model, kernel)
    return model


def masked(labels=(), pooler=False, **changes) -> MaskedLM:
    return MaskedLM(Bert(tiny(**changes), pooler=pooler or bool(labels)), labels)


def random_texts(config: BertConfig, lengths=(7, 2, 19, 1, 12), seed=0) -> list[SimpleNamespace]:
    """Encodings of random ids."""
    generator = torch.Generator().manual_seed(seed)
    return [
        SimpleNamespace(
            ids=torch.randint(1, config.vocab_size, (n,), generator=generator).numpy(),
            type_ids=torch.randint(config.type_vocab_size, (n,), generator=generator).sort().values.numpy(),
        )
        for n in lengths
    ]
