"""One table of names: our modules and the tensors of BERT checkpoints on the hub.

Every known layout is first brought to one canonical form, that of `BertForPreTraining` in today's libraries
(`canonical`); the table then says which canonical tensors make up one of ours (`hub_names`). It is read in both
directions, for loading and for saving. The only tensors that differ in shape are the query, key and value matrices,
which this BERT keeps as one: three of (H, H) on disk, one of (3H, H) in memory.

Source of the names: google-research/bert `modeling.py` and the hub's `modeling_bert.py`.
"""

import re

from torch import Tensor

# our module → the canonical modules whose weights, one below the other, make it up; # is the number of a layer
MODULES = {
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
HEADS = ("bert.pooler.", "classifier.", "cls.predictions.")  # parts that a checkpoint may lack

# canonical tensors that no model of ours takes, and why
LEFT_OUT = {
    "bert.embeddings.position_ids": "a buffer: positions are counted here",
    "bert.embeddings.token_type_ids": "a buffer: segments come with the batch",
    "cls.predictions.decoder.weight": "tied to the word embeddings",
    "cls.predictions.decoder.bias": "the same as cls.predictions.bias",
    "cls.seq_relationship.": "the next-sentence head",
    "qa_outputs.": "a question-answering head",
}


def canonical(name: str) -> str:
    """A tensor's name in any known layout → its name in the canonical one.

    Old files call a normalisation's weight and bias gamma and beta; an encoder saved alone has no `bert.` in front.
    """
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return re.sub(r"^(?=(embeddings|encoder|pooler)\.)", "bert.", name)


def hub_names(ours: str) -> list[str]:
    """The canonical tensors that make up one of our parameters, such as `bert.layers.0.up.weight`.

    Raises:
        KeyError: no such parameter in the table.
    """
    module, leaf = ours.rsplit(".", 1)
    number = "".join(re.findall(r"(?<=\.layers\.)\d+", module))
    parts = MODULES[module.replace(f"layers.{number}.", "layers.#.") if number else module]
    return [f"{part.replace('#', number)}.{leaf}" for part in parts]


def to_hub(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters by our names → the same numbers by their canonical names and in the hub's shapes."""
    tensors: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        names = hub_names(ours)
        tensors |= dict(zip(names, tensor.chunk(len(names)), strict=True))  # (3H, H) -> 3 × (H, H)
    return tensors
