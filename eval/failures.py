"""Every text that a classifier has wrong, with what may tell why: attribution, neighbours, kinds of texts, judges.

Letters: n texts of a split, C classes.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.dataset import Example
from ..model.heads import BertClassifier
from ..tokenize.encoding import EncodedBatch
from ..tokenize.japanese import JapaneseTokenizer
from ..weights.load import load
from .attribution import integrated_gradients, occlusion
from .intervals import intervals
from .judge import Judgement
from .neighbours import nearest, representations
from .runs import write_jsonl, write_whole
from .slices import Rule, SliceRow, built_in, read, search, table, tag
from .suspects import out_of_sample, suspects
from .votes import Agreement, agreement

NEIGHBOURS = 3


@dataclass(frozen=True)
class Token:
    """A piece of the text, with what it adds to the logit of the prediction."""

    text: str  # as it stands there, with what comes before it and belongs to no token
    gradients: float  # integrated gradients
    occlusion: float  # by how much the logit falls without it


@dataclass(frozen=True)
class Neighbour:
    """A text of the training split that the encoder takes for alike."""

    id: str
    text: str
    label: str
    cosine: float


@dataclass(frozen=True)
class Failure:
    """One text that was classified wrongly."""

    split: str
    id: str
    text: str
    gold: str
    predicted: str
    probabilities: dict[str, float]
    votes: dict[str, int] | None
    tokens: list[Token]
    complete: bool  # whether the integrated gradients add up
    neighbours: list[Neighbour]
    slices: list[str]  # names of the rules that it falls under


@dataclass(frozen=True)
class SuspectText:
    """A text whose label may be wrong."""

    split: str
    id: str
    text: str
    label: str
    suggested: str
    self_confidence: float  # the probability of its label
    suggested_confidence: float
    votes: dict[str, int] | None


@dataclass(frozen=True)
class Analysis:
    """All that the page shows and the files hold."""

    judgements: list[Judgement]
    intervals: dict[str, dict[str, tuple[float, float]]]  # split → metric → its 95 % interval
    agreements: dict[str, Agreement]  # split → judges; empty where the data has no votes
    failures: list[Failure]
    rules: list[Rule]
    sliced: list[str]  # the splits whose texts the slices are of
    slices: list[SliceRow]
    found: list[SliceRow]
    suspects: list[SuspectText]


@torch.no_grad()
def analyse(
    model: BertClassifier,
    tokenizer: JapaneseTokenizer,
    judgements: Sequence[Judgement],
    train: Sequence[Example],
    labels: Sequence[str],
    own_rules: Sequence[Rule] = (),
) -> Analysis:
    """Look at everything that was judged.

    Args:
        model: on the device to compute on.
        judgements: of the splits whose errors are looked at, the training split among them or not.
        train: the texts that the model learned from, to look for neighbours in; may be empty.
        labels: those of the data.
        own_rules: more kinds of texts, from `slices.read_rules`.
    """
    held_out = [j for j in judgements if j.split != "train"] or list(judgements)
    texts = {j.split: read([e.text for e in j.examples], tokenizer) for j in judgements}
    rules = [*built_in([text.length for j in held_out for text in texts[j.split]]), *own_rules]
    tags = {split: tag(read_texts, rules) for split, read_texts in texts.items()}
    wrong = {j.split: np.array(j.predicted) != np.array(j.gold) for j in judgements}
    pooled_tags = {rule.name: np.concatenate([tags[j.split][rule.name] for j in held_out]) for rule in rules}
    pooled_wrong = np.concatenate([wrong[j.split] for j in held_out])
    pooled_texts = [text for j in held_out for text in texts[j.split]]
    has_votes = any(example.votes for j in judgements for example in j.examples)
    return Analysis(
        judgements=list(judgements),
        intervals={j.split: intervals(j, labels) for j in judgements},
        agreements={j.split: agreement([e.votes for e in j.examples], j.gold, j.predicted) for j in judgements}
        if has_votes
        else {},
        failures=[
            failure
            for j in judgements
            for failure in explain(model, tokenizer, j, np.flatnonzero(wrong[j.split]), train, tags[j.split])
        ],
        rules=rules,
        sliced=[j.split for j in held_out],
        slices=[row for row in table(pooled_tags, pooled_wrong) if row.n],
        found=search(pooled_texts, pooled_wrong, pooled_tags),
        suspects=suspected(judgements, labels),
    )


def explain(
    model: BertClassifier,
    tokenizer: JapaneseTokenizer,
    judgement: Judgement,
    wrong: np.ndarray,
    train: Sequence[Example],
    tags: Mapping[str, np.ndarray],
) -> Iterator[Failure]:
    """The wrong ones (their numbers) of a split, with what speaks for each prediction."""
    if not len(wrong):
        return
    examples = [judgement.examples[i] for i in wrong]
    longest = model.config.max_position_embeddings
    encodings = tokenizer.encode_batch([e.text for e in examples], max_length=longest)
    classes = judgement.probabilities[wrong].argmax(axis=1)  # also where a band of doubt decided otherwise
    special = [tokenizer.cls_id, tokenizer.sep_id]
    gradients = integrated_gradients(model, encodings, classes, tokenizer.mask_id, special)
    drops = occlusion(model, encodings, classes, tokenizer.mask_id, special)
    near = neighbours(model, tokenizer, encodings, judgement.split, wrong, train)
    for place, (number, example) in enumerate(zip(wrong, examples, strict=True)):
        yield Failure(
            split=judgement.split,
            id=example.id,
            text=example.text,
            gold=example.label,
            predicted=judgement.predicted[number],
            probabilities=dict(
                zip(judgement.model_labels, judgement.probabilities[number].round(4).tolist(), strict=True)
            ),
            votes=dict(example.votes) if example.votes else None,
            tokens=tokens_of(tokenizer, example.text, longest, gradients[place].values, drops[place]),
            complete=gradients[place].complete,
            neighbours=near[place],
            slices=[name for name, members in tags.items() if members[number]],
        )


def tokens_of(
    tokenizer: JapaneseTokenizer, text: str, longest: int, gradients: np.ndarray, drops: np.ndarray
) -> list[Token]:
    """The text cut where its tokens end, so that all pieces together are the text."""
    encoding = tokenizer.encode(text, max_length=longest)
    pieces, done = [], 0
    for (_, end), one, other in islice(zip(encoding.offsets, gradients, drops, strict=True), 1, len(encoding) - 1):
        pieces.append(Token(text[done : max(done, end)], round(float(one), 4), round(float(other), 4)))
        done = max(done, end)
    if done < len(text):
        pieces.append(Token(text[done:], 0.0, 0.0))  # marks that no token has, and what was too long to be read
    return pieces


def neighbours(
    model: BertClassifier,
    tokenizer: JapaneseTokenizer,
    encodings: EncodedBatch,
    split: str,
    numbers: np.ndarray,
    train: Sequence[Example],
) -> list[list[Neighbour]]:
    """For each text the training texts with the nearest representations; of a training text, not itself."""
    if len(train) < 2:
        return [[] for _ in numbers]
    learned = tokenizer.encode_batch([e.text for e in train], max_length=model.config.max_position_embeddings)
    itself = torch.from_numpy(numbers) if split == "train" else None
    found, cosines = nearest(
        representations(model.bert, encodings), representations(model.bert, learned), NEIGHBOURS, itself
    )
    return [
        [Neighbour(train[i].id, train[i].text, train[i].label, round(c, 4)) for i, c in zip(row, alike, strict=True)]
        for row, alike in zip(found.tolist(), cosines.tolist(), strict=True)
    ]


def suspected(judgements: Sequence[Judgement], labels: Sequence[str]) -> list[SuspectText]:
    """Label suspects of all splits together, by a logistic regression on what mini makes of the texts.

    By mini as it comes, and not by the model that was fine-tuned: that one has seen the labels of its training texts.
    """
    examples = [(j.split, example) for j in judgements for example in j.examples]
    given = np.array([list(labels).index(example.label) for _, example in examples])
    if len(np.unique(given)) < 2 or np.bincount(given)[np.unique(given)].min() < 2:
        return []
    bert, tokenizer = load("mini")
    longest = bert.config.max_position_embeddings
    vectors = representations(bert, tokenizer.encode_batch([e.text for _, e in examples], max_length=longest))
    found = suspects(out_of_sample(vectors.numpy(), given), given)
    return [
        SuspectText(
            split=examples[s.index][0],
            id=examples[s.index][1].id,
            text=examples[s.index][1].text,
            label=labels[s.given],
            suggested=labels[s.suggested],
            self_confidence=round(s.self_confidence, 4),
            suggested_confidence=round(s.suggested_confidence, 4),
            votes=dict(examples[s.index][1].votes or {}) or None,
        )
        for s in found
    ]


def write_data(run: Path, analysis: Analysis) -> None:
    """`failures.jsonl`, `slices.csv` and `suspects.csv`: what the page shows, as data."""
    write_jsonl(run / "failures.jsonl", [asdict(failure) for failure in analysis.failures])
    kinds = [*(("rule", row) for row in analysis.slices), *(("search", row) for row in analysis.found)]
    write_table(run / "slices.csv", SliceRow, [{"by": by} | asdict(row) for by, row in kinds], ["by"])
    write_table(run / "suspects.csv", SuspectText, [asdict(row) for row in analysis.suspects])


def write_table(path: Path, kind: Any, rows: Sequence[Mapping[str, Any]], first: Sequence[str] = ()) -> None:
    """Rows as CSV; the header is there also where there is no row."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*first, *kind.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, buffer.getvalue())
