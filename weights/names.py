"""Our parameters and the tensors of checkpoints on the hub: a table of names for each architecture.

Every known layout is first brought to a canonical one, for BERT that of `BertForPreTraining`; the table says which
canonical tensors make up one of ours, for loading and for saving. Only queries, keys and values differ in shape: three
matrices (H, H) on disk, one of (3H, H) in memory.

Source of the names: google-research/bert `modeling.py` and the hub's `modeling_bert.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

WRAPPERS = ("module", "_orig_mod", "model")  # put before names by torch's parallel and compiled models, and by trainers


@dataclass(frozen=True)
class Names:
    """The names of one architecture's tensors on the hub.

    modules: our module → the canonical modules whose weights, one below the other, make it up; # is a layer's number.
    heads: what a model is loaded for → the prefix of tensors that a checkpoint may lack; for `encode` the pooler's.
    left_out: prefixes of canonical tensors that no model of ours has, and why.
    tied: canonical tensors that must equal another, which we keep once.
    old: patterns of other layouts → their replacement in the canonical one.
    sizes: field of the configuration → the canonical tensor and its dimension that have this size.
    """

    modules: Mapping[str, Sequence[str]]
    heads: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    old: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def unwrapped(self, name: str) -> tuple[str, str]:
        """The wrappers' part of a checkpoint's name (`module._orig_mod.`, mostly empty), and the rest."""
        own = {part.split(".")[0] for parts in self.modules.values() for part in parts}
        rest = name
        while (first := rest.split(".")[0]) in WRAPPERS and first not in own:
            rest = rest[len(first) + 1 :]
        return name[: len(name) - len(rest)], rest

    def layers(self, names: Iterable[str]) -> int:
        """How many layers have tensors among these canonical names."""
        starts = {part.split("#")[0] for parts in self.modules.values() for part in parts if "#" in part}
        numbered = re.compile("|".join(re.escape(start) + r"(\d+)\." for start in starts) or "$.")
        return len({found[found.lastindex or 0] for found in map(numbered.match, names) if found})

    def canonical(self, name: str) -> str:
        """A name in any known layout → the canonical one."""
        for pattern, replacement in self.old.items():
            name = re.sub(pattern, replacement, name)
        return name

    def on_hub(self, ours: str) -> list[str]:
        """The canonical tensors that make up one of our parameters, such as `bert.layers.0.up.weight`, or KeyError."""
        module, leaf = ours.rsplit(".", 1)
        number = "".join(re.findall(r"(?<=\.layers\.)\d+", module))
        if module.startswith("classifier.") and module not in self.modules:
            return [self.heads["classify"] + ours.removeprefix("classifier.")]  # a user's head
        parts = self.modules[module.replace(f"layers.{number}.", "layers.#.") if number else module]
        return [f"{part.replace('#', number)}.{leaf}" for part in parts]

    def to_hub(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our parameters by our names → tensors by canonical names, in the hub's shapes."""
        tensors: dict[str, Tensor] = {}
        for ours, tensor in state.items():
            names = self.on_hub(ours)
            tensors |= dict(zip(names, tensor.chunk(len(names)), strict=True))  # (3H, H) -> 3 × (H, H)
        return tensors


BERT_MODULES = {
    "bert.embeddings.word": ["bert.embeddings.word_embeddings"],
    "bert.embeddings.position": ["bert.embeddings.position_embeddings"],
    "bert.embeddings.segment": ["bert.embeddings.token_type_embeddings"],
    "bert.embeddings.norm": ["bert.embeddings.LayerNorm"],
    "bert.layers.#.attention.qkv": [
        "bert.encoder.layer.#.attention.self.query",
        "bert.encoder.layer.#.attention.self.key",
        "bert.encoder.layer.#.attention.self.value",
    ],
    "bert.layers.#.attention.output": ["bert.encoder.layer.#.attention.output.dense"],
    "bert.layers.#.attention_norm": ["bert.encoder.layer.#.attention.output.LayerNorm"],
    "bert.layers.#.up": ["bert.encoder.layer.#.intermediate.dense"],
    "bert.layers.#.down": ["bert.encoder.layer.#.output.dense"],
    "bert.layers.#.norm": ["bert.encoder.layer.#.output.LayerNorm"],
    "bert.pooler.dense": ["bert.pooler.dense"],
    "classifier": ["classifier"],
    "head.dense": ["cls.predictions.transform.dense"],
    "head.norm": ["cls.predictions.transform.LayerNorm"],
    "head": ["cls.predictions"],
}
BERT_LEFT_OUT = {
    "bert.embeddings.position_ids": "a buffer: positions are counted here",
    "bert.embeddings.token_type_ids": "a buffer: segments come with the batch",
    "cls.predictions.decoder.weight": "tied to the word embeddings",
    "cls.predictions.decoder.bias": "the same as cls.predictions.bias",
    "cls.seq_relationship.": "the next-sentence head",
    "qa_outputs.": "a question-answering head",
}
BERT = Names(
    modules=BERT_MODULES,
    heads={"encode": "bert.pooler.", "classify": "classifier.", "fill-mask": "cls.predictions."},
    left_out=BERT_LEFT_OUT,
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    # Old files call a normalisation's weight and bias gamma and beta; an encoder saved alone has no `bert.` in front.
    old={
        r"LayerNorm\.gamma$": "LayerNorm.weight",
        r"LayerNorm\.beta$": "LayerNorm.bias",
        r"^(?=(embeddings|encoder|pooler)\.)": "bert.",
    },
    sizes={
        "vocab_size": ("bert.embeddings.word_embeddings.weight", 0),
        "hidden_size": ("bert.embeddings.word_embeddings.weight", 1),
        "max_position_embeddings": ("bert.embeddings.position_embeddings.weight", 0),
        "type_vocab_size": ("bert.embeddings.token_type_embeddings.weight", 0),
        "intermediate_size": ("bert.encoder.layer.0.intermediate.dense.weight", 0),
    },
)
