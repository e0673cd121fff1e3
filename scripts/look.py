"""Look at labelled texts before training: lengths, labels, unknown tokens, votes, examples; one page, and pictures.

python scripts/look.py jsts
python scripts/look.py reviews.csv --text-column review --label-column stars --max-length 128
python scripts/look.py texts.csv --label-column none
"""

import argparse
import re
from pathlib import Path

from tezukuri.data.label_kinds import NOTHING
from tezukuri.data.label_names import remarks
from tezukuri.data.table import NONE
from tezukuri.eval.look.page import summary, write_look
from tezukuri.eval.look.survey import room_of, survey
from tezukuri.eval.runs import new_run
from tezukuri.eval.tasks.table import TASKS, kind_of_labels
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_data_options, add_task_option, plan_of, positive
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.train.plan import DataOptions
from tezukuri.weights.find import find


def parser() -> argparse.ArgumentParser:
    options = parser_of("look", __doc__)
    options.add_argument("source", nargs="?", metavar="DATA", help="the same as --data DATA")
    add_data_options(options)
    options.set_defaults(data=None, bad_rows="skip")
    add_task_option(options)
    options.add_argument(
        "--model", default="small", help="whose tokenizer: small, mini, a folder or hub id (%(default)s)"
    )
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--max-length", type=positive, metavar="N", help="show what this limit would cut, too")
    options.add_argument("--seed", type=int, default=0, help="of the examples (%(default)s)")
    options.add_argument("--output-dir", default="outputs", help="where the folder is made (%(default)s)")
    options.epilog = "Without labels: --label-column none. Bad rows are left out and listed (--bad-rows skip)."
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.source and options.data:
        raise ValueError(f"the data are given twice, as {options.source} and as {options.data}: give one of them")
    options.data = options.source or options.data or "sample"
    has_labels = options.label_column != NONE
    labels_are = kind_of_labels(options.task, options.pair_column is not None) if has_labels else NOTHING
    data = plan_of(DataOptions, options).read_data(labels_are)
    files = find(options.model, options.revision, weights=False)
    tokenizer = tokenizer_of(files.folder)
    room = room_of(files.folder, tokenizer, options.model)
    notes, separate = [*remarks(data), *tokenizer.notes], TASKS[options.task].separate
    found = survey(data, tokenizer, options.model, room, options.seed, notes, separate)
    folder = new_run(Path(options.output_dir) / "look", re.sub(r"[^\w.-]+", "-", data.name))
    page = write_look(folder, found, options.max_length)
    print("\n".join(summary(found, options.max_length)))
    print(f"\npage    {page}")
    return 0


if __name__ == "__main__":
    run_file(__file__)
