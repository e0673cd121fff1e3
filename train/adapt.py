"""Adapting sentence vectors to a domain: a run of the task similarity, with what it changed, and what it kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ..data.load import READERS
from ..data.texts import read_texts
from ..eval.adapting.guards import SHORT, Change, Guard, changes
from ..eval.adapting.page import TERMS, Adaptation, neighbours, write_adaptation
from ..eval.encoder import DOCUMENT, Encoder
from ..eval.hits import Hit
from ..eval.tasks.similarity import Similarity, texts_of
from ..eval.tasks.table import split_name
from ..model.precision import name_of
from ..model.ranks import rank
from .checkpoint import FILE as CHECKPOINT
from .checkpoint import config_of_stopped_run, told_how_to_go_on
from .finetune import ready, run_plan
from .loop import chosen_epoch
from .plan import Plan, option
from .regularizers.shelf import regularizers_of
from .run import Run

ADAPTING = "adapting"
MOST_NEAR = 20_000  # texts among which nearest ones are looked for


@dataclass(frozen=True, repr=False)
class AdaptPlan(Plan):
    """The options of an adaptation. Errors are those of Options."""

    loss: str | None = option(
        None,
        "{losses} (cosent; of classes cosine, without scores ranking); its number behind it: ranking,temperature=0.1",
        ADAPTING,
        metavar="NAME",
    )
    scale: Sequence[float] | None = option(
        None, "lowest and highest score (those of the training pairs)", ADAPTING, nargs=2, metavar=("LOW", "HIGH")
    )
    guard: Sequence[str] | None = option(
        None,
        "judged pairs that the encoder must still follow: stsb-ja, stsb-en, jsts, NAME=PATH of a local copy, or a file "
        "with the columns text, pair and label",
        ADAPTING,
        nargs="+",
        action="extend",
        metavar="NAME",
    )
    terms: str | None = option(None, "texts for the heat map, one a line (nine job titles)", ADAPTING, metavar="FILE")
    near: Sequence[str] | None = option(
        None,
        "terms whose nearest texts are shown, with commas between them (three of them)",
        ADAPTING,
        names=True,
        metavar="TERMS",
    )

    command: ClassVar[str] = "adapt"

    def __post_init__(self) -> None:
        for name in ("guard", "near"):  # one in the place of a list of them
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, [getattr(self, name)])
        pairs = self.pairs
        object.__setattr__(self, "pairs", None)  # here an option of the task
        super().__post_init__()
        if self.random_weights or self.model == "scratch":
            raise ValueError("random weights know nothing that could be kept: use finetune --task similarity")
        if self.scale is not None and len(self.scale) != 2:
            raise ValueError(f"scale is {self.scale}; it must be the lowest and the highest score")
        if self.method != "finetune":
            raise ValueError(f"method {self.method} is for classes, and not for adapting: leave it out")
        for name in ("tokenizer", "reset_head", "classifier_dropout"):
            if getattr(self, name):
                raise ValueError(f"{name} is not for an encoder, which has its own tokenizer and no head: leave it out")
        name, told = split_name(self.task or Similarity.name)
        if name != Similarity.name:
            raise ValueError(f"an encoder is adapted by the task {Similarity.name}, not by {name}: leave --task out")
        if self.loss and "loss" in told:
            raise ValueError(f"the loss is given twice, as {told['loss']} and as {self.loss}: leave one out")
        told |= {"loss": self.loss} if self.loss else {}
        told |= {} if pairs is None else {"pairs": pairs}
        told |= dict(zip(("low", "high"), self.scale, strict=True)) if self.scale is not None else {}
        options = ",".join(f"{key}={value}" for key, value in told.items())
        object.__setattr__(self, "task", f"{name}:{options}" if options else name)
        for told_there in ("loss", "scale"):
            object.__setattr__(self, told_there, None)

    def whole_paths(self) -> Self:
        def whole(told: str) -> str:
            name, sign, path = ("", "", told) if Path(told).is_file() else told.partition("=")
            known = Path(path).exists() if sign else Path(path).suffix and Path(path).is_file()
            return f"{name}{sign}{Path(path).resolve()}" if known else told

        return replace(super().whole_paths(), guard=[whole(told) for told in self.guard or ()] or None)


def adapt(
    data: str | Path | AdaptPlan | None = None, *, resume: str | Path | None = None, trust: bool = False, **options: Any
) -> tuple[Run, Adaptation]:
    """Learn, and write the run's folder with a page (adapt.html) of guards, terms and nearest texts before and after.

    >>> run, found = tezukuri.adapt("pairs.csv", text_column="base", pair_column="ref", guard=["stsb-ja"])
    >>> print(found.verdicts)

    Args:
        data: a file, a name ("jsts"), or a whole plan.
        resume, trust: as those of `finetune`.
        options: fields of AdaptPlan, which are the options of the command: model, loss, guard, terms, epochs, …

    Raises:
        ValueError: as `finetune`; or a guard, a term or the file of terms cannot be used, before anything is learned.
    """
    if resume is not None and (data is not None or options):
        raise ValueError("resume goes on with what the run was told when it began: leave out all else")
    if trust and resume is None:
        raise ValueError("trust is for a run that is resumed: give resume too, or leave it out")
    # What is looked at.
    folder = Path(resume).resolve() if resume is not None else None
    if folder is not None:
        plan = AdaptPlan.of_run(config_of_stopped_run(folder, "finetune"))
    elif isinstance(data, AdaptPlan):
        plan = data.of(**vars(data) | options)
    else:
        plan = AdaptPlan.of(**options | ({} if data is None else {"data": data}))
    guards = [Guard.load(told) for told in dict.fromkeys(plan.guard or ())]
    if twice := next((name for name, n in Counter(guard.name for guard in guards).items() if n > 1), None):
        raise ValueError(f"the guard {twice} is given twice, from two files: leave one out")
    for note in [note for guard in guards for note in guard.notes]:
        print(f"note    {note}")
    if plan.language != "en":
        print("note    adapt.html is in English alone")
    terms = terms_of(plan)
    near = list(plan.near or terms[:: max(1, len(terms) // 3)][:3])
    plan = plan.whole_paths().with_own_folder()
    data_of_plan = plan.read_data()
    if folder is None:  # all that can be known before anything is computed
        _, dealt, settings = ready(plan, data_of_plan)
        dealt.split("dev")
        regularizers_of(settings.regularizers)
    learned = [text for example in data_of_plan.split("train") for text in texts_of(example) if text]
    texts = list(dict.fromkeys([*terms, *near, *learned]))
    for guard in guards:
        if SHORT.get(guard.name, guard.name).partition(":")[0] == plan.data.partition(":")[0]:
            print(f"note    {guard.name} is a guard of the data that are learned from: epochs may be chosen by it")
    if plan.data not in READERS and plan.data in (plan.guard or ()):
        print(f"note    {plan.data} is a guard, and what is learned from: it cannot say what was lost")

    # Before and after: numbers alone are kept, so that two encoders never stand beside each other.
    before = Encoder.load(
        plan.model, plan.revision, plan.device, plan.precision or "auto", plan.pooling, max_length=plan.max_length
    )
    before.how |= {"truncation": plan.truncation} if plan.truncation else {}
    corpus = before.vectors.before(before.usual(DOCUMENT))
    if corpus != before.vectors.before(None):
        print(f"note    all texts of the page have one prompt; search sets {corpus!r} before those that it searches")
    seen = look(before, guards, terms, texts[:MOST_NEAR], near)
    reads = [how_read(before)]
    del before
    run = run_plan(plan, None, folder, trust, more=True)
    assert run.vectors
    with told_how_to_go_on(plan.command, run.folder):
        device, precision = str(run.scorer.device), run.settings.precision
        after = Encoder(run.model.bert, run.tokenizer, run.vectors, device, precision, run.scorer.cut)
        now = look(after, guards, terms, texts[:MOST_NEAR], near)
        reads.append(how_read(after))
        if reads[0] != reads[1]:
            print(f"note    before and after differ also in how texts were read: {' and '.join(reads)}")
        found = adaptation(run, guards, seen, now, terms, near, len(texts))
        if not rank():
            page = write_adaptation(run.folder, found)
            (run.folder / CHECKPOINT).unlink(missing_ok=True)
            none = ["none was asked for (--guard stsb-ja jsts): nothing is known of what was lost"]
            for line in found.verdicts or none:
                print(f"guard   {line}")
            print(f"page    {page}")
    return run, found


def adaptation(
    run: Run, guards: Sequence[Guard], seen: "Seen", now: "Seen", terms: list[str], near: Sequence[str], n: int
) -> Adaptation:
    """What the page tells: of an encoder before (`seen`) and `now`; n texts were there to be near."""

    def changed(guard: Guard) -> dict[str, Change]:
        return changes(guard.gold, seen.guards[guard.name], now.guards[guard.name])

    best = chosen_epoch(run.log, run.settings.select, run.task)
    first, chosen = run.log[0], next(row for row in run.log if row["epoch"] == best)
    dev = {name.removeprefix("dev_"): (first[name], chosen[name]) for name in first if name.startswith("dev_")}
    return Adaptation(
        base=run.plan.model,
        name=run.data.name,
        facts={
            "task": run.plan.task,
            "epoch": f"{best} of {len(run.log) - 1}",
            "rate": f"{run.settings.lr:g}",
            "batch": run.settings.batch_size,
            "examples": f"{len(run.data.split('train')):,}",
            "seed": run.settings.seed,
        },
        guards={guard.name: (guard.split, len(guard.examples), changed(guard)) for guard in guards},
        terms=terms,
        before=seen.heat,
        after=now.heat,
        near={term: (seen.near[term], now.near[term]) for term in near},
        among=(min(MOST_NEAR, n), n),
        scores={"dev": dev},
    )


def how_read(encoder: Encoder) -> str:
    longest, truncation = encoder.how["max_length"], encoder.how["truncation"]
    return f"at most {longest} tokens, cut by {truncation}, in {name_of(encoder.precision)}"


@dataclass(frozen=True)
class Seen:
    """What is kept of an encoder."""

    guards: dict[str, np.ndarray]  # name → cosines of its pairs
    heat: np.ndarray  # cosines of the terms
    near: dict[str, list[Hit]]


def look(
    encoder: Encoder, guards: Sequence[Guard], terms: Sequence[str], texts: Sequence[str], near: Sequence[str]
) -> Seen:
    """`terms` are the first of `texts`, and all of `near` are among these."""
    vectors = encoder.encode(texts)
    heat = encoder.similarity(vectors[: len(terms)], vectors[: len(terms)])
    return Seen({guard.name: guard.cosines(encoder) for guard in guards}, heat, neighbours(vectors, texts, near))


def terms_of(plan: AdaptPlan) -> list[str]:
    """Different terms, in their order; ValueError where there are fewer than two."""
    if plan.terms is None:
        return list(TERMS)
    texts = read_texts(plan.terms)
    for note in texts.notes:
        print(f"data    {note}")
    found = list(dict.fromkeys(row.text.strip() for row in texts.rows if not row.reason))
    if len(found) < 2:
        few = "one term" if found else "no terms"
        raise ValueError(f"{plan.terms} has {few}: a heat map needs two different ones or more")
    return found
