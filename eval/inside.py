"""The trace of a text, or of a pair, through a model: words, tokens, activations of all stages, attention, answers.

Forward hooks keep the inputs and outputs of all modules in a single run of the model.

Letters: B sequences (one here), T tokens, S = T tokens of the longest sequence, H hidden size, N heads, D = H / N,
F feed-forward size, V vocabulary, C classes, L layers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..model.attention import pad
from ..model.model import MaskedLM, Model, most_tokens
from ..model.packing import Output, Packed, pack
from ..model.vectors import Cosine
from ..tokenize.encoding import Encoding, truncate
from ..tokenize.kinds import tokenizer_of
from ..tokenize.template import Template
from ..tokenize.tokenizer import Tokenizer, Word
from ..weights.files import CheckpointError, read_json
from ..weights.find import find
from ..weights.load import Loaded, load_ready_classifier, load_with_report
from ..weights.sentences import read_vectors
from .predict import NotFiniteError
from .tasks.table import task_of_model

PACKAGE = __name__.split(".")[0]
LIKELIEST = 5  # words for a token


@dataclass(frozen=True)
class Point:
    """Which tensor of a module to keep: its input ("in"), its output ("out"), or a part of that."""

    module: str
    side: str
    letters: str
    what: str


@dataclass(frozen=True)
class Stage:
    """A tensor of the trace."""

    group: str  # embeddings, layer 1, layer 2, …, classifier, word head
    what: str
    module: str  # whose input or output it is
    file: str  # of that module's code
    letters: str  # the shape in letters: (T, 3H)
    values: Tensor

    def of_token(self, token: int, head: int = 1) -> Tensor:
        """The values of one token, and of one head (from 1) where there are heads."""
        if self.values.ndim == 4:  # (B, N, S, D) or (B, N, S, S)
            return self.values[0, head - 1, token]
        return self.values[0 if self.letters.startswith("(B") else token]


@dataclass(frozen=True)
class Choice:
    name: str  # of a word, a class or a score
    logit: float
    probability: float | None  # None for a score, which is its logit


@dataclass(frozen=True)
class Answer:
    """The likeliest words for one token, or at [CLS] (or from the mean) all classes in their order."""

    token: int
    choices: list[Choice]


@dataclass(frozen=True)
class Read:
    """A text as the tokenizer reads it."""

    text: str
    normalised: str
    words: list[Word]


@dataclass(frozen=True)
class Tokens:
    """One text, or a pair, as tokens."""

    texts: list[Read]  # one or two
    encoding: Encoding
    origins: list[tuple[int, int] | None]  # of each token: which text, and which word of it; None for those added
    segments: int  # how many types of tokens there are


@dataclass(frozen=True)
class Trace:
    tokens: Tokens
    packed: Packed
    stages: list[Stage]
    output: Output
    answers: list[Answer]
    config: Any  # of the encoder
    labels: tuple[str, ...]
    reads: str = "first"  # what a classifier's head reads: the first token, or the mean of all

    @property
    def encoding(self) -> Encoding:
        return self.tokens.encoding

    @property
    def text(self) -> str:
        return self.tokens.texts[0].text

    @property
    def normalised(self) -> str:
        return self.tokens.texts[0].normalised

    @property
    def words(self) -> list[Word]:
        return self.tokens.texts[0].words

    @property
    def token(self) -> int:
        """The number of the first token with an answer, else of [CLS]."""
        return self.answers[0].token if self.answers else 0

    def attention(self, layer: int, head: int) -> Tensor:
        """(S, S), the attention of each token (row) to each (column) in one head of one layer, both counted from 1.

        Raises:
            ValueError: the model has no such layer or head.
        """
        sizes = self.config.num_hidden_layers, self.config.num_attention_heads
        for what, number, count in zip(("layer", "head"), (layer, head), sizes, strict=True):
            if not 1 <= number <= count:
                raise ValueError(f"there is no {what} {number}: this model has {what}s 1 to {count}")
        assert self.output.attentions is not None  # they were asked for
        return self.output.attentions[layer - 1][0, head - 1]


EMBEDDINGS = (
    Point("embeddings.word", "out", "(T, H)", "word vector"),
    Point("embeddings.position", "out", "(T, H)", "position vector"),
    Point("embeddings.segment", "out", "(T, H)", "segment vector"),
    Point("embeddings.norm", "in", "(T, H)", "sum of the three"),
    Point("embeddings.norm", "out", "(T, H)", "normalised"),
)
LAYER = (
    Point("attention.qkv", "out", "(T, 3H)", "queries, keys, values"),
    Point("attention.qkv", "queries", "(B, N, S, D)", "queries by head"),
    Point("attention.qkv", "keys", "(B, N, S, D)", "keys by head"),
    Point("attention.qkv", "values", "(B, N, S, D)", "values by head"),
    Point("attention", "probabilities", "(B, N, S, S)", "attention probabilities"),
    Point("attention.output", "in", "(T, H)", "mixed values, all heads"),
    Point("attention.output", "out", "(T, H)", "attention output"),
    Point("attention_norm", "in", "(T, H)", "added to the input"),
    Point("attention_norm", "out", "(T, H)", "normalised"),
    Point("up", "out", "(T, F)", "feed-forward, up"),
    Point("down", "in", "(T, F)", "after the activation"),
    Point("down", "out", "(T, H)", "feed-forward, down"),
    Point("norm", "in", "(T, H)", "added to its input"),
    Point("norm", "out", "(T, H)", "normalised: layer output"),
)
CLASSIFIER = (
    Point("bert.pooler.dense", "out", "(B, H)", "linear map of [CLS]"),
    Point("bert.pooler", "out", "(B, H)", "tanh: pooled"),
    Point("classifier", "out", "(B, C)", "logits"),
)
VECTOR = (Point("classifier", "out", "(B, H)", "pooled, of any length"),)
OF_THE_MEAN = (Point("classifier", "in", "(B, H)", "mean of all tokens"), CLASSIFIER[-1])
WORD_HEAD = (
    Point("head.dense", "out", "(T, H)", "linear map"),
    Point("head.norm", "in", "(T, H)", "after the activation"),
    Point("head.norm", "out", "(T, H)", "normalised"),
    Point("head", "out", "(T, V)", "logits"),
)


def load(name_or_folder: str, revision: str | None = None) -> Loaded:
    """A classifier or masked-language model where the checkpoint's config.json names one, else an encoder whose folder
    says how its sentence vectors are made.

    Raises:
        CheckpointError: the checkpoint cannot be had, or is none of them.
    """
    folder = find(name_or_folder, revision, vectors=True).folder
    named = " ".join(read_json(folder / "config.json").get("architectures") or [])
    if other := re.search(r"For(MultipleChoice|TokenClassification|QuestionAnswering)\b", named):
        raise CheckpointError(
            f"{name_or_folder} is for another task ({other[1]}), and shown are classifiers, scores, encoders of "
            "sentence vectors and models that guess words: --tokens shows what its tokenizer does"
        )
    if "ForSequenceClassification" in named:
        return load_ready_classifier(name_or_folder, revision=revision)
    vectors = None if "ForMaskedLM" in named else read_vectors(folder)
    if vectors is None:
        return load_with_report(name_or_folder, "fill-mask", revision=revision)
    loaded = load_with_report(name_or_folder, "classify", ("text",), revision=revision, head=Cosine)
    told = "an encoder, which answers nothing: its sentence vector is " + vectors.described
    prompts = ", ".join(f"{name} {before!r}" for name, before in vectors.prompts.items() if before)
    loaded.report.notes.append(told + (f"; no prompt is set before the text ({prompts})" if prompts else ""))
    return replace(loaded, task={})


def load_tokenizer(name_or_folder: str, revision: str | None = None) -> Tokenizer:
    """A model's tokenizer alone, with as many segments as the model has; CheckpointError where it cannot be had."""
    folder = find(name_or_folder, revision, weights=False).folder
    tokenizer, file = tokenizer_of(folder), folder / "config.json"
    if file.is_file() and read_json(file).get("type_vocab_size") == 1:
        tokenizer.template = replace(tokenizer.template, second_type=0)
    return tokenizer


@torch.inference_mode()
def trace(
    model: Model | MaskedLM,
    tokenizer: Tokenizer,
    text: str,
    how: Mapping[str, Any] | None = None,
    pair: str | None = None,
) -> Trace:
    """Run a model in evaluation mode on one text, or a pair, cut to its positions, or as `how` tells (`how_to_cut`).

    "[MASK]" and the like are special tokens for a masked-language model, plain text for a classifier.

    Raises:
        NotFiniteError: a logit is infinite or no number.
        ValueError: there is a pair, and the model is an encoder of sentence vectors.
    """
    if pair is not None and isinstance(model, Model) and model.head.use == "encode":
        raise ValueError(
            "an encoder of sentence vectors reads each text by itself: leave the pair out (`similarity` of "
            "tezukuri.Encoder compares two texts)"
        )
    how = {"max_length": most_tokens(model)} | dict(how or {})
    tokens = tokenize(tokenizer, text, pair, how, special=isinstance(model, MaskedLM))
    packed = pack([tokens.encoding])
    output, seen = capture(model, packed)
    assert output.logits is not None  # both kinds have a head
    if not output.logits.isfinite().all():
        raise NotFiniteError("the model's scores for this text are no finite numbers: its weights are broken")
    found = list(answers(model, tokenizer, tokens, output.logits))
    labels, reads = model.labels, "first"
    if isinstance(model, Model):
        labels, reads = labels if model.head.use != "encode" else (), model.reads
    return Trace(tokens, packed, list(stages(model, packed, seen)), output, found, model.config, labels, reads)


def tokenize(tokenizer: Tokenizer, text: str, pair: str | None, how: Mapping[str, Any], special: bool = True) -> Tokens:
    """One text, or a pair, as tokens, cut as `how` tells; `special`: "[MASK]" and the like are special tokens."""
    given = [text] if pair is None else [text, pair]
    texts = [Read(one, tokenizer.normalised(one, special), list(tokenizer.words(one, special))) for one in given]
    encoding = tokenizer.encode(text, pair, **how, special_tokens=special)
    # The places of the words are cut and joined as their tokens are.
    own = [[(t, w) for w, word in enumerate(read.words) for _ in word.pieces] for t, read in enumerate(texts)]
    limit, truncation = how.get("max_length"), how.get("truncation", "longest_first")
    added = tokenizer.template.added(pair is not None)
    first, second, _ = truncate(own[0], own[1] if pair is not None else None, limit, truncation, added)
    template: Template[Any] = tokenizer.template.map(lambda _: None)
    places = template.around(first, second)
    return Tokens(texts, encoding, places, 1 + tokenizer.template.second_type)


def capture(model: Model | MaskedLM, packed: Packed) -> tuple[Output, dict[str, tuple[Any, Any]]]:
    """Run the model; returns its output, and the first input and the output of each module by name."""
    seen: dict[str, tuple[Any, Any]] = {}

    def keep(name: str, module: nn.Module, inputs: tuple, output: Any) -> None:
        seen[name] = inputs[0], output

    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in model.named_modules()]
    try:
        return model(packed, output_hidden_states=True, output_attentions=True), seen
    finally:
        for hook in hooks:
            hook.remove()


def stages(model: Model | MaskedLM, packed: Packed, seen: dict[str, tuple[Any, Any]]) -> Iterator[Stage]:
    """The stages from embeddings to logits, with the tensors that `capture` has seen."""
    heads = model.config.num_attention_heads
    places: list[tuple[str, str, tuple[Point, ...]]] = [("embeddings", "bert.", EMBEDDINGS)]
    places += [(f"layer {n + 1}", f"bert.layers.{n}.", LAYER) for n in range(model.config.num_hidden_layers)]
    if isinstance(model, MaskedLM):
        places.append(("word head", "", WORD_HEAD))
    elif model.head.use == "encode":
        places.append(("sentence vector", "", VECTOR))
    else:
        places.append(("classifier", "", OF_THE_MEAN if model.reads == "mean" else CLASSIFIER))
    for group, prefix, points in places:
        for point in points:
            name = prefix + point.module
            if name not in seen:  # what another architecture lacks, such as the pooler
                continue
            values = tensor_at(point.side, *seen[name], packed, heads)
            yield Stage(group, point.what, name, file_of(model, name), point.letters, values)


def tensor_at(side: str, taken: Any, given: Any, packed: Packed, heads: int) -> Tensor:
    """The side of a `Point`, from a module's input and output."""
    if side in ("in", "out"):
        return taken if side == "in" else given
    if side == "probabilities":
        return given[1]
    by_head = pad(given.unflatten(1, (3, heads, -1)), packed)  # (T, 3H) -> (T, 3, N, D) -> 3 × (B, N, S, D)
    return by_head[("queries", "keys", "values").index(side)]


def file_of(model: nn.Module, name: str) -> str:
    """The file of this package with the module's class, or with the class of the nearest module around it."""
    while not type(model.get_submodule(name)).__module__.startswith(f"{PACKAGE}."):
        name = name.rpartition(".")[0]
    return type(model.get_submodule(name)).__module__.removeprefix(f"{PACKAGE}.").replace(".", "/") + ".py"


def answers(model: Model | MaskedLM, tokenizer: Tokenizer, tokens: Tokens, logits: Tensor) -> Iterator[Answer]:
    """All columns of a classifier, none of an encoder; else the likeliest words at each [MASK], or at each token of
    texts without one."""
    if isinstance(model, Model):
        if model.head.use == "encode":
            return
        task = task_of_model(model.labels, type(model.classifier), {})
        shares = task.probabilities(logits.double().numpy())[0].tolist() or [None] * len(model.labels)
        columns = zip(model.labels, logits[0].tolist(), shares, strict=True)
        yield Answer(0, [Choice(*column) for column in columns])
        return
    masks = [i for i, token_id in enumerate(tokens.encoding.ids) if token_id == tokenizer.mask_id]
    for i in masks or [i for i, origin in enumerate(tokens.origins) if origin]:
        # A model may have more rows than its vocabulary has words.
        yield Answer(i, choices(tokenizer.vocabulary, logits[i], logits[i][: tokenizer.vocab_size].topk(LIKELIEST)[1]))


def choices(names: Sequence[str], logits: Tensor, rows: Iterable[int] | Tensor) -> list[Choice]:
    probabilities = logits.double().softmax(dim=-1)
    return [Choice(names[int(row)], float(logits[row]), float(probabilities[row])) for row in rows]
