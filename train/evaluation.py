"""Evaluation of a trained classifier from a plan to its files: `tezukuri.evaluate`, and the command of that name."""

import sys
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset, Example
from ..data.lists import dataset_of
from ..eval.classifier import Classifier
from ..eval.failures.analysis import analyse
from ..eval.failures.page import write_page
from ..eval.judge import Judgement, judge
from ..eval.neutral import neutral_label, tune_width
from ..eval.predict import Scorer
from ..eval.report import write_report
from ..eval.runs import circumstances, new_run, write_json, write_jsonl
from ..eval.tasks.metrics import softmax
from ..model.precision import PRECISIONS, name_of
from ..tokenize.encoding import TRUNCATIONS
from ..weights.files import read_json
from ..weights.load import LoadReport, load_ready_classifier
from .plan import MODEL, DataOptions, option


@dataclass(frozen=True, repr=False)
class EvaluationPlan(DataOptions):
    """The options of an evaluation. Errors are those of Options."""

    model: str = option("mini", "folder or hub id of a classifier", MODEL, required=True)
    revision: str | None = option(None, "branch, tag or commit of the hub", MODEL)
    labels: Sequence[str] | None = option(None, "names of the head's rows: negative,positive", MODEL, names=True)
    neutral_band: str = option(
        "none",
        "for two labels against three: a prediction whose two probabilities differ by less is called by the label that "
        "the model lacks; auto finds the width on the dev split",
        MODEL,
        metavar="none|auto|WIDTH",
    )
    split: str = option("test", "(%(default)s)", choices=["train", "dev", "test"])
    max_length: int | None = option(None, "tokens; longer texts are truncated (those of the model)", positive=True)
    truncation: str = option(
        "longest_first", "how (%(default)s)", choices=[t for t in TRUNCATIONS if t != "only_second"]
    )
    batch_size: int | None = option(None, "texts at a time (default 64)", positive=True)
    precision: str = option("auto", "(%(default)s)", choices=["auto", *PRECISIONS, "int8"])


@dataclass
class Evaluation:
    """A judged split, and the model that judged it."""

    folder: Path
    plan: EvaluationPlan
    data: Dataset
    judgement: Judgement
    band: dict[str, Any] | None  # label and width of a neutral band
    scorer: Scorer  # with the model in fp32: in int8 it has no gradients for explanations
    report: LoadReport

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "Evaluation":
        """Judge the split of an evaluation's folder again, with its neutral band."""
        config = read_json(Path(folder) / "config.json")
        plan = replace(EvaluationPlan.of_run(config), device=device)
        if config.get("neutral_band"):
            plan = replace(plan, neutral_band=str(config["neutral_band"]["width"]))  # also where it was auto
        return replace(judge_split(plan), folder=Path(folder))

    @property
    def scores(self) -> dict[str, float | None]:
        return dict(self.judgement.metrics)

    def page(self, language: str | None = None, against: str | Path | None = None, **extras: Any) -> Path:
        """Write the page of all mistakes; `extras` are arguments of `analyse`."""
        train = [example for example in self.data.examples if example.split == "train"]
        analysis = analyse(self.scorer, [self.judgement], train, self.data.labels, **extras)
        write_page(self.folder, analysis, language or self.plan.language, Path(against) if against else None)
        return self.folder / "report.html"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items() if isinstance(value, float))
        return f"Evaluation({self.judgement.split}, {len(self.judgement.examples)} texts, {shown})"


def evaluate(
    data: str | Path | Dataset | EvaluationPlan | tuple[Iterable[Any], Iterable[Any]] | None = None, **options: Any
) -> Evaluation:
    """Judge a trained classifier, and write a folder: the same as the command.

    >>> tezukuri.evaluate("reviews.csv", model="outputs/…/model").scores["f1"]

    Args:
        data: "sample", "jrte", a file, a Dataset, a pair (texts, labels) all of which are judged, or a whole plan.
        options: fields of EvaluationPlan, which are the options of the command: model, split, …
    """
    # The plan, and data in memory.
    given = data if isinstance(data, Dataset) else None
    if isinstance(data, tuple):
        texts, labels = (list(column) for column in data)
        given = dataset_of(texts, labels, splits=["test"] * len(texts))
    if isinstance(data, EvaluationPlan):
        plan = replace(data, **options)
    else:
        plan = EvaluationPlan.of(**options | ({"data": data} if isinstance(data, str | Path) else {}))
    plan = plan.whole_paths().with_own_folder()
    # The judgement, and its files.
    found = judge_split(plan, given)
    found.folder = new_run(Path(plan.output_dir), plan.model)
    facts = {
        "options": asdict(plan),
        "neutral_band": found.band,
        "data": {
            "name": found.data.name,
            "labels": found.data.labels,
            "texts": len(found.judgement.examples),
            "notes": found.data.notes,
        },
        "load_report": asdict(found.report),
    }
    write_json(found.folder / "config.json", facts | circumstances(found.scorer.device))
    if found.data.bad_rows:
        write_jsonl(found.folder / "bad-rows.jsonl", [asdict(row) for row in found.data.bad_rows])
        print(f"data    {len(found.data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print(f"\n{write_report(found.folder, found.judgement)}\n\nrun     {found.folder}")
    if plan.report:
        found.page()
    return found


def judge_split(plan: EvaluationPlan, data: Dataset | None = None) -> Evaluation:
    # The data and the model.
    data = plan.read_data() if data is None else data
    loaded = load_ready_classifier(plan.model, plan.labels, plan.revision)
    whole = deepcopy(loaded.model) if plan.precision == "int8" else loaded.model
    classifier = Classifier(loaded.model, loaded.tokenizer, plan.device, plan.precision)
    named = plan.precision if plan.precision == "int8" else name_of(classifier.precision)
    print(f"model   {loaded.report}\ndevice  {classifier.device}, {named}")
    longest = min(plan.max_length or sys.maxsize, loaded.model.config.max_position_embeddings)
    how = {"max_length": longest, "truncation": plan.truncation}
    batch_size = plan.batch_size or classifier.batch_size
    scorer = Scorer(classifier.model, loaded.tokenizer, classifier.task, how, classifier.precision, batch_size)

    def logits_of(examples: Sequence[Example], title: str) -> np.ndarray:
        encodings = scorer.encode(examples)
        share = encodings.truncated_share
        print(f"{title:<7} {len(examples)} texts" + (f"; {share:.1%} truncated to {longest} tokens" if share else ""))
        return scorer.logits(encodings, progress=title)

    # The neutral band: its label, and its width.
    neutral, width = None, 0.0
    if plan.neutral_band != "none":
        neutral = neutral_label(classifier.labels, data.labels)
        if plan.neutral_band == "auto":
            dev = data.split("dev")
            gold = [example.label for example in dev]
            width = tune_width(softmax(logits_of(dev, "dev")), gold, classifier.labels, data.labels)
        else:
            width = band_width(plan.neutral_band)
    # The split.
    examples = data.split(plan.split)
    logits = logits_of(examples, plan.split)
    judgement = judge(classifier.task, plan.split, examples, logits, data.labels, neutral, width)
    band = {"label": neutral, "width": width} if neutral else None
    explained = Scorer(whole.to(classifier.device), loaded.tokenizer, classifier.task, how)
    return Evaluation(Path(), plan, data, judgement, band, explained, loaded.report)


def band_width(text: str) -> float:
    try:
        width = float(text)
    except ValueError:
        width = -1.0
    if not 0 <= width <= 1:
        raise ValueError(f"--neutral-band is none, auto or a width from 0 to 1, not {text!r}")
    return width
