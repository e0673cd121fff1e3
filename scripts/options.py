"""Options of the scripts: made from the fields of a plan, and those that several scripts take."""

import argparse
import types
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from tezukuri.train.plan import DATA, DataOptions, Options

P = TypeVar("P", bound=Options)


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


def add_options(options: argparse.ArgumentParser, plan: type[Options], only: Sequence[str] | None = None) -> None:
    """An option for each field of a plan, under its name; `only` those groups, where given."""
    groups: dict[str, Any] = {"": options}
    hints = get_type_hints(plan)
    for one in fields(plan):
        told = dict(one.metadata)
        title = told.pop("group")
        if only is not None and title not in only:
            continue
        if title not in groups:
            groups[title] = options.add_argument_group(title)
        if "{shelf}" in told["help"]:
            from tezukuri.train.regularizers.shelf import SHELF  # only here: other commands want to start soon

            told["help"] = told["help"].replace("{shelf}", ", ".join(SHELF))
        hint = hints[one.name]
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType] or [hint]
        if told.pop("positive", False):
            told["type"] = positive
        elif told.pop("names", False):
            told["type"] = label_list
        elif kinds == [bool]:
            negatable = one.default is not False
            told["action"] = argparse.BooleanOptionalAction if negatable else "store_true"
        elif kinds[0] in (int, float):
            told["type"] = kinds[0]
        if not told.get("required"):
            told["default"] = one.default
        groups[title].add_argument(f"--{one.name.replace('_', '-')}", **told)


def add_data_options(options: argparse.ArgumentParser) -> None:
    add_options(options, DataOptions, only=[DATA])


def add_device_option(options: argparse.ArgumentParser) -> None:
    options.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (auto: a GPU where there is one)")


def plan_of(kind: type[P], options: argparse.Namespace) -> P:
    """The plan that a command line has filled."""
    names = {one.name for one in fields(kind)}
    return kind.of(**{name: value for name, value in vars(options).items() if name in names})


def refuse_beside_resume(arguments: list[str]) -> None:
    """ValueError where --resume stands beside another option."""
    others = [a for a in arguments if a.startswith("--") and a.split("=")[0] != "--resume"]
    if others:
        raise ValueError(f"--resume goes on with the options that the run was started with: leave out {others[0]}")
