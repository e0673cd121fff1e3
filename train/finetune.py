"""Fine-tuning from a plan to the files of its run: `tezukuri.finetune`, and the command of that name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..data.dataset import Dataset, Example
from ..data.label_kinds import LABEL_KINDS, label_json
from ..data.lists import dataset_of, in_a_list
from ..data.rows import count_of
from ..data.table import NONE
from ..eval.baselines import comparison_line
from ..eval.failures.table import kind_of
from ..eval.plots import curves, write_picture
from ..eval.predict import how_to_cut
from ..eval.report import PICTURES, write_metrics, write_predictions, write_report
from ..eval.runs import circumstances, new_run, write_csv, write_json, write_jsonl
from ..eval.tasks.table import kind_of_labels, task_for
from ..eval.tasks.task import Task
from ..eval.yardsticks import YARDSTICKS, yardstick_line
from ..model.initialisation import initialise
from ..model.model import most_tokens
from ..model.precision import choose_device, choose_precision, name_of
from ..model.ranks import rank
from ..weights.files import read_json
from ..weights.load import Loaded, LoadReport, load_with_report
from ..weights.save import save
from ..weights.sentences import Vectors, read_vectors
from .batch import Texts
from .checkpoint import FILE as CHECKPOINT
from .checkpoint import BeginAnewError, config_of_stopped_run, told_how_to_go_on
from .loop import chosen_epoch, fine_tune
from .memory import forget_peak, peak_memory
from .plan import DataOptions, Plan
from .regularizers.regularizer import Regularizer
from .regularizers.shelf import regularizers_of
from .regularizers.trust import hashes_of, require_trusted
from .run import Run, Split
from .scratch import scratch
from .seen_words import only_seen_words
from .settings import LEAST_STEPS, Settings, deviation, enough_epochs
from .textbook import published_for
from .textbook import told as textbook_settings
from .track import require_tracker, tracker
from .vectors import check_data, fit_vectors, pooling_notes

P = TypeVar("P", bound=DataOptions)


def finetune(
    data: str | Path | Dataset | Plan | None = None,
    *,
    texts: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    **options: Any,
) -> Run:
    """Fine-tune a model on labelled texts, and judge it: the same run as the command `finetune`, with its folder.

    >>> run = tezukuri.finetune("jrte", epochs=4)
    >>> run = tezukuri.finetune(texts=["駅から近い。", …], labels=["positive", …])

    Args:
        data: "sample" (the default), "jrte", a file, a Dataset, or a whole Plan.
        texts, labels: instead of data: lists, arrays or columns of a table; splits are drawn.
        resume: the folder of a run that was stopped; takes nothing else but `trust`.
        trust: run a regularizer of the run's own also where its file changed, or the run's folder is somebody else's.
        options: fields of Plan, which are the options of the command: model, epochs, lr, regularizer, …

    Raises:
        ValueError: an option, a file, a text or a label that cannot be used; DataError and CheckpointError are such.
        TrainingError: the loss became infinite or no number.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the command to go on with was printed.
        OSError: a file cannot be written.
    """
    if (texts is None) != (labels is None):
        raise ValueError("texts and labels go together: give both")
    if texts is not None and data is not None:
        raise ValueError("data are given twice, as data and as texts with labels: give one of them")
    if resume is not None and (data is not None or texts is not None or options):
        raise ValueError("resume goes on with what the run was told when it began: leave out all else")
    if trust and resume is None:
        raise ValueError("trust is for a run that is resumed: give resume too, or leave it out")
    if not isinstance(data, str | Path | Dataset | Plan | None):
        kind = type(data).__name__
        raise ValueError(f"data is a {kind}: give a name, a file, a Dataset or a Plan, or give texts and labels")
    given = data if isinstance(data, Dataset) else None
    if resume is not None:
        config = config_of_stopped_run(Path(resume).resolve(), "finetune")
        if "guard" in config["options"]:
            raise ValueError(
                f"{resume} was begun by adapt, which looks at guards and terms at the end: resume it there"
            )
        plan = Plan.of_run(config)
    elif isinstance(data, Plan):
        plan = data.of(**vars(data) | options)
    else:
        plan = Plan.of(**options | ({"data": data} if isinstance(data, str | Path) else {}))
    if texts is not None and labels is not None:
        texts = in_a_list("texts", texts)
        given = dataset_of(
            texts, labels, seed=plan.split_seed, classes=plan.classes, merge_labels=plan.merge_labels,
            labels_are=kind_of_labels(plan.task, pair=all(isinstance(text, tuple) for text in texts)),
        )  # fmt: skip
    folder = Path(resume).resolve() if resume is not None else None
    return run_plan(plan.whole_paths().with_own_folder(), given, folder, trust)


def run_plan(
    plan: Plan,
    given: Dataset | None = None,
    resume: Path | None = None,
    trust: bool = False,
    judged: bool = True,
    more: bool = False,
) -> Run:
    """Carry a plan out; `given` are data in memory, `resume` is the folder of a run that was stopped, `trust` says to
    run its code whatever became of it, and where it is not `judged`, it ends with the trained model. Where `more` is to
    come, the caller removes the checkpoint."""
    # The data, the task, the recipe.
    device = choose_device(plan.device)
    data = plan.read_data() if given is None else plan.of_memory(given)
    plan = plan.for_task_of(data)
    as_given = data if given is not None else None
    task, data, settings = ready(plan, data)
    if resume:  # the recipe may have changed since
        before = read_json(resume / "config.json")["settings"]
        settings = Settings(**before | {"regularizers": tuple(before["regularizers"])})
        require_trusted(resume, settings.regularizers, trust)
    if said := textbook_settings(settings) if plan.recipe == "textbook" else deviation(plan.recipe, settings):
        print(f"recipe  {said}")
    code = hashes_of(settings.regularizers)
    for file in code:
        print(f"code    {file}")  # which now runs
    regularizers = regularizers_of(settings.regularizers)

    # The model.
    forget_peak(device)
    torch.manual_seed(settings.seed)  # before the head is made
    loaded = make(plan, data, task)
    model = loaded.model.to(device)
    if not resume:
        settings = replace(settings, lr=plan.settings(task, hidden_size=model.config.hidden_size).lr)
    vectors = None
    if model.classifier.use == "encode":
        vectors, settings = how_vectors_come(loaded, plan, settings)
        task.prefix = vectors.before(None)
        named = [repr(name) for name, prompt in vectors.prompts.items() if prompt]
        if named and not task.prefix:
            told = f"the model has the prompts {', '.join(named)}, and none by default"
            print(f"note    {told}: texts are learned without one")
        rates = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        if task.twice and not settings.regularizers and not any(getattr(model.config, name, 0.0) for name in rates):
            print("note    without dropout a text and its pair, which is itself, have the same vector: nothing differs")
    task.batch_size = settings.batch_size
    run = Run(Path(), plan, settings, data, task, model, loaded.tokenizer, vectors=vectors)
    for sentence in how_to_cut(model, {}, plan.max_length, windows=task.windows)[1]:
        print(f"note    {sentence}")
    splits = run.splits()
    if is_new(loaded.report) or plan.random_weights:
        model.classifier.begin(torch.from_numpy(splits["train"].texts(task).targets))
        if not resume and plan.epochs is None and plan.recipe == "default" and plan.method == "finetune":
            run.settings = with_enough_epochs(settings, len(splits["train"].examples))
    for name, split in splits.items():
        print(f"{name:<7} {summary_of(split, run)}")
    run.folder = begin(run, splits, loaded, regularizers, code, as_given, resume)

    with told_how_to_go_on(plan.command, run.folder):
        train(run, splits, bool(resume), (resume or run.folder) if plan.checkpoint else None, regularizers)
        if not rank():
            config: dict[str, Any] = read_json(run.folder / "config.json")
            write_json(run.folder / "config.json", config | {"memory": peak_memory(device)})
        if judged:
            judge_and_save(run, splits, more)
    return run


def ready(plan: Plan, data: Dataset) -> tuple[Task, Dataset, Settings]:
    """The task, the data as it is learned from them, and the recipe; ValueError for what no run could do."""
    task = task_for(plan.task, data)
    if why := task.unmeant(data):
        raise ValueError(why)
    data = task.prepared(data)
    check_data(plan.method, data)
    settings = plan.settings(task, voted=task.classes and any(example.votes for example in data.split("train")))
    if settings.batch_size < task.least_batch:
        raise ValueError(
            f"what is learned comes from comparing the {task.least_batch} texts or more of a batch, and batch_size is "
            f"{settings.batch_size}: give a larger one (accumulate does not make it larger)"
        )
    if plan.normalise is not None and task.head.use != "encode":
        raise ValueError("normalise is for sentence vectors, which the task similarity learns: leave it out")
    if plan.track:
        require_tracker()
    return task, data, settings


def with_enough_epochs(settings: Settings, n: int) -> Settings:
    epochs = enough_epochs(settings, n, LEAST_STEPS)
    if epochs > settings.epochs:
        print(f"note    {epochs} epochs and not {settings.epochs}, since {n} texts make few steps (--epochs decides)")
    return replace(settings, epochs=epochs)


def how_vectors_come(loaded: Loaded, plan: Plan, settings: Settings) -> tuple[Vectors, Settings]:
    """How sentence vectors come about, and the recipe with their length, unless the plan has another.

    Raises:
        ValueError: an option is about a head that is learned, and that of sentence vectors is not.
    """
    for name in ("classifier_dropout", "reset_head"):
        if getattr(plan, name):
            raise ValueError(f"{name} is for a head that is learned, and sentence vectors have none: leave it out")
    vectors = (loaded.folder and read_vectors(loaded.folder)) or Vectors()
    longest = settings.max_length if plan.max_length else vectors.max_length or settings.max_length
    longest = min(longest, settings.max_length, most_tokens(loaded.model))
    normalise = vectors.normalise if plan.normalise is None else plan.normalise
    vectors = replace(vectors, pooling=loaded.model.reads, normalise=normalise, max_length=longest)
    if settings.truncation == "head_tail":
        print("note    sentence-transformers cuts texts at the end: where head_tail cuts, its vectors differ")
    return vectors, replace(settings, max_length=longest)


def train(
    run: Run, splits: Mapping[str, Split], resume: bool, keep: Path | None, regularizers: Sequence[Regularizer]
) -> None:
    """Train the run's model, with its log in a file and on the screen; `keep` is the folder for checkpoints."""
    train, dev = (splits[name].texts(run.task) for name in ("train", "dev"))
    track = tracker(run.folder) if run.plan.track and not rank() else None
    with only_seen_words(run.model.bert, train.encodings):
        for row in rows_of(run, train, dev, keep, resume, regularizers):
            run.log.append(row)
            write_csv(run.folder / "log.csv", run.log)
            if track:
                track(row)
            columns = [*(name for name in row if name not in ("epoch", "lr", "grad_norm", "seconds")), "seconds"]
            if len(run.log) == 1:
                print("\nepoch  " + "".join(f"{name.removeprefix('dev_'):>{wide(name)}}" for name in columns))
            cells = ("" if row[name] is None else f"{row[name]:.4f}" for name in columns)
            print(
                f"{row['epoch']:>5}  " + "".join(f"{cell:>{wide(n)}}" for n, cell in zip(columns, cells, strict=True))
            )

    run.model.classifier.settle()
    if run.task.adjusts:
        run.task.adjust(run.scorer.logits(splits["dev"].encodings), splits["dev"].targets)


def rows_of(
    run: Run,
    train: Texts,
    dev: Texts,
    keep: Path | None = None,
    resume: bool = False,
    regularizers: Sequence[Regularizer] = (),
) -> Iterator[dict[str, Any]]:
    """Train the run's model by the plan's method; a row of the log for each epoch, as it comes."""
    if run.plan.method == "finetune":
        return fine_tune(run.model, run.task, train, dev, run.settings, keep, resume, regularizers)
    return fit_vectors(run, train, dev, keep, resume)


def is_new(report: LoadReport) -> bool:
    """Whether the head was made anew."""
    return not report.loaded or any(name.startswith("classifier.") for name in report.new)


def judge_and_save(run: Run, splits: Mapping[str, Split], more: bool = False) -> None:
    """Write what a trained run is for, the model first and what can be made again last; the checkpoint goes, unless
    `more` is to come."""
    plan, saved = run.plan, run.plan.save_model == "best" and not rank()
    if saved:
        model = run.folder / "model"
        save(run.model, run.tokenizer, model, cut=run.scorer.cut, task=run.task.kept(), vectors=run.vectors)

    # Judge dev and test, and print the scores of test, or of dev where there is no test split.
    best = chosen_epoch(run.log, run.settings.select, run.task)
    for name in [name for name in ("dev", "test") if name in splits]:
        judgement = run.judge(name, splits[name])
        if name == "dev" and "test" in splits:
            write_metrics(run.folder, judgement)
            write_predictions(run.folder, judgement)
        else:
            print(f"\n{name} split, model of epoch {best}:\n\n{write_report(run.folder, judgement)}")
            if run.task.classes:
                print("  ".join(f"{k} {v:.4f}" for k, v in judgement.metrics.items() if isinstance(v, float)))
            if run.task.classes and run.baselines:
                beside = run.baselines.beside(judgement, run.data.labels)
                print(comparison_line(beside, run.baselines.left_out))
            if run.task.page in YARDSTICKS:
                print(yardstick_line(YARDSTICKS[run.task.page](run.task, run.data.split("train"), judgement.examples)))
            if plan.recipe == "textbook" and (published := published_for(run.data.name, len(splits["dev"].examples))):
                print(published)
    write_picture(run.folder / "curves.png", curves, run.log, best)
    pictures = [run.folder / name for name in ("curves.png", *(name for name, _ in PICTURES.values()))]
    print("\n        ".join([f"\nrun     {run.folder}", *(str(path) for path in pictures if path.is_file())]))
    if saved:
        print(f"model   {run.folder / 'model'}")

    # The page of mistakes, which `tezukuri failures` can make again where the model is saved.
    with_page = plan.report and kind_of(run.task) is not None
    if plan.report and not with_page:
        print(f"page    none: there is no page of mistakes for the task {run.task.page}")
    if plan.judge_train or with_page:
        run.judge("train", splits["train"])
    if plan.judge_train:
        write_metrics(run.folder, run.judgements["train"])
    if saved and not more:
        (run.folder / CHECKPOINT).unlink(missing_ok=True)
    if with_page:
        run.page()
    if not more:
        (run.folder / CHECKPOINT).unlink(missing_ok=True)


def wide(column: str) -> int:
    """The width of a column in the table of epochs."""
    return max(11, len(column.removeprefix("dev_")) + 2)


def make(plan: Plan, data: Dataset, task: Task) -> Loaded:
    """The model to be trained, with the task's head, and its tokenizer."""
    if plan.model == "scratch":
        texts = [text for e in data.split("train") for text in (e.text, e.pair, *(e.choices or ())) if text is not None]
        return scratch(
            task.labels, texts, plan.tokenizer, plan.revision, plan.changes(), task.head, plan.pooling, plan.attention
        )
    if plan.tokenizer:
        raise ValueError("--tokenizer is for --model scratch; a checkpoint has its own")
    loaded = load_with_report(
        plan.model, "classify", task.labels, revision=plan.revision, reset_head=plan.reset_head,
        changes=plan.changes(), head=task.head, pooling=plan.pooling, kernel=plan.attention,
    )  # fmt: skip
    if plan.method != "finetune":
        loaded.report.notes += pooling_notes(plan.model, plan.revision)
    if plan.random_weights:
        loaded.model.apply(lambda module: initialise(module, loaded.model.config.initializer_range))
        loaded.report.notes.append("all weights were made anew (--random-weights)")
    return loaded


def summary_of(split: Split, run: Run) -> str:
    """How many texts a split has, of which classes, and what was truncated."""
    counts = run.task.summary(split.targets, split.encodings)
    cut = split.encodings.cut(run.scorer.cut["max_length"])
    return f"{len(split.examples)} texts{counts}{f'; {cut}' if cut else ''}"


def begin(
    run: Run,
    splits: Mapping[str, Split],
    loaded: Loaded,
    regularizers: Sequence[Regularizer],
    code: Mapping[str, str],
    in_memory: Dataset | None,
    resume: Path | None,
) -> Path:
    """Make the run folder, with all that is needed to repeat the run, or check that a resumed run has the same data."""
    # The data in figures.
    data, plan = run.data, run.plan
    notes = [*data.notes, *run.task.notes(data)]
    facts = {
        "name": data.name,
        "labels": list(data.labels),
        "texts": {name: len(split.examples) for name, split in splits.items()},
        "truncated_share": {name: split.encodings.truncated_share for name, split in splits.items()},
        "bad_rows": len(data.bad_rows),
        "notes": notes,
        **data.hashes,
    }
    device = next(run.model.parameters()).device
    precision = name_of(choose_precision(run.settings.precision, device))
    if resume and data.differs_from(read_json(resume / "config.json")["data"]):
        what = f"texts, labels, votes or splits of {data.name} changed"
        raise BeginAnewError(f"the data is not what {resume} began with: {what}")
    # The folder, with its configuration.
    if resume and not rank():
        folder = resume
    else:
        folder = new_run(Path(plan.output_dir), plan.model)
        if in_memory:
            run.plan = plan = keep_data(in_memory, plan, folder / "data.jsonl", run.task)
            facts |= run.task.prepared(plan.read_data()).hashes  # as a resumed run reads them
        config: dict[str, Any] = {"options": asdict(plan), "settings": asdict(run.settings), "data": facts}
        config["precision"] = precision
        config["regularizers"] = {regularizer.name: regularizer.values for regularizer in regularizers}
        config["code"] = code
        config["parameters"] = sum(parameter.numel() for parameter in run.model.parameters())
        write_json(folder / "config.json", config | {"load_report": asdict(loaded.report)} | circumstances(device))
    # What the reader of the data noted, and what is strange about its labels.
    for note in notes:
        print(f"data    {note}")
    if data.bad_rows:
        write_jsonl(folder / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])
        print(f"data    {count_of(data.bad_rows)} left out, listed in bad-rows.jsonl")
    print(f"model   {loaded.report}\ndevice  {device}, {precision}\nrun     {folder}")
    print(f"regularizers  {', '.join(regularizer.described for regularizer in regularizers) or 'none'}")
    return folder


def keep_data(data: Dataset, plan: P, file: Path, task: Task) -> P:
    """Write data in memory to a file, from which the run can be repeated, and put it into the plan.

    Raises:
        ValueError: an example would not come back from the file as it is.
    """
    names = ("id", "text", "pair", "choices", "label", "split", "votes")
    paired = "pair" if any(example.pair is not None for example in data.examples) else None
    labelled = any(example.label is not None for example in data.examples)
    labels_are = task.kind_by_columns(paired is not None, labelled)
    if labels_are == "number":  # of whatever type
        data = replace(data, examples=[replace(e, label=float(e.label)) for e in data.examples])
    rows = [{n: getattr(e, n) for n in names if getattr(e, n) is not None} for e in data.examples]
    for row in rows if labelled else ():
        row["label"] = label_json(row["label"], row["text"], row.get("pair"))
    write_jsonl(file, rows)
    choices = ["choices"] if any(example.choices for example in data.examples) else None
    # The order of the classes is that of the head's rows.
    kind = LABEL_KINDS[labels_are]
    classes = list(data.labels) if task.classes or (kind.named and kind.listed) else None
    plan = replace(plan, data=str(file.resolve()), pair_column=paired, choice_columns=choices, classes=classes)
    plan = replace(plan, label_column="label" if labelled else NONE)
    if isinstance(plan, Plan):
        plan = replace(plan, leave_out=None, fold=None)
    back = iter(replace(plan, bad_rows="skip").read_data(labels_are).examples)
    for number, example in enumerate(data.examples):
        read = next(back, None)
        if read is None or facts_of(read) != facts_of(example):
            raise ValueError(
                f"example {number} of {data.name} would not come back from {file.name} as it is ({example!r:.200}): "
                "give it an id of its own, a text, and a label of the data's without white space around it"
            )
    print(f"data    kept in {file}")
    return plan


def facts_of(example: Example) -> tuple[Any, ...]:
    """What a file keeps of an example: a label by its name."""
    e = example
    return e.id, e.text, e.pair, e.choices, str(e.label), e.split, e.votes or None
