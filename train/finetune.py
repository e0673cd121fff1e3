"""Fine-tuning from a plan to the files of its run: `tezukuri.finetune`, and the command of that name."""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..data.dataset import Dataset
from ..data.lists import dataset_of
from ..eval.baselines import comparison_line
from ..eval.plots import curves
from ..eval.report import write_metrics, write_predictions, write_report
from ..eval.runs import circumstances, new_run, write_csv, write_json, write_jsonl, write_whole
from ..eval.tasks.table import TASKS
from ..eval.tasks.task import Task
from ..model.initialisation import initialise
from ..model.precision import choose_device, choose_precision, name_of
from ..model.ranks import rank
from ..weights.files import read_json
from ..weights.load import Loaded, load_with_report
from ..weights.save import save
from .checkpoint import FILE as CHECKPOINT
from .checkpoint import config_of_stopped_run
from .loop import chosen_epoch, fine_tune
from .plan import Plan
from .regularizers.regularizer import Regularizer
from .regularizers.shelf import regularizers_of
from .run import Run, Split
from .scratch import scratch
from .seen_words import only_seen_words


def finetune(
    data: str | Path | Dataset | Plan | None = None,
    *,
    texts: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    resume: str | Path | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a model on labelled texts, and judge it: the same run as the command `finetune`, with its folder.

    >>> run = tezukuri.finetune("jrte", model="mini", epochs=4)
    >>> run = tezukuri.finetune(texts=["駅から近い。", …], labels=["positive", …])

    Args:
        data: "sample" (the default), "jrte", a file, a Dataset, or a whole Plan.
        texts, labels: instead of data: lists, arrays or columns of a table; splits are drawn.
        resume: the folder of a run that was stopped; takes nothing else.
        options: fields of Plan, which are the options of the command: model, epochs, lr, regularizer, …

    Raises:
        ValueError: an option, a file, a text or a label that cannot be used; DataError and CheckpointError are such.
        TrainingError: the loss became infinite or no number.
    """
    if (texts is None) != (labels is None):
        raise ValueError("texts and labels go together: give both")
    if texts is not None and data is not None:
        raise ValueError("data are given twice, as data and as texts with labels: give one of them")
    if resume is not None and (data is not None or texts is not None or options):
        raise ValueError("resume goes on with what the run was told when it began: leave out all else")
    given = data if isinstance(data, Dataset) else None
    if resume is not None:
        plan = Plan.of_run(config_of_stopped_run(Path(resume).resolve()))
    elif isinstance(data, Plan):
        plan = replace(data, **options)
    else:
        plan = Plan.of(**options | ({"data": data} if isinstance(data, str | Path) else {}))
    if texts is not None and labels is not None:
        given = dataset_of(texts, labels, seed=plan.split_seed)
    return run_plan(plan.whole_paths().with_own_folder(), given, Path(resume).resolve() if resume is not None else None)


def run_plan(plan: Plan, given: Dataset | None = None, resume: Path | None = None) -> Run:
    """Carry a plan out; `given` are data in memory, `resume` is the folder of a run that was stopped."""
    # The data, the task, the recipe.
    device = choose_device(plan.device)
    data = plan.read_data() if given is None else given
    if plan.task not in TASKS:
        raise ValueError(f"task {plan.task!r} is not known; choose one of {', '.join(TASKS)}")
    task = TASKS[plan.task].of(data)
    settings = plan.settings(voted=any(example.votes for example in data.split("train")))
    if resume:  # the recipe may have changed since
        before = read_json(resume / "config.json")["settings"]["regularizers"]
        settings = replace(settings, regularizers=tuple(before))
    regularizers = regularizers_of(settings.regularizers)

    # The model.
    torch.manual_seed(settings.seed)  # before the head is made
    loaded = make(plan, data, task)
    model = loaded.model.to(device)
    settings = replace(settings, lr=plan.settings(hidden_size=model.config.hidden_size).lr)
    run = Run(Path(), plan, settings, data, task, model, loaded.tokenizer)
    splits = run.splits()
    for name, split in splits.items():
        print(f"{name:<7} {summary_of(split, run)}")
    run.folder = begin(run, splits, loaded, regularizers, given is not None, resume)

    # Train.
    train, dev = (splits[name].texts(task) for name in ("train", "dev"))
    keep = (resume or run.folder) if plan.checkpoint else None
    try:
        with only_seen_words(model.bert, train.encodings):
            for row in fine_tune(model, task, train, dev, settings, keep, bool(resume), regularizers):
                run.log.append(row)
                write_csv(run.folder / "log.csv", run.log)
                columns = [*(name for name in row if name not in ("epoch", "lr", "grad_norm", "seconds")), "seconds"]
                if len(run.log) == 1:
                    print("\nepoch  " + "".join(f"{name.removeprefix('dev_'):>{wide(name)}}" for name in columns))
                cells = ("" if row[name] is None else f"{row[name]:.4f}" for name in columns)
                print(
                    f"{row['epoch']:>5}  "
                    + "".join(f"{cell:>{wide(n)}}" for n, cell in zip(columns, cells, strict=True))
                )
    except KeyboardInterrupt:
        if (run.folder / CHECKPOINT).is_file() and not rank():
            print(f"\ngo on with    tezukuri finetune --resume {shlex.quote(str(run.folder))}", file=sys.stderr)
        raise

    # Judge dev and test, and print the scores of test, or of dev where there is no test split.
    best = chosen_epoch(run.log, settings.select, task)
    write_whole(run.folder / "curves.png", curves(run.log, best))
    for name in [name for name in ("dev", "test") if name in splits]:
        judgement = run.judge(name, splits[name])
        if name == "dev" and "test" in splits:
            write_metrics(run.folder, judgement)
            write_predictions(run.folder, judgement)
        else:
            print(f"\n{name} split, model of epoch {best}:\n\n{write_report(run.folder, judgement)}")
            print("  ".join(f"{k} {v:.4f}" for k, v in judgement.metrics.items() if isinstance(v, float)))
            if task.classes and run.baselines:
                beside = run.baselines.beside(judgement, data.labels)
                print(comparison_line(beside, run.baselines.left_out))
    pictures = [run.folder / name for name in ("curves.png", "confusion_matrix.png")]
    print("\n        ".join([f"\nrun     {run.folder}", *(str(path) for path in pictures if path.is_file())]))

    # Save the model, and make the page of mistakes.
    if plan.save_model == "best" and not rank():
        save(model, loaded.tokenizer, run.folder / "model")
        print(f"model   {run.folder / 'model'}")
    if plan.judge_train or (plan.report and task.classes):
        run.judge("train", splits["train"])
    if plan.judge_train:
        write_metrics(run.folder, run.judgements["train"])
    (run.folder / CHECKPOINT).unlink(missing_ok=True)  # the page can be made again
    if plan.report and task.classes:
        run.page()
    return run


def wide(column: str) -> int:
    """The width of a column in the table of epochs."""
    return max(11, len(column.removeprefix("dev_")) + 2)


def make(plan: Plan, data: Dataset, task: Task) -> Loaded:
    """The model to be trained, with the task's head, and its tokenizer."""
    if plan.model == "scratch":
        texts = [text for e in data.split("train") for text in (e.text, e.pair) if text is not None]
        return scratch(
            task.labels, texts, plan.tokenizer, plan.revision, plan.changes(), task.head, kernel=plan.attention
        )
    if plan.tokenizer:
        raise ValueError("--tokenizer is for --model scratch; a checkpoint has its own")
    loaded = load_with_report(
        plan.model, "classify", task.labels, revision=plan.revision, reset_head=plan.reset_head,
        changes=plan.changes(), head=task.head, kernel=plan.attention,
    )  # fmt: skip
    if plan.random_weights:
        loaded.model.apply(lambda module: initialise(module, loaded.model.config.initializer_range))
        loaded.report.notes.append("all weights were made anew (--random-weights)")
    return loaded


def summary_of(split: Split, run: Run) -> str:
    """How many texts a split has, of which classes, and how many were truncated."""
    counts = ""
    if run.task.classes:
        numbers = split.targets.sum(axis=0).astype(int)
        counts = f" ({', '.join(f'{number} {label}' for number, label in zip(numbers, run.task.labels, strict=True))})"
    share = split.encodings.truncated_share
    truncated = f"; {share:.1%} truncated to {run.scorer.cut['max_length']} tokens" if share else ""
    return f"{len(split.examples)} texts{counts}{truncated}"


def begin(
    run: Run,
    splits: Mapping[str, Split],
    loaded: Loaded,
    regularizers: Sequence[Regularizer],
    in_memory: bool,
    resume: Path | None,
) -> Path:
    """Make the run folder, with all that is needed to repeat the run, or check that a resumed run has the same data."""
    # The data in figures.
    data, plan = run.data, run.plan
    content = json.dumps([[e.id, e.text, str(e.label), e.split] for e in data.examples])
    facts = {
        "name": data.name,
        "labels": list(data.labels),
        "texts": {name: len(split.examples) for name, split in splits.items()},
        "truncated_share": {name: split.encodings.truncated_share for name, split in splits.items()},
        "bad_rows": len(data.bad_rows),
        "notes": data.notes,
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
    device = next(run.model.parameters()).device
    precision = name_of(choose_precision(run.settings.precision, device))
    if resume and read_json(resume / "config.json")["data"]["sha256"] != facts["sha256"]:
        raise ValueError(f"the data is not what {resume} began with: texts, labels or splits of {data.name} changed")
    # The folder, with its configuration.
    if resume and not rank():
        folder = resume
    else:
        folder = new_run(Path(plan.output_dir), plan.model)
        if in_memory:
            run.plan = plan = keep_data(data, plan, folder / "data.jsonl")
        config = {"options": asdict(plan), "settings": asdict(run.settings), "data": facts, "precision": precision}
        config["regularizers"] = {regularizer.name: regularizer.values for regularizer in regularizers}
        write_json(folder / "config.json", config | {"load_report": asdict(loaded.report)} | circumstances(device))
    # What the reader of the data noted.
    for note in data.notes:
        print(f"data    {note}")
    if data.bad_rows:
        write_jsonl(folder / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])
        print(f"data    {len(data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print(f"model   {loaded.report}\ndevice  {device}, {precision}\nrun     {folder}")
    print(f"regularizers  {', '.join(regularizer.described for regularizer in regularizers) or 'none'}")
    return folder


def keep_data(data: Dataset, plan: Plan, file: Path) -> Plan:
    """Write data in memory to a file, from which the run can be repeated, and put it into the plan."""
    names = ("id", "text", "pair", "label", "split", "votes")
    write_jsonl(file, [{n: getattr(e, n) for n in names if getattr(e, n) is not None} for e in data.examples])
    print(f"data    kept in {file}")
    paired = "pair" if any(example.pair is not None for example in data.examples) else None
    return replace(
        plan, data=str(file.resolve()), text_column="text", label_column="label", pair_column=paired, leave_out=None
    )
