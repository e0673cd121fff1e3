"""Options that several scripts take, and what is made of them."""

import argparse

from tezukuri.data.dataset import Dataset
from tezukuri.data.load import load


def add_data_options(options: argparse.ArgumentParser) -> None:
    data = options.add_argument_group("data")
    data.add_argument("--data", default="jrte", help="jrte, sample, or a .tsv, .csv or .jsonl file (%(default)s)")
    data.add_argument("--data-path", metavar="FILE", help="jrte's pn.tsv on this disk, instead of a download")
    data.add_argument("--text-column", default="text", metavar="NAME", help="(%(default)s)")
    data.add_argument("--label-column", default="label", metavar="NAME", help="(%(default)s)")
    data.add_argument("--split-column", metavar="NAME", help="holds train, dev, test (split, where there is one)")
    data.add_argument("--split-seed", type=int, default=0, help="for a file without splits (%(default)s)")
    data.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or go on without them")


def read_data(options: argparse.Namespace) -> Dataset:
    return load(
        options.data,
        path=options.data_path,
        text_column=options.text_column,
        label_column=options.label_column,
        split_column=options.split_column,
        seed=options.split_seed,
        bad_rows=options.bad_rows,
    )


def add_device_option(options: argparse.ArgumentParser) -> None:
    options.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (auto: a GPU where there is one)")
