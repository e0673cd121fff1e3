"""JGLUE: inference (JNLI), similarity (JSTS), choice (JCommonsenseQA) and reading (JSQuAD). MARC-ja is in marc_ja.py.

Source: Kurihara, Kawahara and Shibata, "JGLUE: Japanese General Language Understanding Evaluation", LREC 2022;
https://github.com/yahoojapan/JGLUE, licence CC BY-SA 4.0. Its valid set is our dev, the one that papers and textbooks
report; its test set came later.

Version 1.3. Labels of JNLI changed with 1.2, so figures of 1.1 and before are not those of these files.

Lines of JSON, but for JSQuAD, which has the form of SQuAD 1.1; its contexts begin with the title and " [SEP] ".
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .dataset import DataError, Example, Span
from .distributed import File
from .reader import Card, Repository, elements, number_in, of_repository, one_of, read_each, tables, within
from .rows import RowError, Rows
from .table import cell, json_object, text_of

CLASSES = ("entailment", "contradiction", "neutral")
CHOICES = tuple(f"choice{n}" for n in range(5))
LICENCE = "CC BY-SA 4.0"
SOURCE = "Kurihara et al., LREC 2022; https://github.com/yahoojapan/JGLUE"


def repository(name: str, train: str, dev: str, test: str) -> Repository:
    """A data set's three files, with their hashes."""
    files = {
        split: (f"datasets/{name}-v1.3/{file}-v1.3.json", blob)
        for split, file, blob in (("train", "train", train), ("dev", "valid", dev), ("test", "test", test))
    }
    return Repository("yahoojapan/JGLUE", "6f071c09316baae89c3d083a90985b4b1cb9968c", files)


JNLI_FILES = repository(
    "jnli",
    "14d9948a80dc585cfd53eb358594b0722b937802",
    "bd1cf766540d75fb189a87a9a7c8e1a31e1565e0",
    "feee1a6643ca0ee2a888958db72aaeb5e0e1c845",
)
JSTS_FILES = repository(
    "jsts",
    "642d6e1b4de4d4429a651decc4d3b7c2eb09b34f",
    "8374a83973edc34788ecf0b3d52ae73048f518fe",
    "a03691150803d8f14084ef59ca477443343ec550",
)
JCOMMONSENSEQA_FILES = repository(
    "jcommonsenseqa",
    "4d11d31788cb22850b0a88d41a1ffdd13e8a180b",
    "1099679e5bc9a4d70f9ae6a6e7b41dca84897f99",
    "d4f935a1cf75da0c53849fb6f69c2dee63a23b0d",
)
JSQUAD_FILES = repository(
    "jsquad",
    "87b42821ac5487246164483d625b928bf8904344",
    "bcde414e0b7131607bb1fa2c4542dd888f68771a",
    "d767ef7eb4785f733eb46614980905b0bcbd3111",
)


def read_jnli(path: Path) -> Rows:
    """Premise and hypothesis, and whether the one entails or contradicts the other."""

    def parse(split: str, _: int, row: dict[str, Any]) -> Example:
        return pair(split, row, one_of(cell(row, "label"), CLASSES, "label"))

    return read_each(path, JNLI_FILES.paths(), tables(".jsonl", PAIR, parse))


def read_jsts(path: Path) -> Rows:
    """Two captions of pictures, and how alike their meanings are, from 0 to 5."""

    def parse(split: str, _: int, row: dict[str, Any]) -> Example:
        return pair(split, row, within(number_in(row, "label"), 0, 5))

    return read_each(path, JSTS_FILES.paths(), tables(".jsonl", PAIR, parse))


PAIR = ("sentence_pair_id", "sentence1", "sentence2", "label")


def pair(split: str, row: dict[str, Any], label: str | float) -> Example:
    id_ = f"{split}-{cell(row, 'sentence_pair_id')}"  # each file counts from 0
    return Example(id_, text_of(row, "sentence1"), label, split, pair=text_of(row, "sentence2"))


def read_jcommonsenseqa(path: Path) -> Rows:
    """A question and five answers, one of which is right."""

    def parse(split: str, _: int, row: dict[str, Any]) -> Example:
        label = row.get("label")
        if type(label) is not int or label not in range(len(CHOICES)):
            raise RowError(f"label {label!r} is not a number from 0 to {len(CHOICES) - 1}")
        choices = tuple(text_of(row, choice) for choice in CHOICES)
        return Example(f"{split}-{cell(row, 'q_id')}", text_of(row, "question"), label, split, choices=choices)

    columns = ("q_id", "question", *CHOICES, "label")
    return read_each(path, JCOMMONSENSEQA_FILES.paths(), tables(".jsonl", columns, parse))


def read_jsquad(path: Path) -> Rows:
    """A question and a context (`pair`), and all answers that its judges gave, as stretches of the context."""

    def parse(split: str, raw: str) -> Example:
        row = json_object(raw)
        context, answers = text_of(row, "context"), row.get("answers")
        if not isinstance(answers, list) or not answers:
            raise RowError("there is no answer")
        spans = tuple(answer_in(context, answer) for answer in answers)
        return Example(cell(row, "id"), text_of(row, "question"), spans, split, pair=context)

    return read_each(
        path, JSQUAD_FILES.paths(), lambda split, file: (questions(file), lambda _, raw: parse(split, raw))
    )


def questions(file: File) -> Iterator[tuple[int, str]]:
    """(line of its article, question with its context as JSON)."""
    for line, raw in elements(file, "data"):
        try:
            asked = [(q, p["context"]) for p in json.loads(raw)["paragraphs"] for q in p["qas"]]
            texts = [json.dumps(q | {"context": context}, ensure_ascii=False) for q, context in asked]
        except (KeyError, TypeError) as error:
            raise DataError(f"{file.place}:{line}: an article is not in the form of SQuAD ({error!r})") from error
        yield from ((line, text) for text in texts)


def answer_in(context: str, answer: Any) -> Span:
    text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
    if not isinstance(text, str) or type(start) is not int:
        raise RowError(f"an answer has no text or no answer_start: {answer!r}")
    if not text or start < 0 or context[start : start + len(text)] != text:
        raise RowError(f"the answer {text!r} does not stand at character {start} of the context")
    return Span(start, start + len(text))


JNLI = of_repository(
    "jnli",
    read_jnli,
    CLASSES,
    JNLI_FILES,
    Card(
        "classify",
        "whether a caption of a picture entails another (version 1.3)",
        "20,073 / 2,434 / 2,508",
        LICENCE,
        SOURCE,
    ),
)
JSTS = of_repository(
    "jsts",
    read_jsts,
    ("score",),
    JSTS_FILES,
    Card(
        "score",
        "how alike two captions are in meaning, 0 to 5 (version 1.3)",
        "12,451 / 1,457 / 1,589",
        LICENCE,
        SOURCE,
    ),
)
JCOMMONSENSEQA = of_repository(
    "jcommonsenseqa",
    read_jcommonsenseqa,
    ("choice",),
    JCOMMONSENSEQA_FILES,
    Card(
        "choose",
        "questions of common sense with five answers (version 1.3)",
        "8,939 / 1,119 / 1,118",
        LICENCE,
        SOURCE,
    ),
)
JSQUAD = of_repository(
    "jsquad",
    read_jsquad,
    ("answer",),
    JSQUAD_FILES,
    Card(
        "span",
        "questions about paragraphs of Wikipedia, answered by a stretch of them (version 1.3)",
        "62,859 / 4,442 / 4,420",
        LICENCE,
        SOURCE,
    ),
)
