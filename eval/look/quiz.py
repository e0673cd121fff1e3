"""A quiz on the predictions of a run: the reader guesses labels that the model had wrong, and then sees both.

Whoever knows that all questions are errors also knows that the obvious answer is wrong, and the model has none of them
right because they were chosen so. `mixed` draws as many right predictions as errors, and both at random: weighted with
their shares of the split (stratified sampling), what the reader had right estimates what he would have right of all.

Where answers are spans or several labels, the model's answer is shown, and what is wrong about it is asked (faults.py).
"""

import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data.label_kinds import number_of
from ...data.rows import shown
from ...weights.files import read_json
from ..runs import read_predictions, write_whole
from ..tasks.metrics import scores_of_ranks
from .faults import FAULTS, RIGHT, said, task_of
from .page import LONGEST_TEXT, begun, environment

SPLITS = ("test", "dev", "all", "train")  # the first that a run has predictions of
QUESTIONS = 10
FAIRER = "--mixed is a fairer contest"
BY_RANK = "cosines were not learned as scores: each of the model's answers counts as the score of the same rank"

Answer = str | float | None  # a guess; None where the question was skipped


@dataclass(frozen=True)
class Question:
    id: str
    text: str
    pair: str | None
    options: tuple[str, ...]  # empty where a number is asked for
    gold: Any
    predicted: Any
    probability: float | None  # of what was predicted
    votes: dict[str, int]
    answer: str = ""  # the model's in words, where the kind of its error is asked: then RIGHT is what it predicted
    truth: str = ""  # the right one, likewise

    @property
    def hit(self) -> bool:
        """Whether the model had it right."""
        return self.predicted == self.gold

    def won(self, guess: Answer) -> bool:
        """Whether a guess is right, or, of a number, nearer than the model's."""
        return guess is not None and (
            guess == self.gold if self.options else self.off(guess) < self.off(self.predicted)
        )

    def model_won(self, guess: Answer) -> bool:
        """Whether the model's answer is right, or nearer than a guess."""
        return guess is not None and (self.hit if self.options else self.off(guess) > self.off(self.predicted))

    def off(self, number: Any) -> float:
        return abs(float(number) - float(self.gold))


@dataclass(frozen=True)
class Quiz:
    name: str  # of the run and the split
    questions: list[Question]
    remarks: list[str]  # how they were chosen
    accuracy: float | None  # of the model on the whole split, where `mixed`
    scores: bool


def quiz_of(run: Path, split: str | None = None, n: int = QUESTIONS, seed: int = 0, mixed: bool = False) -> Quiz:
    """The n most confident errors in a run's predictions (of scores the largest), in random order by the seed.

    Raises:
        ValueError: there are no predictions, or no options for one of them.
    """
    there = [name for name in SPLITS if (run / f"predictions-{name}.jsonl").is_file()]
    if not there:
        raise ValueError(f"{run} has no predictions-<split>.jsonl: give the folder of a finished run")
    if split and split not in there:
        raise ValueError(f"{run} has no predictions of {split}, but of {', '.join(there)}")
    split = split or there[0]
    rows = read_predictions(run, split) or []
    task = task_of(rows)
    every = list(questions_of(run, rows) if task is None else questions_on_faults(task, rows, mixed))
    scores = bool(every) and not every[0].options
    ordered = scores and learned_order(run)
    if ordered:
        told = scores_of_ranks(*(np.array([getattr(q, what) for q in every]) for what in ("predicted", "gold")))
        every = [replace(q, predicted=float(f"{score:.6g}")) for q, score in zip(every, told.tolist(), strict=True)]
    errors = [one for one in every if not one.hit]
    of = f"{len(errors):,} of the {len(every):,} texts of {split}"
    draw = random.Random(seed)
    accuracy = None
    if mixed and scores:
        chosen = draw.sample(every, min(n, len(every)))
        remarks = [f"{len(chosen)} of {len(every):,} texts of {split}, drawn at random; the nearer guess wins"]
    elif mixed:
        hits = [one for one in every if one.hit]
        wrong = min(len(errors), max(n // 2, n - len(hits)))
        right = min(len(hits), n - wrong)
        chosen = draw.sample(errors, wrong) + draw.sample(hits, right)
        accuracy = len(hits) / max(len(every), 1)
        remarks = [f"{wrong} errors of the model and {right} right answers, drawn at random; it is wrong on {of}"]
    elif not errors:
        chosen = []
        remarks = [
            f"no text of {split} is wrong, of {len(every):,}: there is nothing to guess; --mixed asks about others"
        ]
    elif scores:
        chosen = sorted(errors, key=lambda one: -one.off(one.predicted))[:n]
        remarks = [f"the {len(chosen)} largest errors of the model on the {len(every):,} texts of {split}: {FAIRER}"]
    else:
        chosen = sorted(errors, key=lambda one: -(one.probability or 0))[:n]
        remarks = [f"the {len(chosen)} most confident errors of the model, which is wrong on {of}: {FAIRER}"]
    if chosen and len(chosen) < n:
        remarks.append(f"there are no more than {len(chosen)}")
    if ordered:
        remarks.append(BY_RANK)
    if scores:
        remarks.append(f"scores go from {min(q.gold for q in every):g} to {max(q.gold for q in every):g}")
    draw.shuffle(chosen)
    return Quiz(f"{run.resolve().name}, {split}", chosen, remarks, accuracy, scores)


def learned_order(run: Path) -> bool:
    """Whether the numbers that a run tells were not learned as scores: then no distance is among its measures."""
    return any("pearson" in found and "mae" not in found for found in map(read_json, run.glob("*-metrics.json")))


def questions_of(run: Path, rows: Sequence[dict[str, Any]]) -> Iterator[Question]:
    """The rows of predictions as questions, with the classes, or the row's own choices, as options."""
    if rows and all(row["label"] is None for row in rows):
        raise ValueError(f"{run} has learned from texts without labels, which no answer can be held against")
    named = [tuple(row.get("probabilities") or ()) for row in rows]
    alike = len(set(named)) == 1  # classes; choices are others in each row
    labels = [str(row[what]) for row in rows for what in ("label", "predicted")] if alike else []
    for row, own in zip(rows, named, strict=True):
        options = tuple(dict.fromkeys([*own, *(labels or [row["label"], row["predicted"]])])) if own else ()
        if not options and not isinstance(row["label"], int | float):
            raise ValueError(f"{run} has a prediction without probabilities, of {row['id']}: nothing can be chosen")
        shares = row.get("probabilities") or {}
        yield Question(
            str(row["id"]), row.get("text", ""), row.get("pair"), options, row["label"], row["predicted"],
            shares.get(row["predicted"], max(shares.values(), default=None)), row.get("votes") or {},
        )  # fmt: skip


def questions_on_faults(task: str, rows: Sequence[dict[str, Any]], mixed: bool) -> Iterator[Question]:
    """The rows of predictions as questions for the kind of error; none is an option where it may be so."""
    kinds, fault_of = FAULTS[task]
    for row in rows:
        fault = fault_of(row)
        options = (*kinds, RIGHT) if mixed else kinds
        yield Question(
            str(row["id"]), row.get("text", ""), row.get("pair"), options, fault.kind, RIGHT, fault.probability, {},
            said(row["predicted"]), said(row["label"]),
        )  # fmt: skip


# --- the terminal -----------------------------------------------------------------------------------------------


def ask(quiz: Quiz, read: Callable[[], str], write: Callable[[str], None]) -> list[Answer]:
    """Put the questions; `read` gives a line, or "" at the end. Returns an answer for each question that was put."""
    answers: list[Answer] = []
    for number, question in enumerate(quiz.questions, start=1):
        write(f"\n{number} of {len(quiz.questions)}\n{paragraphs(question)}\n")
        for place, option in enumerate(question.options, start=1):
            write(f"  {place}  {shown(option)}\n")
        while True:
            write("your guess, a number (Enter: skip, q: end): ")
            line = read()
            if not line or plain(line) == "q":
                write("" if line else "\n")
                return answers
            try:
                answers.append(guess_of(line, question))
                break
            except ValueError as error:
                write(f"  {error}\n")
    return answers


def plain(line: str) -> str:
    return unicodedata.normalize("NFKC", line).strip().lower()


def guess_of(line: str, question: Question) -> Answer:
    """What was typed: None for nothing; ValueError for what is no answer."""
    typed = plain(line)
    if not typed:
        return None
    if not question.options:
        try:
            return number_of(typed)
        except ValueError:
            raise ValueError(f"{shown(typed)!r} is no number") from None
    if typed.isdecimal() and 1 <= int(typed) <= len(question.options):
        return question.options[int(typed) - 1]
    if len(named := [option for option in question.options if plain(option) == typed]) == 1:
        return named[0]
    raise ValueError(f"{shown(typed)!r} is none of 1 to {len(question.options)}")


def paragraphs(question: Question) -> str:
    texts = [question.text, *([] if question.pair is None else [question.pair])]
    lines = [f"  {shown(line)}" for text in texts for line in begun(text, LONGEST_TEXT).split("\n")]
    return "\n".join([*lines, *([f"  the model says: {shown(question.answer)}"] if question.answer else [])])


def answer_lines(quiz: Quiz, answers: Sequence[Answer]) -> Iterator[str]:
    """What was right, what the model said, and who did better, of the questions that were put."""
    for number, (question, guess) in enumerate(zip(quiz.questions, answers, strict=False), start=1):
        yield f"\n{number}  {shown(begun(question.text.replace(chr(10), ' ')))}  ({shown(question.id)})"
        sure = "" if question.probability is None else f" ({question.probability:.3f})"
        both = f"right: {told(question.gold)}   model: {told(question.predicted)}{sure}"
        if question.answer:
            both = f"{question.gold}   right: {shown(question.truth)}   model: {shown(question.answer)}{sure}"
        yield f"   {both}   you: {verdict(question, guess)}"
        if question.votes:
            yield f"   votes: {', '.join(f'{shown(name)} {n}' for name, n in question.votes.items() if n)}"
    yield ""
    yield from score_lines(quiz, answers)


def told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else shown(str(value))


def verdict(question: Question, guess: Answer) -> str:
    if guess is None:
        return "–"
    better, worse = ("right", "wrong") if question.options else ("nearer", "not nearer")
    return f"{told(guess)}, {better if question.won(guess) else worse}"


def score_lines(quiz: Quiz, answers: Sequence[Answer]) -> Iterator[str]:
    """The reader against the model, on what he answered."""
    pairs = [(q, guess) for q, guess in zip(quiz.questions, answers, strict=False) if guess is not None]
    if not pairs:
        yield "you guessed none"
        return
    n = len(pairs)
    you, model = sum(q.won(guess) for q, guess in pairs), sum(q.model_won(guess) for q, guess in pairs)
    skipped = f"; {len(quiz.questions) - n} not answered" if n < len(quiz.questions) else ""
    if quiz.scores:
        yield f"you were nearer on {you} of {n}, the model on {model}{skipped}"
        return
    why = ": these are its errors" if quiz.accuracy is None else ""
    yield f"you {you} of {n}, the model {model} of {n}{why}{skipped}"
    hits, errors = ([q.won(guess) for q, guess in pairs if q.hit is hit] for hit in (True, False))
    if quiz.accuracy is not None and hits and errors:
        share = quiz.accuracy * sum(hits) / len(hits) + (1 - quiz.accuracy) * sum(errors) / len(errors)
        yield f"in proportion to the whole split: you about {share:.0%}, the model {quiz.accuracy:.1%}"


# --- the page ---------------------------------------------------------------------------------------------------


def write_quiz(run: Path, quiz: Quiz) -> Path:
    """Write `quiz.html` into the folder of the run: the questions, and hidden below them the answers."""
    text = environment().get_template("quiz.html").render(quiz=quiz, most=LONGEST_TEXT, told=told)
    write_whole(run / "quiz.html", text)
    return run / "quiz.html"
