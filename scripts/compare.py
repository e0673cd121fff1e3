"""Compare ways of training: every method with every seed on the same texts, and their differences.

python scripts/compare.py --method r-drop --method "fgm + ema:decay=0.999" --seeds 5 -- --model mini --data jrte
python scripts/compare.py --method "--hidden-dropout 0.2" --method "--epochs 8 --patience 2" -- --data reviews.csv
python scripts/compare.py --method "--leave-out RUN/suspects.csv" -- --data reviews.csv
"""

import argparse

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive
from tezukuri.scripts.study_options import add_study_options, study_of
from tezukuri.train.comparison import compare
from tezukuri.train.study import refuse_failed


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
    options.add_argument("--seeds", type=positive, default=5, help="how many: 1, 2, … (%(default)s)")
    options.add_argument("--pairs-of", type=int, default=0, metavar="K", help="then the pairs of the K best on dev too")
    options.add_argument("--soup", action="store_true", help="keep all models, and average the best of them greedily")
    add_study_options(options, "outputs/study")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    more = {"seeds": options.seeds, "pairs_of": options.pairs_of, "soup": options.soup}
    study = study_of(options, judge_train=True, **more)
    print(compare(study))
    files = [study.folder / name for name in ("comparison.md", "runs.csv", "curves.png")]
    print("\n".join(f"study   {file}" for file in files if file.is_file()))
    refuse_failed(study.folder)
    return 0


if __name__ == "__main__":
    run_file(__file__)
