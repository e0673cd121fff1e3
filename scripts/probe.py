"""Probe a classifier with texts from templates: what it can do, what should not change its answer, and what should.

python scripts/probe.py --model outputs/…/model
python scripts/probe.py mine.toml --model outputs/…/model --output probes.json

eval/failures/probes.py describes the file; without one, the probes are those of this package, for hotel reviews.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tezukuri.eval.failures.analysis import score_probes
from tezukuri.eval.failures.page import example, expected, translator
from tezukuri.eval.failures.probes import BUNDLED, ProbeRow, read_probes
from tezukuri.eval.predict import Scorer, how_to_cut
from tezukuri.eval.runs import write_json
from tezukuri.eval.tasks.table import task_of_model
from tezukuri.model.heads import ClassHead
from tezukuri.model.precision import choose_device
from tezukuri.model.ranks import rank
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_classifier_options
from tezukuri.weights.load import load_ready_classifier

SHOWN = 3  # failing examples of a template


def parser() -> argparse.ArgumentParser:
    options = parser_of("probe", __doc__)
    options.add_argument("file", nargs="?", type=Path, default=BUNDLED, metavar="FILE", help="probes, as TOML")
    add_classifier_options(options)
    options.add_argument("--output", type=Path, metavar="FILE", help="write all of it as JSON too")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    probes = read_probes(options.file)
    loaded = load_ready_classifier(options.model, options.labels, options.revision, head=ClassHead)
    model = loaded.model.to(choose_device(options.device))
    how, said = how_to_cut(model, loaded.cut)
    for sentence in said:
        print(f"note    {sentence}")
    task = task_of_model(model.labels, type(model.classifier), loaded.task)
    rows = score_probes(Scorer(model, loaded.tokenizer, task, how), probes)
    for line in table(rows):
        print(line)
    if options.output and not rank():
        write_json(options.output, [asdict(row) for row in rows])
        print(f"\nprobes  {options.output}")
    return 0


def table(rows: Sequence[ProbeRow]) -> Iterator[str]:
    """The pass rate of each template, with failing examples, and of all."""
    heading, translate = None, translator("en")
    for row in rows:
        own = f"\n{row.kind}  {row.name}, expected: {expected(row, translate)}"
        if own != heading:
            yield (heading := own)
        yield f"{row.rate:>7.1%}  {row.passed} of {row.n}  {row.template}"
        for case in row.failures[:SHOWN]:
            yield f"           {example(case, row)}"
        if len(row.failures) > SHOWN:
            yield f"           … and {len(row.failures) - SHOWN} more"
    passed, n = sum(row.passed for row in rows), sum(row.n for row in rows)
    yield f"\n{passed / n:>7.1%}  {passed} of {n}  all"


if __name__ == "__main__":
    run_file(__file__)
