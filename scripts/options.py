"""Options that several scripts take, and what is made of them."""

import argparse
import atexit
import csv
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tezukuri.data.dataset import DataError, Dataset
from tezukuri.data.load import READERS, load
from tezukuri.model.ranks import rank
from tezukuri.train.checkpoint import FILE
from tezukuri.weights.files import read_json
from tezukuri.weights.find import SHIPPED


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def label_list(text: str) -> list[str]:
    """`negative, positive` → their names; empty and double ones are an error, for argparse."""
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be different names with commas between them")
    return names


def add_data_options(options: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    data = options.add_argument_group("data")
    names = ", ".join(READERS)
    data.add_argument("--data", default="sample", help=f"{names}, or a .tsv, .csv or .jsonl file (%(default)s)")
    data.add_argument("--data-path", metavar="FILE", help="jrte's pn.tsv on this disk, instead of a download")
    data.add_argument("--text-column", default="text", metavar="NAME", help="(%(default)s)")
    data.add_argument("--label-column", default="label", metavar="NAME", help="(%(default)s)")
    data.add_argument("--split-column", metavar="NAME", help="holds train, dev, test (split, where there is one)")
    data.add_argument("--split-seed", type=int, default=0, help="for a file without splits (%(default)s)")
    data.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or go on without them")
    return data


def read_data(options: argparse.Namespace) -> Dataset:
    data = load(
        options.data,
        path=options.data_path,
        text_column=options.text_column,
        label_column=options.label_column,
        split_column=options.split_column,
        seed=options.split_seed,
        bad_rows=options.bad_rows,
    )
    return without(data, Path(options.leave_out)) if getattr(options, "leave_out", None) else data


def without(data: Dataset, listed: Path) -> Dataset:
    """The data without the training texts in a CSV file, such as `suspects.csv` or what is left of it.

    Columns are `id`, and `split` where rows of other splits stand among them, which are passed over: what a model is
    judged on stays.

    Raises:
        DataError: the file has no column `id`, or names a text that is not in the training split.
    """
    there = {example.id for example in data.split("train")}
    ids = set()
    with listed.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "id" not in (rows.fieldnames or ()):
            raise DataError(f"{listed} has no column 'id': it should list training texts of {data.name} by their ids")
        for row in rows:
            if row.get("split", "train") != "train":
                continue
            if row["id"] not in there:
                raise DataError(f"{listed}:{rows.line_num}: no training text of {data.name} has the id {row['id']!r}")
            ids.add(row["id"])
    kept = [example for example in data.examples if example.split != "train" or example.id not in ids]
    return replace(
        data, examples=kept, notes=[*data.notes, f"{len(ids)} training texts left out, listed in {listed.name}"]
    )


def add_report_options(options: argparse.ArgumentParser) -> None:
    from tezukuri.eval.failures.page import LANGUAGES  # only here: predict has no page, and wants to start soon

    page = options.add_argument_group("page of all mistakes (report.html)")
    page.add_argument("--report", action=argparse.BooleanOptionalAction, default=True, help="make it at the end")
    page.add_argument("--language", choices=LANGUAGES, default="en", help="of the page (%(default)s)")


def add_device_option(options: argparse.ArgumentParser) -> None:
    options.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (auto: a GPU where there is one)")


def stopped_run(options: argparse.Namespace, arguments: list[str]) -> argparse.Namespace:
    """The options that the run of `--resume` was started with.

    Raises:
        ValueError: there is nothing to resume, or --resume stands beside another option.
    """
    run = Path(options.resume).resolve()
    others = [a for a in arguments if a.startswith("--") and a.split("=")[0] != "--resume"]
    if others:
        raise ValueError(f"--resume goes on with the options that the run was started with: leave out {others[0]}")
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is no run: it has no config.json")
    if not (run / FILE).is_file():
        raise ValueError(f"{run} has no {FILE}: it ended, stopped before its first one, or kept no checkpoints")
    before = read_json(run / "config.json").get("options")
    if not isinstance(before, dict):
        raise ValueError(f"{run / 'config.json'} does not tell the options that the run was started with")
    return argparse.Namespace(**vars(options) | before | {"resume": str(run)})


def with_own_folders(options: argparse.Namespace) -> argparse.Namespace:
    """Of several processes only the first keeps its files: what the others write goes away with them."""
    if rank():
        options.output_dir = tempfile.mkdtemp(prefix="tezukuri-")
        atexit.register(shutil.rmtree, options.output_dir, ignore_errors=True)
    return options


def with_whole_paths(options: argparse.Namespace) -> argparse.Namespace:
    """Options whose files and folders are given from the root, so that a run can be resumed from anywhere."""
    for name in ("data", "data_path", "model", "tokenizer", "leave_out"):
        value = getattr(options, name, None)
        if value and value not in (*READERS, "scratch", *SHIPPED) and Path(value).exists():
            setattr(options, name, str(Path(value).resolve()))
    if getattr(options, "regularizer", None):
        options.regularizer = [with_whole_path(text) for text in options.regularizer]
    if getattr(options, "text", None):
        options.text = [str(Path(path).resolve()) for path in options.text]
    return options


def with_whole_path(regularizer: str) -> str:
    """`mine.py:Mine` and `distillation:teacher=FOLDER` with the path given from the root."""
    file, _, rest = regularizer.partition(".py:")
    if rest:
        return f"{Path(file).resolve()}.py:{rest}"
    return re.sub(r"(?<=[:,]teacher=)[^,]+", lambda found: str(Path(found[0]).resolve()), regularizer)
