"""Evaluation of a trained classifier from a plan to its files: `tezukuri.evaluate`, and the command of that name."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import SPLITS, Dataset, Example
from ..data.label_names import refuse_numbers, with_merged_labels
from ..data.lists import dataset_of
from ..data.rows import count_of
from ..data.table import NONE
from ..eval.classifier import Classifier
from ..eval.failures.analysis import analyse
from ..eval.failures.page import write_page
from ..eval.failures.table import kind_of
from ..eval.judge import Judgement, judge
from ..eval.neutral import neutral_label, tune_width
from ..eval.predict import Scorer, how_to_cut
from ..eval.report import write_report
from ..eval.runs import circumstances, new_run, write_json, write_jsonl
from ..eval.tasks.metrics import softmax
from ..eval.tasks.table import require_labels, task_for, task_of_model
from ..model.int8 import COSTS, costs
from ..model.precision import PRECISIONS, name_of
from ..model.ranks import rank
from ..tokenize.encoding import TRUNCATIONS
from ..weights.files import read_json
from ..weights.load import LoadReport, load_ready_classifier
from .finetune import keep_data
from .plan import MODEL, DataOptions, Plan, option

SEEN = "the model has learned from {n} of the {all} texts that are judged here ({run})"


@dataclass(frozen=True, repr=False)
class EvaluationPlan(DataOptions):
    """The options of an evaluation. Errors are those of Options."""

    model: str = option("small", "folder or hub id of a classifier", MODEL, required=True)
    revision: str | None = option(None, "branch, tag or commit of the hub", MODEL)
    labels: Sequence[str] | None = option(None, "names of the head's rows: negative,positive", MODEL, names=True)
    neutral_band: str = option(
        "none",
        "for two labels against three: a prediction whose two probabilities differ by less is called by the label that "
        "the model lacks; auto finds the width on the dev split",
        MODEL,
        metavar="none|auto|WIDTH",
    )
    split: str | None = option(None, "(test, where the data has it; else all)", choices=[*SPLITS, "all"])
    max_length: int | None = option(None, "tokens; longer texts are truncated (as in training)", positive=True)
    truncation: str | None = option(None, "how (as in training)", choices=list(TRUNCATIONS))
    batch_size: int | None = option(None, "texts at a time (default 64, on a GPU 256)", positive=True)
    precision: str = option("auto", f"(%(default)s); {COSTS}", choices=["auto", *PRECISIONS, "int8"])


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
    notes: list[str] = field(default_factory=list)  # on the data

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
        """Write the page of all mistakes; `extras` are arguments of `analyse`.

        Nearest texts are of the training split, unless that is judged too, or was drawn only now.
        """
        apart = self.judgement.split != "all" and not self.data.drawn
        train = [example for example in self.data.examples if example.split == "train"] if apart else []
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
        data: "sample", "jrte", a file, a Dataset, a pair (texts, labels), or a whole plan.
        options: fields of EvaluationPlan, which are the options of the command: model, split, …
            Data without splits are judged whole, unless `split` names one, which is then drawn at random.
    """
    if not isinstance(data, str | Path | Dataset | EvaluationPlan | tuple | None):
        raise ValueError(f"data is a {type(data).__name__}: give a name, a file, a Dataset, a plan or (texts, labels)")
    # The plan, and data in memory.
    if isinstance(data, EvaluationPlan):
        plan = data.of(**vars(data) | options)
    else:
        plan = EvaluationPlan.of(**options | ({"data": data} if isinstance(data, str | Path) else {}))
    given: Dataset | tuple | None = data if isinstance(data, Dataset) else None
    if isinstance(data, tuple):
        given = tuple(list(column) for column in data)
    plan = plan.whole_paths().with_own_folder()
    # The judgement, and its files.
    found = judge_split(plan, given)
    found.folder = new_run(Path(plan.output_dir), plan.model)
    if given is not None and not rank():
        judged = [replace(example, split="test") for example in found.judgement.examples]
        kept = replace(found.data, examples=judged)
        found.plan = keep_data(kept, replace(found.plan, split="test"), found.folder / "data.jsonl", found.scorer.task)
    facts = {
        "options": asdict(found.plan),
        "neutral_band": found.band,
        "data": {
            "name": found.data.name,
            "labels": found.data.labels,
            "texts": len(found.judgement.examples),
            "notes": found.notes,
        },
        "load_report": asdict(found.report),
    }
    write_json(found.folder / "config.json", facts | circumstances(found.scorer.device))
    if found.data.bad_rows:
        write_jsonl(found.folder / "bad-rows.jsonl", [asdict(row) for row in found.data.bad_rows])
        print(f"data    {count_of(found.data.bad_rows)} left out, listed in bad-rows.jsonl")
    print(f"\n{write_report(found.folder, found.judgement)}\n\nrun     {found.folder}")
    if plan.report and kind_of(found.scorer.task):
        found.page()
    elif plan.report:
        print(f"page    none: there is no page of mistakes for the task {found.scorer.task.page}")
    return found


def chosen_split(plan: EvaluationPlan, data: Dataset) -> tuple[str, list[Example], str]:
    """The split to judge, its examples, and a sentence about them; ValueError where a band would be fitted on them."""
    has_test = not data.drawn and any(example.split == "test" for example in data.examples)
    split = plan.split or ("test" if has_test else "all")
    if plan.neutral_band == "auto" and split in ("dev", "all"):
        raise ValueError(
            f"--neutral-band auto fits the width on the dev split, and here {split} is judged, which has the same "
            "texts: say --split test, or give a width from 0 to 1"
        )
    examples = data.examples if split == "all" else data.split(split)
    n = len(data.examples)
    if split == "all":
        why = "" if plan.split else f", as {data.name} has no {'' if data.drawn else 'test '}split{'s' * data.drawn}"
        return split, examples, f"judged all {n} texts{why}"
    drawn = f", drawn at random (seed {plan.split_seed})" if data.drawn else ""
    more = "" if plan.split or len(examples) == n else "; --split all judges all"
    return split, examples, f"judged {len(examples)} of {n} texts: the {split} split{drawn}{more}"


def seen_before(plan: EvaluationPlan, examples: Sequence[Example]) -> list[str]:
    """A sentence where the model lies in the folder of a run of finetune on the same data, whose training texts are
    among those that are judged."""
    for folder in (Path(plan.model), Path(plan.model).parent):
        config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        if "settings" not in config or str(config["options"].get("data")) != plan.data:
            continue
        try:
            before = Plan.of_run(config)
            learned = replace(before, data_path=plan.data_path or before.data_path).read_data()
            learned = task_for(before.task, learned).prepared(learned)
            known = {example.id for example in learned.split("train")}
        except (ValueError, OSError):  # of another version of this code, or of files that are gone
            continue
        if learned.differs_from(config["data"]):  # others are there now
            continue
        if n := sum(example.id in known for example in examples):
            aside = next((name for name in ("test", "dev") if any(e.split == name for e in learned.examples)), "")
            told = [f"--split {aside}"] if aside and not (before.fold and aside == "dev") else []
            other_seed = learned.drawn and before.split_seed != plan.split_seed
            told += [f"--split-seed {before.split_seed}"] if told and other_seed else []
            told += ["--dev-split last-fifth"] if told and before.last_fifth and not plan.last_fifth else []
            others = f": {' '.join(told)} has others" if told else ""
            return [SEEN.format(n=n, all=len(examples), run=folder) + others]
    return []


def judge_split(plan: EvaluationPlan, data: Dataset | tuple[list, list] | None = None) -> Evaluation:
    """Judge a file, a Dataset, or (texts, labels)."""
    # The model, the data, and what of them is judged.
    loaded = load_ready_classifier(plan.model, plan.labels, plan.revision, choices=len(plan.choice_columns or ()))
    whole = deepcopy(loaded.model) if plan.precision == "int8" else loaded.model
    task = task_of_model(loaded.model.labels, type(loaded.model.classifier), loaded.task)
    classifier = Classifier(loaded.model, loaded.tokenizer, plan.device, plan.precision, task)
    named = plan.precision if plan.precision == "int8" else name_of(classifier.precision)
    if plan.neutral_band != "none" and not task.classes:
        raise ValueError(f"--neutral-band is for classes, and this model answers the task {task.name}: leave it out")
    in_memory = data is not None
    if isinstance(data, tuple):
        kind = task.kind_by_columns(all(isinstance(text, tuple) for text in data[0]), True)
        data = dataset_of(*data, seed=plan.split_seed, classes=plan.classes, labels_are=kind)
    labels_are = task.kind_by_columns(plan.pair_column is not None, plan.label_column != NONE)
    data = plan.read_data(labels_are) if data is None else plan.of_memory(data)
    require_labels(type(task), data)
    data = task.prepared(data)
    if plan.merge_labels:
        data = with_merged_labels(data, own=classifier.labels)
    if classifier.task.classes and not data.named:
        refuse_numbers(data)
    split, examples, what = chosen_split(plan, data)
    if split == "all" and data.drawn:  # nothing comes of splits that were drawn
        data = replace(data, notes=[note for note in data.notes if "at random" not in note])
    seen = [] if in_memory else seen_before(plan, examples)
    judged = replace(data, examples=[replace(example, split=split) for example in examples])
    strange = classifier.task.notes(judged, [split])
    notes = [*data.notes, *strange, what, *seen]
    for note in notes:
        print(f"data    {note}")
    plan = replace(plan, split=split)
    print(f"model   {loaded.report}\ndevice  {classifier.device}, {named}")
    how, said = how_to_cut(loaded.model, loaded.cut, plan.max_length, plan.truncation, task.windows)
    for sentence in [*said, *costs(plan.precision, task.classes)]:
        print(f"note    {sentence}")
    batch_size = plan.batch_size or classifier.batch_size
    scorer = Scorer(classifier.model, loaded.tokenizer, classifier.task, how, classifier.precision, batch_size)

    def logits_of(examples: Sequence[Example], title: str) -> np.ndarray:
        encodings = scorer.encode(examples)
        cut = encodings.cut(how["max_length"])
        told = "" if task.classes else task.summary(task.targets(examples), encodings)
        print(f"{title:<7} {len(examples)} texts{told}{f'; {cut}' if cut else ''}")
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
    logits = logits_of(examples, split)
    judgement = judge(classifier.task, split, examples, logits, data.labels, neutral, width)
    band = {"label": neutral, "width": width} if neutral else None
    explained = replace(scorer, model=whole.to(classifier.device))
    return Evaluation(Path(), plan, data, judgement, band, explained, loaded.report, notes)


def band_width(text: str) -> float:
    try:
        width = float(text)
    except ValueError:
        width = -1.0
    if not 0 <= width <= 1:
        raise ValueError(f"--neutral-band is none, auto or a width from 0 to 1, not {text!r}")
    return width
