"""Options of the commands that make a study, `compare` and `sweep`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tezukuri.data.folds import parse_fold
from tezukuri.scripts.command import main as command
from tezukuri.scripts.options import add_options, plan_of, positive
from tezukuri.train.on_ray import OnRay
from tezukuri.train.places import Here, Place
from tezukuri.train.plan import Plan
from tezukuri.train.study import Study


def add_study_options(options: argparse.ArgumentParser, folder: str) -> None:
    """But `--method` and `--seeds`, which each says in its own words."""
    options.add_argument(
        "--lrs",
        "--lr",
        nargs="+",
        action="extend",
        type=float,
        default=[],
        metavar="RATE",
        help="learning rates to try all with (finetune's own)",
    )
    options.add_argument("--jobs", type=positive, default=1, help="runs at the same time on a machine (%(default)s)")
    options.add_argument(
        "--ray", metavar="ADDRESS", help="make the runs on a Ray cluster (auto: the one that runs here)"
    )
    options.add_argument("--only", type=part, default=(1, 1), metavar="K/N", help="of N parts of the runs the K-th")
    options.add_argument("--study", type=Path, default=Path(folder), help="its folder (%(default)s)")
    options.add_argument("finetune", nargs="*", help="after --: options of finetune that all runs have")


def part(text: str) -> tuple[int, int]:
    """`parse_fold`, for argparse, which has its own words for a ValueError."""
    try:
        return parse_fold(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def study_of(options: argparse.Namespace, **more: Any) -> Study:
    """The study of a command line; `more` are fields of it."""
    finetune = argparse.ArgumentParser(prog="finetune", allow_abbrev=False)
    add_options(finetune, Plan)

    def plan(given: Sequence[str]) -> Plan:
        return plan_of(Plan, finetune.parse_args(given))

    lrs, methods = once("rate", options.lrs), once("method", options.method)
    place: Place
    if options.ray:
        place = OnRay(options.ray, options.jobs, command)
    else:
        finetune_file = str(Path(__file__).with_name("finetune.py"))
        place = Here([sys.executable, finetune_file], options.jobs, plan(options.finetune).device)
    return Study(methods, options.finetune, plan, place, options.study, lrs=lrs, only=options.only, **more)


def once(what: str, values: Sequence[Any]) -> list[Any]:
    """Each value once; what was given twice is told."""
    for value in dict.fromkeys(value for number, value in enumerate(values) if value in values[:number]):
        print(f"note    the {what} {value} is given several times: it is taken once")
    return list(dict.fromkeys(values))
