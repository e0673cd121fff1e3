"""Tiny checkpoints on disk, made with the oracle's own classes, and a small Japanese vocabulary."""

from pathlib import Path

import torch
import transformers

from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of

TEXTS = [
    "駅から近くて便利でした。",
    "部屋が狭くて最悪でした。",
    "普通のホテルです。",
    "また来ます。日本の首都は東京である。",
]
TOKENIZER = JapaneseTokenizer(vocabulary_of(TEXTS, least=1))
SIZES = {
    "vocab_size": TOKENIZER.vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip


def oracle(kind: str, seed: int = 0, **changes) -> torch.nn.Module:
    """A random model of the oracle's class `kind`, in evaluation mode, its vectors away from 0 and 1."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(**(SIZES | changes), attn_implementation="eager")
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def checkpoint(folder: Path, kind: str, **changes) -> torch.nn.Module:
    """Save such a model with its tokenizer in the hub's layout; returns it."""
    model = oracle(kind, **changes)
    model.save_pretrained(folder)
    TOKENIZER.save(folder)
    return model


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
