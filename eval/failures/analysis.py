"""Every text that a classifier has wrong, with what may tell why: attribution, neighbours, kinds of texts, judges.

Letters: n texts of a split, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...data.dataset import Example
from ...model.ranks import rank
from ...tokenize.normalize import Span
from ...weights.load import load
from ..judge import Judgement
from ..predict import Scorer
from ..runs import write_csv, write_json, write_jsonl
from ..statistics import intervals
from ..tasks.metrics import softmax
from .attribution import integrated_gradients, occlusion, rollout_to_cls
from .neighbours import nearest, representations
from .probes import Probe, ProbeRow, fit, read_probes, run_probes
from .slices import Rule, SliceRow, built_in, read, search, table, tag
from .suspects import out_of_sample, suspects
from .votes import Agreement, agreement

NEIGHBOURS = 3
MOST = 500  # errors of a split that are explained token by token: those that the model is surest of
AT_ONCE = 64  # of them, from one step of the progress bar to the next


@dataclass(frozen=True)
class Token:
    """A piece of the text, with what it adds to the logit of the prediction, and how much the model looks at it."""

    text: str  # as it stands there, with what comes before it and belongs to no token
    gradients: float  # integrated gradients
    occlusion: float  # by how much the logit falls without it
    rollout: float  # how much of it is in what the classifier takes, by attention alone: no explanation


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
    length: int  # in tokens, without [CLS] and [SEP], as the model read it
    gold: str
    predicted: str
    probabilities: dict[str, float]
    votes: dict[str, int] | None
    explained: str | None  # the label whose logit the tokens add to; None where it is not among the MOST
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


class Retrained(NamedTuple):
    """What fine-tunings on parts of the texts say of the others."""

    probabilities: np.ndarray  # (n, C) of all texts of the judgements, each by a model that did not learn from it
    folds: int  # the number of fine-tunings


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
    folds: int  # the number of fine-tunings that named the suspects; 0 where a logistic regression did
    probes: list[ProbeRow]


@torch.no_grad()
def analyse(
    scorer: Scorer,
    judgements: Sequence[Judgement],
    train: Sequence[Example],
    labels: Sequence[str],
    own_rules: Sequence[Rule] = (),
    retrained: Retrained | None = None,
    probes: Sequence[Probe] | None = None,
) -> Analysis:
    """Look at everything that was judged. Several processes must all call it: they share a part of the work.

    Args:
        judgements: of the splits whose errors are looked at, the training split among them or not.
        train: the texts of the training split, to look for neighbours in; may be empty.
        labels: those of the data.
        own_rules: more kinds of texts, from `slices.read_rules`.
        retrained: what label suspects are named by, instead of a logistic regression.
        probes: to try the model on; by default those of the package, where the model has their labels.
    """
    if probes is None:
        bundled = read_probes()
        probes = bundled if fit(bundled, scorer.model.labels) else []
    tried = try_it(scorer, probes)
    held_out = [j for j in judgements if j.split != "train"] or list(judgements)
    texts = {j.split: read([e.text for e in j.examples], scorer.tokenizer) for j in judgements}
    rules = [*built_in([text.length for j in held_out for text in texts[j.split]]), *own_rules]
    tags = {split: tag(read_texts, rules) for split, read_texts in texts.items()}
    wrong = {j.split: np.array(j.predicted) != np.array(j.gold) for j in judgements}
    pooled_tags = {rule.name: np.concatenate([tags[j.split][rule.name] for j in held_out]) for rule in rules}
    pooled_wrong = np.concatenate([wrong[j.split] for j in held_out])
    pooled_texts = [text for j in held_out for text in texts[j.split]]
    has_votes = any(example.votes for j in judgements for example in j.examples)
    learned = None
    if len(train) > 1 and any(some.any() for some in wrong.values()):
        encodings = scorer.encode([e.text for e in train])
        learned = representations(scorer.model.bert, encodings, progress="training texts as vectors")
    return Analysis(
        judgements=list(judgements),
        intervals={j.split: intervals(j, labels) for j in judgements},
        agreements={j.split: agreement([e.votes for e in j.examples], j.gold, j.predicted) for j in judgements}
        if has_votes
        else {},
        failures=[
            failure
            for j in judgements
            for failure in explain(scorer, j, np.flatnonzero(wrong[j.split]), tags[j.split], train, learned)
        ],
        rules=rules,
        sliced=[j.split for j in held_out],
        slices=[row for row in table(pooled_tags, pooled_wrong) if row.n],
        found=search(pooled_texts, pooled_wrong, pooled_tags),
        suspects=suspected(judgements, train, labels, retrained),
        folds=retrained.folds if retrained else 0,
        probes=tried,
    )


def try_it(scorer: Scorer, probes: Sequence[Probe]) -> list[ProbeRow]:
    """Run the probes, in fp32."""

    def probabilities_of(texts: Sequence[str]) -> np.ndarray:
        return softmax(scorer.logits(scorer.encode(texts), progress="probes"))

    return run_probes(probes, scorer.model.labels, probabilities_of) if probes else []


def explain(
    scorer: Scorer,
    judgement: Judgement,
    wrong: np.ndarray,
    tags: Mapping[str, np.ndarray],
    train: Sequence[Example],
    learned: Tensor | None,
) -> Iterator[Failure]:
    """The wrong ones (their numbers) of a split, with what speaks for each prediction.

    `learned` holds the representations of the texts of `train`, where these are enough to be neighbours.
    """
    if not len(wrong):
        return
    examples = [judgement.examples[i] for i in wrong]
    probabilities = judgement.probabilities[wrong]
    classes = probabilities.argmax(axis=1)  # also where a band of doubt decided otherwise
    surest = np.sort(np.argsort(-probabilities.max(axis=1), kind="stable")[:MOST])
    texts = [examples[i].text for i in surest]
    told = token_by_token(scorer, texts, classes[surest], judgement.split)
    explained = dict(zip(surest.tolist(), told, strict=True))
    near: list[list[Neighbour]] = [[] for _ in wrong]
    encodings = scorer.encode([e.text for e in examples])
    if learned is not None:
        vectors = representations(scorer.model.bert, encodings, progress=f"errors of {judgement.split} as vectors")
        near = neighbours(vectors, learned, train, wrong if judgement.split == "train" else None)
    for place, (number, example) in enumerate(zip(wrong, examples, strict=True)):
        tokens, complete = explained.get(place, ([], True))
        yield Failure(
            split=judgement.split,
            id=example.id,
            text=example.text,
            length=len(encodings[place].ids) - scorer.tokenizer.template.added(),
            gold=example.label,
            predicted=judgement.predicted[number],
            probabilities=dict(zip(judgement.model_labels, probabilities[place].round(4).tolist(), strict=True)),
            votes=dict(example.votes) if example.votes else None,
            explained=judgement.model_labels[classes[place]] if place in explained else None,
            tokens=tokens,
            complete=complete,
            neighbours=near[place],
            slices=[name for name, members in tags.items() if members[number]],
        )


def token_by_token(
    scorer: Scorer, texts: Sequence[str], classes: np.ndarray, split: str
) -> Iterator[tuple[list[Token], bool]]:
    """What each token adds to the logit of its text's class (n,), and whether the integrated gradients add up."""
    model, tokenizer = scorer.model, scorer.tokenizer
    template = tokenizer.template
    with tqdm(total=len(texts), desc=f"errors of {split}", unit="text", leave=False, disable=rank() > 0 or None) as bar:
        for start in range(0, len(texts), AT_ONCE):
            some, chosen = texts[start : start + AT_ONCE], classes[start : start + AT_ONCE]
            encodings = tokenizer.encode_batch(some, offsets=True, **scorer.cut)
            assert encodings.offsets is not None  # they were asked for
            offsets = np.split(encodings.offsets, encodings.boundaries[1:-1])
            gradients = integrated_gradients(model, encodings, chosen, tokenizer.mask_id, template.special)
            drops = occlusion(model, encodings, chosen, tokenizer.mask_id, template.special)
            rolled = rollout_to_cls(model, encodings)
            for text, own, one, *others in zip(some, offsets, gradients, drops, rolled, strict=True):
                yield tokens_of(text, template.inside(len(own)), own, one.values, *others), one.complete
            bar.update(len(some))


def tokens_of(text: str, inside: range, offsets: Sequence[Span] | np.ndarray, *values: np.ndarray) -> list[Token]:
    """The text cut where its tokens end, so that all pieces together are the text.

    inside: which of its tokens are no special ones. offsets: of all tokens, as are the `values`, those of a `Token`.
    """
    pieces, done = [], 0
    for place in inside:
        end = max(done, int(offsets[place][1]))
        pieces.append(Token(text[done:end], *(round(float(value[place]), 4) for value in values)))
        done = end
    if done < len(text):
        pieces.append(Token(text[done:], 0.0, 0.0, 0.0))  # marks that no token has, and what was too long to be read
    return pieces


def neighbours(
    vectors: Tensor, learned: Tensor, train: Sequence[Example], itself: np.ndarray | None
) -> list[list[Neighbour]]:
    """For each text the training texts with the nearest representations; not `itself`, its own number among them."""
    exclude = None if itself is None else torch.from_numpy(itself)
    found, cosines = nearest(vectors, learned, NEIGHBOURS, exclude)
    return [
        [Neighbour(train[i].id, train[i].text, train[i].label, round(c, 4)) for i, c in zip(row, alike, strict=True)]
        for row, alike in zip(found.tolist(), cosines.tolist(), strict=True)
    ]


def suspected(
    judgements: Sequence[Judgement], train: Sequence[Example], labels: Sequence[str], retrained: Retrained | None
) -> list[SuspectText]:
    """Label suspects of all splits together, by fine-tunings or by a logistic regression on what mini makes of texts.

    By mini as it comes, and not by the model that was fine-tuned: that one has seen the labels of its training texts.
    The regression learns from the training texts alone, also where they were not judged; only what was judged is
    suspected. Where there are no training texts it learns from those that were judged.
    """
    examples = [(j.split, example) for j in judgements for example in j.examples]
    others = [] if retrained or any(j.split == "train" for j in judgements) else train
    texts, own = [*(example for _, example in examples), *others], len(examples)
    given = np.array([list(labels).index(example.label) for example in texts])
    teaching = np.array([split == "train" for split, _ in examples] + [True] * len(others))
    teaching |= not teaching.any()
    classes, sizes = np.unique(given[teaching], return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        return []
    if retrained:
        probabilities = retrained.probabilities
    else:
        mini, tokenizer = load("mini")
        encodings = tokenizer.encode_batch([e.text for e in texts], max_length=mini.config.max_position_embeddings)
        vectors = representations(mini, encodings, progress="all texts as vectors")
        probabilities = out_of_sample(vectors.numpy(), given, teaching, progress="labels to look at")
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
        for s in suspects(probabilities, given, teaching)
        if s.index < own
    ]


def write_data(run: Path, analysis: Analysis) -> None:
    """`failures.jsonl`, `slices.csv`, `suspects.csv` and perhaps `probes.json`: what the page shows, as data."""
    write_jsonl(run / "failures.jsonl", [asdict(failure) for failure in analysis.failures])
    slices = [*(("rule", row) for row in analysis.slices), *(("search", row) for row in analysis.found)]
    by = f"{analysis.folds} fine-tunings" if analysis.folds else "logistic regression"
    for name, kind, rows in (
        ("slices.csv", SliceRow, [{"by": by} | asdict(row) for by, row in slices]),
        ("suspects.csv", SuspectText, [{"by": by} | asdict(row) for row in analysis.suspects]),
    ):
        write_csv(run / name, rows, ["by", *(field.name for field in fields(kind))])
    if analysis.probes:
        write_json(run / "probes.json", [asdict(row) for row in analysis.probes])
    else:
        (run / "probes.json").unlink(missing_ok=True)  # of a page that was made before
