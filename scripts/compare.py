"""Compare ways of training: every method with every seed on the same texts, and their differences.

python scripts/compare.py --method r-drop --method "fgm + ema:decay=0.999" --seeds 5 -- --model mini --data jrte
python scripts/compare.py --method "--hidden-dropout 0.2" --method "--epochs 8 --patience 2" -- --data reviews.csv
python scripts/compare.py --method "--leave-out RUN/suspects.csv" -- --data reviews.csv
"""

import argparse
import sys
from pathlib import Path

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_options, plan_of, positive
from tezukuri.train.plan import Plan
from tezukuri.train.study import Study, compare


def parser() -> argparse.ArgumentParser:
    options = parser_of("compare", __doc__)
    options.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="METHOD",
        help="a regularizer, several joined by ' + ', or options of finetune (--method='--epochs 8'); once for each. "
        "The run without any, the baseline, is always there",
    )
    options.add_argument("--lr", action="append", type=float, help="a learning rate to try all with; once for each")
    options.add_argument("--seeds", type=positive, default=5, help="how many: 1, 2, … (%(default)s)")
    options.add_argument("--pairs-of", type=int, default=0, metavar="K", help="then the pairs of the K best on dev too")
    options.add_argument("--soup", action="store_true", help="keep all models, and average the best of them greedily")
    options.add_argument("--jobs", type=positive, default=1, help="runs at the same time (%(default)s)")
    options.add_argument("--study", type=Path, default=Path("outputs/study"), help="its folder (%(default)s)")
    options.add_argument("finetune", nargs="*", help="after --: options of finetune that all runs have")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    study = study_of(options)
    print(compare(study))
    print("\n".join(f"study   {study.folder / name}" for name in ("comparison.md", "runs.csv", "curves.png")))
    return 0


def study_of(options: argparse.Namespace) -> Study:
    """The study of a command line."""
    finetune = argparse.ArgumentParser(prog="finetune", allow_abbrev=False)
    add_options(finetune, Plan)
    return Study(
        options.method,
        options.finetune,
        [sys.executable, str(Path(__file__).with_name("finetune.py"))],
        lambda given: plan_of(Plan, finetune.parse_args(given)),
        options.study,
        options.lr or (),
        options.seeds,
        options.jobs,
        options.pairs_of,
        options.soup,
    )


if __name__ == "__main__":
    run_file(__file__)
