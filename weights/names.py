"""Our parameters and the tensors of checkpoints on the hub: a table of names for each architecture.

Every known layout is first brought to a canonical one, for BERT that of `BertForPreTraining`; the table says which
canonical tensors make up one of ours, for loading and for saving. Only queries, keys and values differ in shape: three
matrices (H, H) on disk, one of (3H, H) in memory.

Source of the names: google-research/bert `modeling.py`, and the hub's `modeling_bert.py`, `modeling_roberta.py` and
`modeling_luke.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

WRAPPERS = ("module", "_orig_mod", "model")  # put before names by torch's parallel and compiled models, and by trainers


@dataclass(frozen=True)
class Names:
    """The names of one architecture's tensors on the hub.

    modules: our module → the canonical modules whose weights, one below the other, make it up; # is a layer's number.
    heads: what a model is loaded for → the prefix of tensors that a checkpoint may lack; for `encode` the pooler's.
    in_use: what a model is for → those of `modules` that are other ones in it.
    left_out: patterns of how canonical tensors begin that no model of ours has, and why.
    tied: canonical tensors that must equal another, which we keep once.
    copied: those of `tied` that the hub's libraries do not tie, so that a file must have them.
    old: patterns of other layouts → their replacement in the canonical one.
    sizes: field of the configuration → the canonical tensor and its dimension that have this size.
    """

    modules: Mapping[str, Sequence[str]]
    heads: Mapping[str, str]
    in_use: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    copied: Sequence[str] = ()
    old: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def of(self, use: str) -> "Names":
        """The names in a model for `encode`, `fill-mask`, or what its head is for."""
        return replace(self, modules={**self.modules, **self.in_use.get(use, {})})

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
            return [f"{self.modules['classifier'][0]}.{ours.removeprefix('classifier.')}"]  # a user's head
        parts = self.modules[module.replace(f"layers.{number}.", "layers.#.") if number else module]
        return [f"{part.replace('#', number)}.{leaf}" for part in parts]

    def to_hub(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our parameters by our names → tensors by canonical names, in the hub's shapes."""
        tensors: dict[str, Tensor] = {}
        for ours, tensor in state.items():
            names = self.on_hub(ours)
            tensors |= dict(zip(names, tensor.chunk(len(names)), strict=True))  # (3H, H) -> 3 × (H, H)
        if any(name.startswith(self.heads.get("fill-mask", " ")) for name in tensors):
            tensors |= {name: tensors[self.tied[name]].clone() for name in self.copied}
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
    "cls.predictions.decoder.bias": "the same as the bias beside it",
    "cls.seq_relationship.": "the next-sentence head",
    "qa_outputs.": "a question-answering head",
}
BERT = Names(
    modules=BERT_MODULES,
    heads={
        "encode": "bert.pooler.",
        "classify": "classifier.",
        "choose": "classifier.",
        "tag": "classifier.",
        "span": "qa_outputs.",
        "fill-mask": "cls.predictions.",
    },
    in_use={"span": {"classifier": ["qa_outputs"]}},
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


def renamed(names: Names, change: Callable[[str], str]) -> Names:
    """The same table with `change` made to every name of the encoder, and of its pretraining, on the hub."""
    return Names(
        modules={ours: [change(part) for part in parts] for ours, parts in names.modules.items()},
        heads={use: change(prefix) for use, prefix in names.heads.items()},
        in_use=names.in_use,
        left_out={change(pattern): why for pattern, why in names.left_out.items()},
        tied={change(name): change(twin) for name, twin in names.tied.items()},
        old={pattern: change(replacement) for pattern, replacement in names.old.items()},
        sizes={size: (change(name), dimension) for size, (name, dimension) in names.sizes.items()},
    )


def like_bert(encoder: str) -> Names:
    """BERT's names with another one for the encoder, and RoBERTa's head for masked words."""

    def change(name: str) -> str:
        name = re.sub(r"^bert\.", f"{encoder}.", name)
        name = re.sub(r"^cls\.predictions\.transform\.LayerNorm", "lm_head.layer_norm", name)
        return re.sub(r"^cls\.predictions(\.transform)?", "lm_head", name)

    return renamed(BERT, change)


# The classifier is a linear map with tanh, as BERT's pooler is, and another; a pooler of the encoder is not used. A
# choice is told by one map of what that pooler gives, and tags by one map, as BERT's are.
ROBERTA = like_bert("roberta")
ROBERTA = replace(
    ROBERTA,
    modules={**ROBERTA.modules, "classifier": ["classifier.out_proj"]},
    in_use={
        **ROBERTA.in_use,
        "classify": {"bert.pooler.dense": ["classifier.dense"]},
        "choose": {"classifier": ["classifier"]},
        "tag": {"classifier": ["classifier"]},
    },
)
NO_ENTITIES = "of LUKE's entities: text alone is read here"
LUKE = like_bert("luke")
LUKE = replace(
    LUKE,
    left_out={
        **LUKE.left_out,
        "luke.entity_embeddings.": NO_ENTITIES,
        r"luke.encoder.layer.\d+.attention.self.(w2e|e2w|e2e)_query.": NO_ENTITIES,
        "entity_predictions.": NO_ENTITIES,
    },
    old={**LUKE.old, r"^(?=entity_embeddings\.)": "luke."},
    copied=["lm_head.decoder.weight", "lm_head.decoder.bias"],
)
