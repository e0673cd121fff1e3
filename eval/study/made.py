"""Finished runs, from their folders or from a table of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from ...data.label_kinds import number_of
from ...data.rows import RowError, refuse_broken_text
from ...data.table import open_table
from ...weights.files import read_json
from ..runs import read_log, read_predictions

SCORES = ("loss", "accuracy", "precision", "recall", "f1")
NUMBERS = ("lr", "best-val-epoch", "best-val-f1", *SCORES, "batch_size", "max_length", "seed", "seconds", "parameters",
           "gpu_memory", "process_memory")  # the memory in bytes, at its peak  # fmt: skip
SHARES = ("best-val-f1", *SCORES[1:])
NEEDED = ("model_name", "lr", "best-val-f1", "accuracy", "precision", "recall", "f1")  # of a table of runs
OWN_COLUMNS = ("lr", "batch_size", "max_length", "seed")  # what columns are for; other settings stand in "other"
OF_DATA = ("data", "folds", "split_seed")  # settings that tell train and dev splits apart
# Options that make another model of the same name, beside the settings → their defaults, as older runs have them.
OF_MODEL = {
    "revision": None, "tokenizer": None, "reset_head": False, "pooling": None, "hidden_dropout": None,
    "attention_dropout": None, "classifier_dropout": None, "leave_out": None, "task": "classify", "method": "finetune",
    "pairs": None,
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A finished run."""

    model: str
    values: dict[str, float | None]  # NUMBERS, where they are known
    test: str  # the name of its test texts, and what tells them from others of that name
    texts: str
    place: str  # its folder, or the line of a table
    settings: dict[str, Any] = field(default_factory=dict)  # all others, which may differ among runs
    labels: tuple[str, ...] = ()
    gold: tuple[str, ...] = ()  # n; empty where its predictions are not known
    predicted: tuple[str, ...] = ()
    started: str = ""
    machine: str = ""
    fold: str = ""  # K/N, of cross-validation

    def number(self, name: str) -> float:
        value = self.values[name]
        assert value is not None, f"{self.place} has no {name}"
        return value


class NoRunError(ValueError):
    """Why a folder is left out."""


def read_all(paths: Iterable[Path]) -> tuple[list[Made], list[str]]:
    """All runs below some folders, and in tables of runs (.csv), and notes on what was left out or guessed.

    Raises:
        ValueError: there is no such path, or no run; or a table cannot be read.
    """
    found: dict[Path, Made] = {}
    of_tables: dict[Path, list[Made]] = {}
    notes: list[str] = []
    for path in paths:
        if path.suffix.lower() == ".csv" and path.is_file():
            if path.resolve() not in of_tables:
                of_tables[path.resolve()], guessed = runs_of_table(path)
                notes += guessed
            continue
        if not path.is_dir():
            raise ValueError(f"{path} is no folder with runs of finetune, and no .csv of them")
        unfinished = 0
        for config in sorted(path.rglob("config.json")):
            run = config.parent
            if (run / "log.csv").is_file() and not (run / "test-metrics.json").is_file():
                unfinished += 1
            elif (run / "test-metrics.json").is_file() and run.resolve() not in found:
                try:
                    found[run.resolve()] = made_of(run)
                except NoRunError as reason:
                    notes.append(f"{run} left out: {reason}")
        if unfinished:
            notes.append(f"{unfinished} in {path} left out, without test-metrics.json: not finished, or no test split")
    runs = [*found.values(), *chain(*of_tables.values())]
    if not runs:
        said = f" ({'; '.join(notes)})" if notes else ""
        raise ValueError(f"no run of finetune, with config.json and test-metrics.json, in {listed(paths)}{said}")
    kept, of_seed = without_repeated(runs)
    return kept, notes + of_seed


def made_of(run: Path) -> Made:
    """A run from its folder; NoRunError where it is none of finetune, or not of classes, or a file of it is broken."""
    try:
        return read_made(run)
    except ValueError as error:
        raise NoRunError(str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise NoRunError(f"its files are not as finetune writes them ({type(error).__name__}: {error})") from error


def read_made(run: Path) -> Made:
    """A run from its folder, whose files may be broken."""
    config, test = read_json(run / "config.json"), read_json(run / "test-metrics.json")
    if not {"options", "settings", "data"} <= set(config) or not (run / "val-metrics.json").is_file():
        raise NoRunError("it is no run of finetune")
    dev, predictions = read_json(run / "val-metrics.json"), read_predictions(run, "test")
    options, settings, data = config["options"], config["settings"], config["data"]
    lacking = [name for name in SCORES if not isinstance(test.get(name), int | float)]
    if lacking or not isinstance(dev.get("f1"), int | float):
        raise NoRunError(f"its task, {options.get('task')}, has no {(lacking or ['f1 on dev'])[0]}")
    if not isinstance(settings["lr"], int | float):
        raise NoRunError(f"its learning rate is no number: {settings['lr']!r}")
    log = read_log(run)[1:]
    values = {name: test[name] for name in SCORES} | {name: settings[name] for name in OWN_COLUMNS}
    values |= {"best-val-f1": dev["f1"], "best-val-epoch": kept_epoch(log, dev)}
    values |= {"seconds": sum(row.get("seconds") or 0 for row in log) if log else None}
    memory = config.get("memory") or {}  # which older runs do not tell, nor their parameters
    values |= {"parameters": config.get("parameters"), "gpu_memory": memory.get("gpu")}
    values |= {"process_memory": memory.get("process")}
    others = {name: value for name, value in settings.items() if name not in OWN_COLUMNS}
    fold = options.get("fold") or ""
    others |= {name: options[name] for name, usual in OF_MODEL.items() if options.get(name) not in (None, usual)}
    if fold:  # each has other data, and by them other epochs, where texts are few and nobody named a number
        others |= {"folds": fold.partition("/")[2], "split_seed": options.get("split_seed", 0)}
        if options.get("epochs") is None:
            others.pop("epochs", None)
    else:
        others |= {"data": data["sha256"][:8]}
    others |= {"labels": data["labels"]}
    _, at, commit = str((config.get("load_report") or {}).get("source", "")).partition(" @ ")
    others |= {"commit": commit} if at else {}  # of a model of the hub
    texts = data["sha256"]
    if predictions is not None:
        predictions.sort(key=lambda row: str(row["id"]))
        judged = [[row["id"], row.get("text"), row.get("pair"), row["label"]] for row in predictions]
        texts = hashlib.sha256(json.dumps(judged).encode()).hexdigest()
    model = options["model"] + (" (random weights)" if options.get("random_weights") else "")
    return Made(
        model, values, data["name"], texts, str(run), others, tuple(data["labels"]),
        tuple(row["label"] for row in predictions or ()), tuple(row["predicted"] for row in predictions or ()),
        config.get("started", ""), json.dumps(config["machine"]) if "machine" in config else "", fold,
    )  # fmt: skip


def kept_epoch(log: Sequence[dict[str, Any]], dev: dict[str, Any]) -> int | None:
    """The epoch whose scores on dev are those of the weights that were kept."""
    rows = [row for row in log if row.get("dev_f1") is not None and row.get("dev_loss") is not None]
    if not rows:
        return None
    return int(min(rows, key=lambda r: (abs(r["dev_f1"] - dev["f1"]), abs(r["dev_loss"] - dev["loss"])))["epoch"])


def runs_of_table(path: Path) -> tuple[list[Made], list[str]]:
    """The runs in a table like `all.csv`, ours or the tutorial's, without predictions; and notes of what was guessed.

    Raises:
        ValueError: a column is missing or there twice, or the rows are means, or a cell is no number, or no score; the
            message names the line.
    """
    opened = open_table(path)
    named = [name for name in opened.columns if name.strip()]
    if twice := [name for name, n in Counter(named).items() if n > 1]:
        raise ValueError(f"{path}:1: there are two columns {twice[0]!r}: leave one out")
    if "seeds" in opened.columns:
        raise ValueError(f"{path}:1: its rows are means over seeds (column 'seeds'): give all.csv, of all runs")
    if missing := [name for name in NEEDED if name not in opened.columns]:
        raise ValueError(f"{path}:1: no column {missing[0]!r}; a table of runs has {listed(NEEDED)}")
    known = ("model_name", *NUMBERS, "test", "other", "fold", "run")
    more = [name for name in named if name not in known]
    runs = []
    for line, raw in opened.records:
        if line == 1 or not raw.strip():
            continue
        try:
            refuse_broken_text(raw, opened.encoding)
            row = opened.fields_of(line, raw)
        except RowError as error:
            raise ValueError(f"{path}:{line}: {error}") from error
        values: dict[str, float | None] = {}
        for name in NUMBERS:
            cell = row.get(name, "").strip()
            try:
                values[name] = number_of(cell) if cell or name in NEEDED else None
                if name in SHARES and not 0 <= (values[name] or 0) <= 1:
                    raise ValueError("is no share of 1")
                if (values[name] or 0) < 0:
                    raise ValueError("is below 0")
            except ValueError as error:
                raise ValueError(f"{path}:{line}: {cell!r} (column {name!r}) {error}") from error
        if not row["model_name"].strip():
            raise ValueError(f"{path}:{line}: the model's name is empty")
        test, other = row.get("test") or path.name, {name: row[name] for name in ("other", *more) if row.get(name)}
        model, fold = row["model_name"].strip(), row.get("fold", "").strip()
        runs.append(Made(model, values, test, str(path.resolve()), f"{path}:{line}", other, fold=fold))
    if not runs:
        raise ValueError(f"{path} has no runs below its header")
    # A column of one's own is a setting, but for one that is another in each row, as a date may be.
    single = [name for name in more if len({run.settings.get(name) for run in runs}) == len(runs) > 1]
    for run in runs:
        for name in single:
            run.settings.pop(name, None)
    notes = [f"the column {name} of {path.name} is not read, since it is another in each row" for name in single]
    if taken := [name for name in more if name not in single]:
        notes.append(f"columns of {path.name} are taken for settings: {listed(taken)}")
    return runs, opened.notes + notes


def without_repeated(runs: Sequence[Made]) -> tuple[list[Made], list[str]]:
    """The runs without those that differ from a later one in nothing, and notes that name them."""
    last: dict[Any, Made] = {}
    notes = []
    for number, run in enumerate(sorted(runs, key=lambda run: run.started)):
        seed = run.values["seed"]
        same: Any = (run.test, run.texts, key_of(run), run.fold, f"unknown {number}" if seed is None else seed)
        if not run.started:  # of a table, where no run can be one that was made again
            same += (run.values["f1"], run.values["accuracy"])
        if same in last:
            later = ", made later" if run.started > last[same].started else ""
            notes.append(f"{last[same].place} left out: {run.place} is the same run{later}")
        last[same] = run
    kept = {id(run) for run in last.values()}
    return [run for run in runs if id(run) in kept], notes


def key_of(run: Made) -> tuple[Any, ...]:
    """What runs of one configuration have in common: all but the seed and the fold."""
    numbers = tuple(run.values.get(name) for name in OWN_COLUMNS if name != "seed")
    return run.model, numbers, json.dumps(run.settings, sort_keys=True, default=str)


def listed(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items))
