"""Check a downloaded model against the answers that are published for it.

python scripts/verify.py tohoku-nlp/bert-base-japanese-v3
python scripts/verify.py downloads/bert --of tohoku-nlp/bert-base-japanese-v3
"""

import argparse
from pathlib import Path

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.weights.verify import ANSWERS, COSINE, KINDS, ODDS, facts_of, verify


def parser() -> argparse.ArgumentParser:
    options = parser_of("verify", __doc__)
    options.add_argument("model", help="hub id, or the folder of a copy")
    options.add_argument("--of", metavar="NAME", help="hub id of the model that a folder is a copy of")
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--answers", type=Path, default=ANSWERS, help="JSON file of answers (those of this package)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 where all agree, else 1."""
    options = parser().parse_args(arguments)
    wrong = 0
    facts = facts_of(options.model, options.answers, options.of)
    for check in verify(options.model, options.revision, options.answers, options.of):
        mark = "ok   " if check.agrees else "WRONG"
        print(f"{mark}  {check.published:<24} {check.found:<24} {check.what}", flush=True)
        wrong += not check.agrees
    print(f"\nTolerances: ids exactly, probabilities within {ODDS} in log-odds, cosines within {COSINE:g}.")
    if unknown := [what for kind, what in KINDS.items() if kind not in facts]:
        print(f"Not checked, as no answers are known here: {', '.join(unknown)}.")
    print(f"{wrong} checks are WRONG." if wrong else "This model and this code agree with what is published.")
    return 1 if wrong else 0


if __name__ == "__main__":
    run_file(__file__)
