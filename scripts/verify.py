"""Check a downloaded model against the answers that are published for it.

python scripts/verify.py tohoku-nlp/bert-base-japanese-v3
"""

import argparse
from pathlib import Path

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.weights.verify import ANSWERS, COSINE, ODDS, verify


def parser() -> argparse.ArgumentParser:
    options = parser_of("verify", __doc__)
    options.add_argument("model", help="hub id")
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--answers", type=Path, default=ANSWERS, help="JSON file of answers (those of this package)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 where all agree, else 1."""
    options = parser().parse_args(arguments)
    wrong = 0
    for check in verify(options.model, options.revision, options.answers):
        mark = "ok   " if check.agrees else "WRONG"
        print(f"{mark}  {check.published:<24} {check.found:<24} {check.what}", flush=True)
        wrong += not check.agrees
    print(f"\nTolerances: ids exactly, probabilities within {ODDS} in log-odds, cosines within {COSINE:g}.")
    print(f"{wrong} checks are WRONG." if wrong else "This model and this code agree with what is published.")
    return 1 if wrong else 0


if __name__ == "__main__":
    run_file(__file__)
