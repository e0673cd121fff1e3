"""Adapting sentence vectors to a domain: a run of the task similarity, with what it changed, and what it kept."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data.texts import read_texts
from ..eval.adapting.guards import Guard, changes
from ..eval.adapting.page import TERMS, Adaptation, neighbours, write_adaptation
from ..eval.encoder import Encoder
from ..eval.tasks.similarity import Similarity
from ..eval.tasks.table import split_name
from ..model.ranks import rank
from .finetune import run_plan
from .loop import chosen_epoch
from .plan import Plan, option
from .run import Run

ADAPTING = "adapting"
MOST_NEAR = 20_000  # texts among which nearest ones are looked for


@dataclass(frozen=True, repr=False)
class AdaptPlan(Plan):
    """The options of an adaptation. Errors are those of Options."""

    loss: str | None = option(None, "{losses} (cosent; of classes cosine, without scores ranking)", ADAPTING)
    scale: Sequence[float] | None = option(
        None, "lowest and highest score (those of the training pairs)", ADAPTING, nargs=2, metavar=("LOW", "HIGH")
    )
    guard: Sequence[str] | None = option(
        None,
        "judged pairs that the encoder must still follow: stsb-ja, stsb-en, jsts, or NAME=PATH of a local copy",
        ADAPTING, nargs="+", metavar="NAME",
    )  # fmt: skip
    terms: str | None = option(
        None, "texts for the heat map, one a line, or a table (nine job titles)", ADAPTING, metavar="FILE"
    )
    near: Sequence[str] | None = option(
        None, "terms whose nearest texts are shown (three of them)", ADAPTING, names=True, metavar="TERMS"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        told = {"loss": self.loss} if self.loss else {}
        if self.scale is not None:
            told |= dict(zip(("low", "high"), self.scale, strict=True))
        name = self.task or Similarity.name
        if split_name(name)[0] != Similarity.name:
            raise ValueError(
                f"an encoder is adapted by the task {Similarity.name}, and not by {name}: leave --task out"
            )
        options = ",".join(f"{key}={value}" for key, value in told.items())
        if options:
            object.__setattr__(self, "task", f"{name}{',' if ':' in name else ':'}{options}")
            object.__setattr__(self, "loss", None)  # they are in the task now
            object.__setattr__(self, "scale", None)
        object.__setattr__(self, "task", self.task or name)


def adapt(plan: AdaptPlan) -> tuple[Run, Adaptation]:
    """Learn, and write the run's folder with a page (adapt.html) of guards, terms and nearest texts before and after.

    Raises:
        ValueError: as `finetune`; or a guard, a term or the file of terms cannot be used, before anything is learned.
    """
    # What is looked at, before anything is learned.
    if plan.model == "scratch":
        raise ValueError("an encoder from scratch knows nothing that could be kept: use finetune --task similarity")
    guards = [Guard.load(told) for told in plan.guard or ()]
    terms = terms_of(plan)
    near = list(plan.near or terms[:: max(1, len(terms) // 3)][:3])
    plan = plan.whole_paths().with_own_folder()
    data = plan.read_data()
    texts = list(dict.fromkeys([*terms, *near, *(text for e in data.split("train") for text in texts_of(e))]))[
        :MOST_NEAR
    ]

    # Before: numbers alone are kept, so that two encoders never stand beside each other.
    before = Encoder.load(plan.model, plan.revision, plan.device, plan.precision or "auto", plan.pooling)
    seen = look(before, guards, terms, texts, near)
    del before
    run = run_plan(Plan(**{one.name: getattr(plan, one.name) for one in fields(Plan)}), data)
    after = Encoder(run.model.bert, run.tokenizer, run.vectors, str(run.scorer.device), run.settings.precision)
    now = look(after, guards, terms, texts, near)

    # The page.
    best = chosen_epoch(run.log, run.settings.select, run.task)
    first, chosen = run.log[0], next(row for row in run.log if row["epoch"] == best)
    dev = {name.removeprefix("dev_"): (first[name], chosen[name]) for name in first if name.startswith("dev_")}
    found = Adaptation(
        base=plan.model,
        name=run.data.name,
        facts={
            "loss": run.task.loss, "epoch": f"{best} of {len(run.log) - 1}", "rate": f"{run.settings.lr:g}",
            "batch": run.settings.batch_size, "pairs": f"{len(run.data.split('train')):,}", "seed": run.settings.seed,
        },
        guards={
            guard.name: (guard.split, len(guard.examples), changes(guard.gold, seen.guards[guard.name], now.guards[guard.name]))
            for guard in guards
        },
        terms=terms,
        before=seen.heat,
        after=now.heat,
        near={term: (seen.near[term], now.near[term]) for term in near},
        scores={"dev": dev},
    )  # fmt: skip
    if not rank():
        page = write_adaptation(run.folder, found)
        for line in found.verdicts or [
            "no guard was asked for (--guard stsb-ja jsts): nothing is known of what was lost"
        ]:
            print(f"guard   {line}")
        print(f"page    {page}")
    return run, found


@dataclass(frozen=True)
class Seen:
    """What is kept of an encoder."""

    guards: dict[str, np.ndarray]  # name → cosines of its pairs
    heat: np.ndarray  # cosines of the terms
    near: dict[str, list]


def look(
    encoder: Encoder, guards: Sequence[Guard], terms: Sequence[str], texts: Sequence[str], near: Sequence[str]
) -> Seen:
    vectors = encoder.encode(texts)
    return Seen(
        {guard.name: guard.cosines(encoder) for guard in guards},
        encoder.similarity(vectors[: len(terms)], vectors[: len(terms)]),
        neighbours(vectors, texts, near),
    )


def terms_of(plan: AdaptPlan) -> list[str]:
    """Different terms, in their order; ValueError where there are fewer than two."""
    if plan.terms is None:
        return list(TERMS)
    rows = read_texts(Path(plan.terms), None if Path(plan.terms).suffix == ".txt" else plan.text_column).rows
    found = list(dict.fromkeys(row.text.strip() for row in rows if not row.reason))
    if len(found) < 2:
        raise ValueError(f"{plan.terms} has {len(found)} terms: a heat map needs two or more")
    return found


def texts_of(example: Any) -> list[str]:
    return [text for text in (example.text, example.pair, *(example.choices or ())) if text is not None]
