"""Adapt sentence vectors to a domain, and see what was learned, and what of general language was kept.

python scripts/adapt.py --data pairs.csv --text-column base --pair-column ref --label-column similarity --scale 0 1
python scripts/adapt.py --data jsts --guard stsb-ja
"""

import argparse
import shlex
import sys

from tezukuri.eval.encoder import DOCUMENT
from tezukuri.scripts.command import command_line, parser_of, run_file
from tezukuri.scripts.options import TRUST, add_options, plan_of, refuse_beside_resume
from tezukuri.train.adapt import AdaptPlan, adapt


def parser() -> argparse.ArgumentParser:
    options = parser_of("adapt", __doc__)
    add_options(options, AdaptPlan)
    options.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    options.add_argument("--trust", action="store_true", help=f"beside --resume: {TRUST}")
    return options


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if options.resume:
        refuse_beside_resume(arguments)
        run, _ = adapt(resume=options.resume, trust=options.trust)
    else:
        run, _ = adapt(plan_of(AdaptPlan, options), trust=options.trust)
    if run.plan.save_model == "best":
        model = shlex.quote(str(run.folder / "model"))
        assert run.vectors
        what_next = [f"embed --model {model} --file FILE.csv --output vectors.npy"]
        if prompt := next((name for name in DOCUMENT if name in run.vectors.prompts), None):  # as search has it
            what_next = [f"embed --model {model} --file FILE.csv --output vectors.npy --prompt {prompt}"]
        what_next += [f"search --model {model} --file FILE.csv 'QUERY'"]
        print("\nnext    " + "\n        ".join(f"{command_line()} {what}" for what in what_next))
    return 0


if __name__ == "__main__":
    run_file(__file__)
