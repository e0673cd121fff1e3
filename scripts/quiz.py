"""Guess the labels of a run's most confident errors, and then see the labels and the model's answers.

python scripts/quiz.py outputs/small/2026-11-27/12-00-00
python scripts/quiz.py RUN --mixed --page
"""

import argparse
import sys
from pathlib import Path

from tezukuri.eval.look.quiz import QUESTIONS, SPLITS, answer_lines, ask, quiz_of, write_quiz
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive


def parser() -> argparse.ArgumentParser:
    options = parser_of("quiz", __doc__)
    options.add_argument("run", type=Path, metavar="RUN", help="a run folder of finetune or evaluate")
    options.add_argument("--split", choices=SPLITS, help="of which texts (the first of these that the run has)")
    options.add_argument("--number", type=positive, default=QUESTIONS, metavar="N", help="of questions (%(default)s)")
    options.add_argument("--mixed", action="store_true", help="half of them errors, half not, drawn at random")
    options.add_argument("--page", action="store_true", help="write a page, quiz.html, instead of asking here")
    options.add_argument("--seed", type=int, default=0, help="of the order, and of what is drawn (%(default)s)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    quiz = quiz_of(options.run, options.split, options.number, options.seed, options.mixed)
    print("\n".join(quiz.remarks))
    if not quiz.questions:
        return 0
    if options.page or not sys.stdin.isatty():
        print("" if options.page else "standard input is no terminal, so that the questions are on a page\n", end="")
        print(f"page    {write_quiz(options.run, quiz)}")
        return 0
    answers = ask(quiz, sys.stdin.readline, lambda text: print(text, end="", flush=True))
    print("\n".join(answer_lines(quiz, answers)))
    return 0


if __name__ == "__main__":
    run_file(__file__)
