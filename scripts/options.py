"""Options that several scripts take."""

import argparse


def add_data_options(options: argparse.ArgumentParser) -> None:
    data = options.add_argument_group("data")
    data.add_argument("--data", default="jrte", help="jrte, sample, or a .tsv, .csv or .jsonl file (%(default)s)")
    data.add_argument("--data-path", metavar="FILE", help="jrte's pn.tsv on this disk, instead of a download")
    data.add_argument("--text-column", default="text", metavar="NAME", help="(%(default)s)")
    data.add_argument("--label-column", default="label", metavar="NAME", help="(%(default)s)")
    data.add_argument("--split-column", metavar="NAME", help="holds train, dev, test (split, where there is one)")
    data.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or go on without them")


def add_machine_options(options: argparse.ArgumentParser) -> None:
    machine = options.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (auto: a GPU where there is one)")
