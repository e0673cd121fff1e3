"""A finished run of fine-tuning, in memory or read from its folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.dataset import SPLITS, Dataset, Example
from ..eval.baselines import Baselines, learn
from ..eval.classifier import Classifier
from ..eval.failures.analysis import Analysis, Retrained, analyse
from ..eval.failures.page import write_page
from ..eval.failures.probes import Probe
from ..eval.failures.slices import Rule
from ..eval.judge import Judgement, judge
from ..eval.predict import Scorer, how_to_cut
from ..eval.runs import read_log
from ..eval.tasks.table import task_for
from ..eval.tasks.task import Task
from ..model.model import Model
from ..model.precision import choose_device, choose_precision
from ..tokenize.encoding import EncodedBatch
from ..tokenize.tokenizer import Tokenizer
from ..weights.files import read_json
from ..weights.load import load_ready_classifier
from ..weights.sentences import Vectors, read_vectors
from .batch import Texts
from .checkpoint import FILE as CHECKPOINT
from .plan import Plan
from .settings import Settings


class Split(NamedTuple):
    """One split of the data, ready for the model."""

    examples: Sequence[Example]  # n
    encodings: EncodedBatch  # n · parts
    targets: Any  # (n, C), or what else the task measures logits against

    def texts(self, task: Task) -> Texts:
        """The input of the training loop."""
        votes, paired = None, any(e.pair is not None or e.choices for e in self.examples)
        if any(example.votes for example in self.examples):
            votes = np.array([[(e.votes or {}).get(label, 0) for label in task.labels] for e in self.examples])
        sentences = self.examples if paired else [example.text for example in self.examples]
        laid = task.laid(self.targets, self.encodings)
        return Texts(self.encodings, laid, sentences, votes, task.parts, self.targets)


@dataclass
class Run:
    """A run: its plan and data, its model, and how good that is.

    >>> run = tezukuri.finetune("jrte")
    >>> run.scores["test"]["f1"], run.classifier("駅から近くて便利でした。").label
    """

    folder: Path
    plan: Plan
    settings: Settings
    data: Dataset
    task: Task
    model: Model
    tokenizer: Tokenizer
    log: list[dict[str, Any]] = field(default_factory=list)  # a row for each epoch, from 0 (before training) on
    judgements: dict[str, Judgement] = field(default_factory=dict)  # by split
    vectors: Vectors | None = None  # how those of a text come about, where they are what was learned

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "Run":
        """From the folder of a run that has kept its model; its data are read again.

        Raises:
            ValueError: the folder is not that of a run of fine-tuning, or has no model.
        """
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no run: it has no config.json")
        config = read_json(folder / "config.json")
        if not {"options", "data", "settings"} <= set(config):
            raise ValueError(f"{folder} is no run of finetune: its config.json does not tell of labelled texts")
        if not (folder / "model" / "config.json").is_file():
            if (folder / CHECKPOINT).is_file():
                command = "adapt" if "guard" in config["options"] else "finetune"
                raise ValueError(
                    f"{folder} was not finished: go on with it first (tezukuri {command} --resume {folder})"
                )
            raise ValueError(
                f"{folder} has kept no model, since it was stopped too early, or was told --save-model none: start it "
                "again with another --save-model (tezukuri finetune)"
            )
        plan = Plan.of_run(config)
        data = plan.read_data()
        task = task_for(plan.task, data)
        data = task.prepared(data)
        if data.differs_from(config["data"]):
            told = f"texts, labels, votes or splits of {data.name} are not those that {folder} began with"
            logging.getLogger("tezukuri").warning("%s: it may have learned from what is dev or test now", told)
        apart = task.labels if task.head.use == "encode" else None  # which the folder of an encoder does not name
        loaded = load_ready_classifier(folder / "model", apart, head=task.head)
        task.restore(loaded.task)
        model = loaded.model.to(choose_device(device))
        settings = Settings(**config["settings"] | {"regularizers": tuple(config["settings"]["regularizers"])})
        log, vectors = read_log(folder), read_vectors(folder / "model")
        return cls(folder, plan, settings, data, task, model, loaded.tokenizer, log, vectors=vectors)

    @property
    def scores(self) -> dict[str, dict[str, float | None]]:
        """split → score → value: of what was judged, and of what the run's files tell."""
        files = {split: self.folder / f"{'val' if split == 'dev' else split}-metrics.json" for split in SPLITS}
        kept = {split: read_json(file) for split, file in files.items() if file.is_file()}
        return kept | {split: dict(judgement.metrics) for split, judgement in self.judgements.items()}

    @cached_property
    def classifier(self) -> Classifier:
        """The model with its tokenizer: texts in, labels out."""
        how, device = self.scorer.how, str(self.scorer.device)
        return Classifier(self.model, self.tokenizer, device, self.settings.precision, self.task, how)

    @cached_property
    def scorer(self) -> Scorer:
        how, _ = how_to_cut(self.model, {}, self.settings.max_length, self.settings.truncation)
        device = next(self.model.parameters()).device
        return Scorer(self.model, self.tokenizer, self.task, how, choose_precision(self.settings.precision, device))

    @cached_property
    def baselines(self) -> Baselines | None:
        """The most frequent training label, and TF-IDF."""
        return learn(self.data.split("train"))

    def splits(self) -> dict[str, Split]:
        """The splits train, dev and, where the data has it, test; encoded."""
        there = [name for name in SPLITS if name != "test" or any(e.split == "test" for e in self.data.examples)]
        return {name: self.split(self.data.split(name)) for name in there}

    def split(self, examples: Sequence[Example]) -> Split:
        return Split(examples, self.scorer.encode(examples), self.task.targets(examples))

    def judge(self, name: str, split: Split | None = None) -> Judgement:
        """Judge one split; kept in `judgements`."""
        split = split or self.split(self.data.split(name))
        logits = self.scorer.logits(split.encodings, progress=name)
        self.judgements[name] = judge(self.task, name, split.examples, logits, self.data.labels)
        return self.judgements[name]

    def all_judgements(self) -> list[Judgement]:
        """Of train, dev and test, where the data have them; those that are not there yet are made."""
        there = [name for name in SPLITS if any(example.split == name for example in self.data.examples)]
        return [self.judgements.get(name) or self.judge(name) for name in there]

    def analysis(
        self, own_rules: Sequence[Rule] = (), retrained: Retrained | None = None, probes: Sequence[Probe] | None = None
    ) -> Analysis:
        """The content of the page; args are those of `analyse`. ValueError where the task has no page."""
        judgements = self.all_judgements()
        train, labels = self.data.split("train"), self.data.labels
        baselines = self.baselines if self.task.classes else None
        return analyse(self.scorer, judgements, train, labels, own_rules, retrained, probes, baselines)

    def page(self, language: str | None = None, against: str | Path | None = None, **extras: Any) -> Path:
        """Write the page of all mistakes, also those of the run `against`; `extras` are arguments of `analysis`."""
        analysis = self.analysis(**extras)
        write_page(self.folder, analysis, language or self.plan.language, Path(against) if against else None)
        return self.folder / "report.html"

    def __repr__(self) -> str:
        split = next((name for name in ("test", "dev") if name in self.judgements), None)
        best = f", {split} {self.task.best} {self.scores[split][self.task.best]:.4f}" if split else ""
        return f"Run({str(self.folder)!r}, {len(self.log)} rows{best})"
