"""The registry of architectures, a row for each `model_type` of the hub's `config.json`.

Every key of a configuration that changes the computation is supported or refused by name; keys that are unknown here
are named in the load report.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import nn

from ..model.bert import Bert, BertConfig
from ..model.heads import ClassHead
from ..model.luke import LukeConfig
from ..model.model import MaskedLM, Model
from ..model.roberta import CamembertConfig, Roberta, RobertaConfig, XlmRobertaConfig
from .names import BERT, LUKE, ROBERTA, Names


@dataclass(frozen=True)
class Architecture:
    """One kind of encoder."""

    config: type[Any]  # a dataclass whose fields are called as in `config.json`
    encoder: Callable[[Any, bool], nn.Module]  # (config, whether there is a pooler) → encoder, see model/model.py
    names: Names
    classes: Mapping[str, str]  # what a model is for → the class in the hub's libraries that does the same
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # key → the only values that are computed
    written: Mapping[str, Any] = field(default_factory=dict)  # keys that a saved file has beside those of `config`


BERT_ONLY = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "pruned_heads": ({},),
}

BERT_WRITTEN = {"position_embedding_type": "absolute"}
# A saved file has no entities; of the least number of them the hub's libraries make no large table.
LUKE_WRITTEN = {"entity_vocab_size": 1, "entity_emb_size": 1, "use_entity_aware_attention": False}


def classes(name: str) -> dict[str, str]:
    """The names of the hub's classes for one architecture."""
    return {
        "encode": f"{name}Model",
        "classify": f"{name}ForSequenceClassification",
        "choose": f"{name}ForMultipleChoice",
        "tag": f"{name}ForTokenClassification",
        "span": f"{name}ForQuestionAnswering",
        "fill-mask": f"{name}ForMaskedLM",
    }


ARCHITECTURES = {
    "bert": Architecture(BertConfig, Bert, BERT, classes("Bert"), BERT_ONLY, BERT_WRITTEN),
    "roberta": Architecture(RobertaConfig, Roberta, ROBERTA, classes("Roberta"), BERT_ONLY, BERT_WRITTEN),
    "xlm-roberta": Architecture(XlmRobertaConfig, Roberta, ROBERTA, classes("XLMRoberta"), BERT_ONLY, BERT_WRITTEN),
    "camembert": Architecture(CamembertConfig, Roberta, ROBERTA, classes("Camembert"), BERT_ONLY, BERT_WRITTEN),
    "luke": Architecture(LukeConfig, Bert, LUKE, classes("Luke"), BERT_ONLY, LUKE_WRITTEN),
}
POOLING = "classifier_pooling"  # in `config.json`, where a head reads something else than its class says
# Read elsewhere, or without influence on the computation.
HARMLESS = {
    POOLING, "id2label", "label2id", "num_labels", "_num_labels", "problem_type", "model_type",
    "architectures", "bos_token_id", "chunk_size_feed_forward", "directionality", "dtype", "eos_token_id",
    "finetuning_task", "gradient_checkpointing", "language", "name", "output_attentions", "output_hidden_states",
    "output_past", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head",
    "pooler_type", "return_dict", "tezukuri", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version",
    "use_cache",
}  # fmt: skip


def read_config(settings: Mapping[str, Any]) -> tuple[Architecture, Any, list[str]]:
    """The settings of a `config.json` → the architecture, its configuration, and the keys that are unknown here.

    A file without `model_type` is a BERT's, as those from before 2020 have none.

    Raises:
        ValueError: a key asks for a computation that is not supported; the message names it.
    """
    kind = settings.get("model_type", "bert")
    row = ARCHITECTURES.get(str(kind))
    only = {"model_type": tuple(ARCHITECTURES), POOLING: ("first", "mean")} | (dict(row.only) if row else {})
    for key, values in only.items():
        if key in settings and settings[key] not in values:
            allowed = " or ".join(json.dumps(value) for value in values)
            raise ValueError(f"config.json: {key} is {json.dumps(settings[key])}; this BERT has only {allowed}")
    assert row is not None
    known = {field.name for field in fields(row.config)}
    passed = known | set(only) | set(row.written) | HARMLESS
    unknown = [key for key in settings if key not in passed and not key.startswith("_")]
    return row, row.config(**{key: value for key, value in settings.items() if key in known}), sorted(unknown)


def config_json(model: Any) -> dict[str, Any]:
    """The settings of a model as `config.json` has them."""
    kind, row = architecture_of(model)
    settings = asdict(model.config) | {"architectures": [row.classes[use_of(model)]], "model_type": kind}
    settings |= row.written
    labels = getattr(model, "labels", ())
    if labels:
        settings["id2label"] = {str(i): label for i, label in enumerate(labels)}
        settings["label2id"] = {label: i for i, label in enumerate(labels)}
    if isinstance(model, Model) and model.classifier.use == "classify" and not isinstance(model.classifier, ClassHead):
        settings["problem_type"] = model.classifier.problem_type
    if isinstance(model, Model) and model.reads != model.classifier.reads:
        settings[POOLING] = model.reads
    return settings


def use_of(model: Any) -> str:
    """What a model is for: `fill-mask`, `encode`, or what its head is for."""
    return model.classifier.use if isinstance(model, Model) else {MaskedLM: "fill-mask"}.get(type(model), "encode")


def architecture_of(model: Any) -> tuple[str, Architecture]:
    """The `model_type` of an encoder, or of a model with one, and its row; ValueError where there is none."""
    for kind, row in ARCHITECTURES.items():
        if row.config is type(model.config):
            return kind, row
    raise ValueError(f"no row of ARCHITECTURES has the configuration {type(model.config).__name__}: add one")
