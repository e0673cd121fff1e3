"""A ready classifier in two lines: text in, label with probabilities out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..model.int8 import to_int8
from ..model.model import Model
from ..model.precision import choose_device, choose_precision
from ..tokenize.tokenizer import Tokenizer
from ..weights.load import load_ready_classifier, log
from .predict import Scorer, Text, examples_of, how_to_cut, texts_at_once
from .tasks.table import task_of_model
from .tasks.task import Task

READ_AHEAD = 16  # batches; what is read together is tokenized together, and sorted by length


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one text."""

    label: Any  # the name of a class; a choice, a number, or whatever else the task answers with
    probabilities: dict[str, float]  # of classes, labels or choices; else empty
    truncated: bool  # the text was cut (see `Classifier.how`)
    tokens: int = 0  # of the text, before it was cut

    @property
    def probability(self) -> float:
        """Of its class or choice; KeyError where the task has neither."""
        return self.probabilities[self.label]


class Classifier:
    """A model with its tokenizer. With precision `int8` the given model itself is rounded, and not to be trained again.

    >>> classifier = Classifier.load("outputs/…/model")
    >>> classifier("駅から近くて便利でした。").label
    'positive'
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        device: str = "auto",
        precision: str = "auto",
        task: Task | None = None,
        how: Mapping[str, Any] | None = None,
    ) -> None:
        """The task is by default that of the model's head; `how` texts are cut is as in `Scorer`."""
        self.device = choose_device(device)
        self.task = task or task_of_model(model.labels, type(model.classifier), {})
        self.model = model.to(self.device).eval()
        if precision == "int8":
            to_int8(self.model)
        self.precision = choose_precision("fp32" if precision == "int8" else precision, self.device)
        self.batch_size = texts_at_once(self.device)
        self.tokenizer = tokenizer
        self.labels = model.labels
        self.how = Scorer(self.model, tokenizer, self.task, how or {}).cut

    @property
    def probable(self) -> tuple[str, ...]:
        """The labels that its answers have probabilities for."""
        return self.labels[: self.task.probabilities(np.zeros((1, len(self.labels)))).shape[1]]

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path,
        labels: Sequence[str] | None = None,
        revision: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        max_length: int | None = None,
        truncation: str | None = None,
        choices: int = 0,
    ) -> "Classifier":
        """A fine-tuned model from a folder or the hub.

        Errors are those of `tezukuri.load`; a head that was never trained is one more.

        Args:
            labels: names for the rows of its head, where its own configuration has none.
            precision: auto, fp32, bf16, fp16 or int8 (see model/int8.py).
            max_length, truncation: how texts are cut; by default as in training, where the folder tells, else to what
                the model can read. What differs from that is logged as a warning.
            choices: of how many it takes one, where a model of choices does not say so.
        """
        loaded = load_ready_classifier(name_or_folder, labels, revision, choices=choices)
        if loaded.report.notes:
            log.warning("%s", loaded.report)
        task = task_of_model(loaded.model.labels, type(loaded.model.classifier), loaded.task)
        how, said = how_to_cut(loaded.model, loaded.cut, max_length, truncation, task.windows)
        for sentence in said:
            log.warning("%s", sentence)
        return cls(loaded.model, loaded.tokenizer, device, precision, task, how)

    @overload
    def __call__(self, texts: Text, batch_size: int | None = ..., top_k: int | None = ...) -> Prediction: ...  # type: ignore[overload-overlap]  # a str is a Sequence[str]
    @overload
    def __call__(
        self, texts: Iterable[Text], batch_size: int | None = ..., top_k: int | None = ...
    ) -> list[Prediction]: ...
    def __call__(
        self, texts: Text | Iterable[Text], batch_size: int | None = None, top_k: int | None = None
    ) -> Prediction | list[Prediction]:
        """One text → a Prediction; several → a list of them, in order. The rest is as in `stream`."""
        if isinstance(texts, str | tuple):
            return next(self.stream([texts], batch_size, top_k=top_k))
        return list(self.stream(texts, batch_size, top_k=top_k))

    def stream(
        self,
        texts: Iterable[Text],
        batch_size: int | None = None,
        read_ahead: int = READ_AHEAD,
        top_k: int | None = None,
    ) -> Iterator[Prediction]:
        """Predictions for texts in their order, in constant memory; `read_ahead` batches of them are read together.

        batch_size: 64 where it is not given, on a GPU 256.
        top_k: of the probabilities keep the k highest, the highest first; by default all, in the order of the labels.
        """
        for name, value in (("batch_size", batch_size), ("top_k", top_k)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        texts, batch_size = iter(texts), batch_size or self.batch_size
        scorer = Scorer(self.model, self.tokenizer, self.task, self.how, self.precision, batch_size)
        while batch := list(islice(texts, read_ahead * batch_size)):
            examples = examples_of(batch)
            encodings = scorer.encode(examples)
            logits = scorer.logits(encodings)
            cut, tokens = (of_each.tolist() for of_each in encodings.by_text(len(batch)))  # (B,) both
            rows = self.task.probabilities(logits).tolist()  # (B, C), or (B, 0)
            answers = zip(self.task.answers(logits), examples, strict=True)
            told = [self.task.told(answer, example) for answer, example in answers]
            names = map(self.task.columns, examples)
            for answer, columns, row, one, length in zip(told, names, rows, cut, tokens, strict=True):
                by_label = dict(zip(columns, row, strict=False))
                if top_k:
                    by_label = dict(sorted(by_label.items(), key=lambda item: -item[1])[:top_k])
                yield Prediction(answer, by_label, one, length)

    def __repr__(self) -> str:
        return f"Classifier({self.task.name}: {', '.join(self.labels)}; on {self.device})"
