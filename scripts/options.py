"""Options of the scripts: from the fields of a plan, and those of several scripts."""

import argparse
import types
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from tezukuri.data.encodings import AUTO
from tezukuri.eval.tasks.classify import Classify
from tezukuri.eval.tasks.table import TASKS
from tezukuri.model.precision import PRECISIONS
from tezukuri.model.vectors import LOSSES
from tezukuri.train.plan import DATA, ENCODING, DataOptions, Options

TRUST = "run its own regularizers also from a changed file, or in another user's folder"
P = TypeVar("P", bound=Options)


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def label_list(text: str) -> list[str]:
    """`negative, positive` → their names, which must differ, for argparse."""
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be different names with commas between them")
    return names


def add_options(options: argparse.ArgumentParser, plan: type[Options], only: Sequence[str] | None = None) -> None:
    """An option for each field of a plan, by its name; of `only` some groups, where given."""
    groups: dict[str, Any] = {"": options}
    hints = get_type_hints(plan)
    for one in fields(plan):
        arguments = dict(one.metadata)
        title = arguments.pop("group")
        if only is not None and title not in only:
            continue
        if title not in groups:
            groups[title] = options.add_argument_group(title)
        if "{shelf}" in arguments["help"]:
            from tezukuri.train.regularizers.shelf import SHELF  # other commands start faster without it

            arguments["help"] = arguments["help"].replace("{shelf}", ", ".join(SHELF))
        arguments["help"] = (
            arguments["help"].replace("{tasks}", ", ".join(TASKS)).replace("{losses}", ", ".join(LOSSES))
        )
        hint = hints[one.name]
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType] or [hint]
        if arguments.pop("positive", False):
            arguments["type"] = positive
        elif arguments.pop("names", False):
            arguments["type"] = label_list
        elif kinds == [bool]:
            negatable = one.default is not False
            arguments["action"] = argparse.BooleanOptionalAction if negatable else "store_true"
        elif kinds[0] in (int, float):
            arguments["type"] = kinds[0]
        if not arguments.get("required"):
            arguments["default"] = one.default
        groups[title].add_argument(f"--{one.name.replace('_', '-')}", **arguments)


def add_data_options(options: argparse.ArgumentParser) -> None:
    add_options(options, DataOptions, only=[DATA])


def add_task_option(options: argparse.ArgumentParser) -> None:
    """What the labels of a file of one's own are; data sets with a name say it themselves."""
    told = "what the labels of a file are for (%(default)s)"
    options.add_argument("--task", choices=list(TASKS), default=Classify.name, help=told)


def add_classifier_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--model", required=True, help="folder or hub id of a classifier")
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    names = "names of the head's rows, in order, with commas: negative,positive"
    options.add_argument("--labels", type=label_list, help=names)
    add_device_option(options)


def add_encoder_options(options: argparse.ArgumentParser) -> None:
    """Those of `embed` and `search`: the model, and the file with the texts."""
    options.add_argument("--model", default="small", help="the folder or hub id of an encoder (%(default)s)")
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--file", required=True, help="the texts: .csv, .tsv or .jsonl; any other has a text a line")
    options.add_argument("--text-column", metavar="NAME", help="of a table or of JSON objects (text)")
    options.add_argument("--encoding", default=AUTO, metavar="NAME", help=ENCODING)
    options.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or go on without them")
    options.add_argument("--max-length", type=positive, help="tokens; longer texts are cut (as the model says)")
    options.add_argument("--batch-size", type=positive, help="texts at a time (default 64, on a GPU 256)")
    options.add_argument("--precision", choices=["auto", *PRECISIONS], default="auto", help="(auto)")
    add_device_option(options)


def add_device_option(options: argparse.ArgumentParser) -> None:
    options.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (auto: a GPU where there is one)")


def plan_of(kind: type[P], options: argparse.Namespace) -> P:
    """The plan of a command line."""
    names = {one.name for one in fields(kind)}
    return kind.of(**{name: value for name, value in vars(options).items() if name in names})


def refuse_beside_resume(arguments: list[str]) -> None:
    """ValueError where --resume stands beside another option."""
    others = [a for a in arguments if a.startswith("--") and a.split("=")[0] not in ("--resume", "--trust")]
    if others:
        raise ValueError(f"--resume goes on with the options that the run was started with: leave out {others[0]}")
