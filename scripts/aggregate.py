"""Put runs of finetune into one table: the best of each model, and which of them cannot be told apart.

python scripts/aggregate.py outputs
python scripts/aggregate.py outputs/small outputs/mini runs.csv --output results

Writes all.csv, best.csv, aggregate.html, and a picture of costs for each set of test texts.
"""

import argparse
from pathlib import Path

from tezukuri.eval.plots import write_picture
from tezukuri.eval.runs import write_csv
from tezukuri.eval.study.aggregate import all_rows, best_rows, tables_of, told
from tezukuri.eval.study.made import read_all
from tezukuri.eval.study.page import write_page
from tezukuri.eval.study.pictures import cost_png
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.train.models import parameters_of

FILES = {"all.csv": all_rows, "best.csv": best_rows}


def parser() -> argparse.ArgumentParser:
    options = parser_of("aggregate", __doc__)
    what = "a folder, below which runs lie; or a .csv of runs, such as an all.csv"
    options.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help=what)
    options.add_argument("--output", type=Path, default=Path("results"), help="for tables and page (%(default)s)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.output.exists() and not options.output.is_dir():
        raise ValueError(f"{options.output} is a file: choose another --output")
    written = [options.output / name for name in FILES]
    for path in options.runs:
        if path.resolve() in [file.resolve() for file in written]:
            raise ValueError(f"{path} would be written over: choose another --output")
    runs, notes = read_all(options.runs)
    known = parameters_of("hpprc")
    if told_there := [run for run in runs if run.values["parameters"] is None and run.model in known]:
        for run in told_there:
            run.values["parameters"] = known[run.model]
        names = ", ".join(dict.fromkeys(run.model for run in told_there))
        notes.append(f"taken from train/models.toml: the number of parameters of {names}")
    tables = tables_of(runs)
    for note in notes:
        print(f"note    {note}")
    print("\n\n".join(told(one) for one in tables))
    options.output.mkdir(parents=True, exist_ok=True)
    for file, rows_of in zip(written, FILES.values(), strict=True):
        write_csv(file, rows_of(tables))
    for number, one in enumerate(tables, start=1):
        if one.costs:
            written.append(options.output / f"cost-{number}.png")
            write_picture(written[-1], cost_png, one.costs)
    written.append(write_page(options.output, tables, notes))
    print("\nfiles   " + "\n        ".join(map(str, written)))
    return 0


if __name__ == "__main__":
    run_file(__file__)
