"""What a folder says of its sentence vectors, in the layout of `sentence-transformers`: pooling, length, prompts.

Reimers & Gurevych 2019, Sentence-BERT, arXiv:1908.10084, section 3. Files are read as versions 2 to 6 write them, and
written so that all of these read them. The classes that modules.json names are known by name here, and never imported.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import CheckpointError, parse_json, read_json

MODULES, POOLING, NORMALIZE = "modules.json", "1_Pooling/config.json", "2_Normalize/config.json"
ENCODER, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
OLDER = tuple(  # names of ENCODER in older folders, in the order in which they are looked for
    f"sentence_{kind}_config.json" for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
LAYOUT = (MODULES, POOLING, NORMALIZE, ENCODER, PROMPTS, *OLDER)
CHAIN = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}  # class → its folder, in this order
OLD = "pooling_mode_"  # versions 2 to 5 have a key for each pooling, version 6 has one for their name
POOLINGS = {
    "mean": ("mean", OLD + "mean_tokens"),
    "first": ("cls", OLD + "cls_token"),
    "last": ("lasttoken", OLD + "lasttoken"),
}
# File → keys, and what they must be where they are there; a key that is in none of these must be empty.
ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    POOLING: {"include_prompt": (True,)},
    NORMALIZE: {"module_input_name": ("sentence_embedding",), "module_output_name": ("sentence_embedding",)},
    ENCODER: {
        "do_lower_case": (False,),
        "transformer_task": ("feature-extraction",),
        "module_output_name": ("token_embeddings",),
        "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    },
    PROMPTS: {
        "model_type": ("SentenceTransformer",),
        "similarity_fn_name": ("cosine", "dot", "euclidean", "manhattan"),
    },
}
PASSED = {"word_embedding_dimension", "embedding_dimension", "__version__", "max_seq_length", "unpad_inputs"}
PASSED |= {"prompts", "default_prompt_name"}
CHOOSE = "choose another model"
log = logging.getLogger("tezukuri")


@dataclass(frozen=True)
class Vectors:
    """How the vector of a text comes about; ValueError for what cannot be.

    pooling: the `mean` of all tokens, or the `first` token, or the `last`.
    normalise: whether it has length 1.
    prompts: name → what stands before a text; `prompt` names that of a text for which nothing else is asked.
    max_length: tokens, the prompt's and the special ones counted; None for what the model can read.
    """

    pooling: str = "mean"
    normalise: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling {self.pooling!r} is not known; choose one of {', '.join(POOLINGS)}")
        for name, prompt in self.prompts.items():
            if not isinstance(prompt, str):
                raise ValueError(f"the prompt {name!r} is {prompt!r}; it must be a text")
        if self.max_length is not None and not (type(self.max_length) is int and self.max_length > 0):
            raise ValueError(f"the most tokens of a text are {self.max_length!r}; it must be a whole number above 0")
        self.before(None)

    def before(self, prompt: str | None) -> str:
        """What stands before a text: of the prompt of that name, "" for none, None for the default."""
        name = self.prompt if prompt is None else prompt
        if not name:
            return ""
        if name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise ValueError(f"there is no prompt {name!r}: the model's are {known}")
        return self.prompts[name]

    @property
    def described(self) -> str:
        """`the mean of all tokens, of length 1`."""
        read = "mean of all tokens" if self.pooling == "mean" else f"{self.pooling} token"
        return f"the {read}, {'of length 1' if self.normalise else 'of any length'}"


def read_vectors(folder: Path) -> Vectors | None:
    """What the folder of a model says; None where it has no modules.json.

    Raises:
        CheckpointError: a file is broken, or asks for what is not computed here; the message names it.
    """
    if not (folder / MODULES).is_file():
        return None
    normalise = has_normalize(folder / MODULES)
    settings = {name: settings_of(folder / name, name) for name in (POOLING, NORMALIZE, PROMPTS)}
    encoder = next((folder / name for name in (ENCODER, *OLDER) if (folder / name).is_file()), folder / ENCODER)
    settings[ENCODER] = settings_of(encoder, ENCODER)
    if not (folder / POOLING).is_file():
        raise CheckpointError(f"{folder / MODULES} names a pooling, but there is no {POOLING}: fetch it again")
    compared = settings[PROMPTS].get("similarity_fn_name") or "cosine"
    if compared != "cosine" and not normalise:
        log.warning("%s: vectors were learned to be compared by %s; here it is by cosine", folder / PROMPTS, compared)
    try:
        return Vectors(
            pooling_of(folder / POOLING, settings[POOLING]),
            normalise,
            {name: prompt or "" for name, prompt in (settings[PROMPTS].get("prompts") or {}).items()},
            settings[PROMPTS].get("default_prompt_name"),
            settings[ENCODER].get("max_seq_length"),
        )
    except CheckpointError:
        raise
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{folder}, {PROMPTS} or {encoder.name}: {error}") from error


def has_normalize(file: Path) -> bool:
    """Whether the modules end with Normalize; CheckpointError where they are others than those known here."""
    modules = parse_json(file)
    if not (isinstance(modules, list) and all(isinstance(module, dict) for module in modules)):
        raise CheckpointError(f"{file} holds no list of modules: fetch it again")
    for module, (known, path) in zip(modules, CHAIN.items(), strict=False):
        package, _, name = str(module.get("type")).rpartition(".")
        if not package.startswith("sentence_transformers.") or name != known or module.get("path") != path:
            told = f"{module.get('type')} in {json.dumps(module.get('path'))}"
            raise CheckpointError(f"{file}: in the place of a {known} in {json.dumps(path)} there is {told}; {CHOOSE}")
    if not 2 <= len(modules) <= len(CHAIN):
        told = f"beyond these there is {modules[-1].get('type')}" if len(modules) > 2 else "one of these lacks"
        raise CheckpointError(f"{file}: vectors are made by {', '.join(CHAIN)} here, and {told}; {CHOOSE}")
    return len(modules) == len(CHAIN)


def settings_of(file: Path, name: str) -> dict[str, Any]:
    """A file of the kind of `name`, empty where it lacks; CheckpointError for a value that is not computed here."""
    settings = read_json(file) if file.is_file() else {}
    for key, value in settings.items():
        allowed = ONLY[name].get(key)
        passed = key in PASSED or (name == POOLING and key.startswith(OLD.rstrip("_")))
        if value is not None and (value not in allowed if allowed else value and not passed):
            only = " or ".join(map(json.dumps, allowed)) if allowed else "nothing"
            raise CheckpointError(f"{file}: {key} is {json.dumps(value)}, where only {only} is computed here; {CHOOSE}")
    return settings


def pooling_of(file: Path, settings: Mapping[str, Any]) -> str:
    """The pooling that a 1_Pooling/config.json asks for; CheckpointError for one that is not computed here."""
    ours = {name: pooling for pooling, names in POOLINGS.items() for name in names}
    asked: Any = settings.get("pooling_mode", [key for key, on in settings.items() if key.startswith(OLD) and on])
    names = asked if isinstance(asked, list) else [asked]
    if not names:
        return "mean"
    if len(names) > 1 or names[0] not in ours:
        told = " and ".join(map(str, names))
        known = ", ".join(own for own, _ in POOLINGS.values())
        raise CheckpointError(f"{file}: the pooling is {told}, and computed here is {known} alone; {CHOOSE}")
    return ours[names[0]]


def write_vectors(folder: Path, vectors: Vectors) -> None:
    """Write it beside the `config.json` of an encoder, with the names that versions 2 to 6 know."""
    chain = list(CHAIN.items())[: 3 if vectors.normalise else 2]
    length = {} if vectors.max_length is None else {"max_seq_length": vectors.max_length}
    content: dict[str, Any] = {
        MODULES: [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (name, path) in enumerate(chain)
        ],
        POOLING: {"word_embedding_dimension": read_json(folder / "config.json")["hidden_size"]}
        | {key: name == vectors.pooling for name, (_, key) in POOLINGS.items()},
        ENCODER: {**length, "do_lower_case": False},
        PROMPTS: {"prompts": dict(vectors.prompts), "default_prompt_name": vectors.prompt},
    }
    for name, value in content.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
