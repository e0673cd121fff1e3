"""The analysis of a classifier's errors: attribution, neighbours, slices, label suspects, probes, human votes.

Letters: n texts of a split, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import Example
from ...tokenize.normalize import Span
from ...tokenize.template import Template
from ...weights.load import load
from ..baselines import Baselines, Standing, learn
from ..judge import Judgement
from ..predict import Scorer
from ..progress import progress_bar
from ..runs import write_csv, write_json, write_jsonl
from ..statistics import intervals
from ..tasks.metrics import softmax
from .attribution import integrated_gradients, occlusion, rollout_to_cls
from .neighbours import nearest, representations
from .probes import Probe, ProbeRow, answerable, read_probes, run_probes
from .slices import Rule, SliceRow, built_in, read, search, table, tag
from .suspects import Competence, competence, out_of_sample, suspects, unanimous
from .votes import Agreement, agreement

NEIGHBOURS = 3
MOST = 500  # errors of a split with an attribution, the most confident ones
AT_ONCE = 64  # of them, for one step of the progress bar


@dataclass(frozen=True)
class Token:
    """A token with its attributions (see attribution.py)."""

    text: str  # as it stands in the text, with what precedes it and belongs to no token
    gradients: float
    occlusion: float
    rollout: float


@dataclass(frozen=True)
class Neighbour:
    """A text of the training split with a similar representation."""

    id: str
    text: str
    label: str
    cosine: float


@dataclass(frozen=True)
class Failure:
    """A text that was classified wrongly."""

    split: str
    id: str
    text: str
    length: int  # in tokens, without special ones, after truncation
    gold: str
    predicted: str
    probabilities: dict[str, float]
    votes: dict[str, int] | None
    explained: str | None  # the label whose logit is attributed to the tokens; None beyond MOST
    tokens: list[Token]
    complete: bool  # whether the integrated gradients add up
    neighbours: list[Neighbour]
    slices: list[str]  # names of the rules that hold


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
    """Predictions by models that were fine-tuned without the texts in question."""

    probabilities: np.ndarray  # (n, C) of all texts of the judgements
    folds: int  # the number of fine-tunings


@dataclass(frozen=True)
class Analysis:
    """All that the page shows and its data files hold."""

    judgements: list[Judgement]
    data_labels: Sequence[str]
    intervals: dict[str, dict[str, tuple[float, float]]]  # split → metric → its 95 % interval
    agreements: dict[str, Agreement]  # by split; empty where the data has no votes
    failures: list[Failure]
    rules: list[Rule]
    sliced: list[str]  # the splits of `slices` and `found`
    slices: list[SliceRow]
    found: list[SliceRow]
    baselines: dict[str, dict[str, Standing]]  # of the splits but train: its name → that of the baseline
    majority: str | None  # the most frequent training label; None without training texts
    left_out: str | None  # why there is no TF-IDF
    suspects: list[SuspectText]
    judge: Competence | None  # the model that named them; None where no label was looked at
    spared: int  # suspects that are none, since all judges chose their label
    folds: int  # of the fine-tunings that named the suspects; 0 for a logistic regression
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
    baselines: Baselines | None = None,
) -> Analysis:
    """Analyse the errors of judgements. All processes must call it, since they share the work.

    Args:
        judgements: of one split each.
        train: the texts of the training split, among which neighbours are sought; may be empty.
        labels: those of the data.
        own_rules: more slices, from `slices.read_rules`.
        retrained: what label suspects are named by, instead of a logistic regression.
        probes: by default those of the package, where the model has their labels and reads single texts.
        baselines: of the training texts; by default they are learned here.
    """
    # Probes.
    if probes is None:
        bundled = [] if any(e.pair is not None for j in judgements for e in j.examples) else read_probes()
        probes = bundled if answerable(bundled, scorer.model.labels) else []
    probe_rows = score_probes(scorer, probes)
    # Slices, of all splits but the training split if there is another.
    held_out = [j for j in judgements if j.split != "train"] or list(judgements)
    texts = {j.split: read([e.content for e in j.examples], scorer.tokenizer) for j in judgements}
    pooled = [text for j in held_out for text in texts[j.split]]
    rules = [*built_in([text.length for text in pooled]), *own_rules]
    tags = {split: tag(of_split, rules) for split, of_split in texts.items()}
    wrong = {j.split: np.array(j.predicted) != np.array(j.gold) for j in judgements}
    pooled_tags = {rule.name: np.concatenate([tags[j.split][rule.name] for j in held_out]) for rule in rules}
    pooled_wrong = np.concatenate([wrong[j.split] for j in held_out])
    # Errors, with the training texts that are neighbours.
    train_vectors = None
    if len(train) > 1 and any(some.any() for some in wrong.values()):
        encodings = scorer.encode(train)
        train_vectors = representations(scorer.model.bert, encodings, progress="training texts as vectors")
    failures = [
        failure
        for j in judgements
        for failure in explain_errors(scorer, j, np.flatnonzero(wrong[j.split]), tags[j.split], train, train_vectors)
    ]
    has_votes = any(example.votes for j in judgements for example in j.examples)
    voted = judgements if has_votes else []
    baselines = baselines or learn(train)
    compared = [j for j in judgements if j.split != "train"] if baselines else []
    named, judge, spared = label_suspects(judgements, train, labels, retrained)
    return Analysis(
        judgements=list(judgements),
        data_labels=tuple(labels),
        intervals={j.split: intervals(j, labels) for j in judgements},
        agreements={j.split: agreement([e.votes for e in j.examples], j.gold, j.predicted) for j in voted},
        failures=failures,
        rules=rules,
        sliced=[j.split for j in held_out],
        slices=[row for row in table(pooled_tags, pooled_wrong) if row.n],
        found=search(pooled, pooled_wrong, pooled_tags),
        baselines={j.split: baselines.beside(j, labels) for j in compared if baselines},
        majority=baselines.majority if baselines else None,
        left_out=baselines.left_out if baselines else None,
        suspects=named,
        judge=judge,
        spared=spared,
        folds=retrained.folds if retrained else 0,
        probes=probe_rows,
    )


def score_probes(scorer: Scorer, probes: Sequence[Probe]) -> list[ProbeRow]:
    """Run the probes on the model."""

    def probabilities_of(texts: Sequence[str]) -> np.ndarray:
        return softmax(scorer.logits(scorer.encode(texts), progress="probes"))

    return run_probes(probes, scorer.model.labels, probabilities_of) if probes else []


def explain_errors(
    scorer: Scorer,
    judgement: Judgement,
    wrong: np.ndarray,
    tags: Mapping[str, np.ndarray],
    train: Sequence[Example],
    train_vectors: Tensor | None,
) -> Iterator[Failure]:
    """The wrong texts (their numbers) of a split, with attributions, neighbours and slices.

    train_vectors: the representations of `train`; None where there are to be no neighbours.
    """
    if not len(wrong):
        return
    examples = [judgement.examples[i] for i in wrong]
    # Attributions of the most confident errors.
    probabilities = judgement.probabilities[wrong]
    classes = probabilities.argmax(axis=1)  # also where a neutral band decided otherwise
    confident = np.sort(np.argsort(-probabilities.max(axis=1), kind="stable")[:MOST])
    attributed = token_by_token(scorer, [examples[i] for i in confident], classes[confident], judgement.split)
    explained = dict(zip(confident.tolist(), attributed, strict=True))
    # Neighbours.
    near: list[list[Neighbour]] = [[] for _ in wrong]
    encodings = scorer.encode(examples)
    if train_vectors is not None:
        vectors = representations(scorer.model.bert, encodings, progress=f"errors of {judgement.split} as vectors")
        near = neighbours(vectors, train_vectors, train, wrong if judgement.split == "train" else None)
    for place, (number, example) in enumerate(zip(wrong, examples, strict=True)):
        tokens, complete = explained.get(place, ([], True))
        own = dict(zip(judgement.model_labels, probabilities[place].round(4).tolist(), strict=True))
        length = len(encodings[place].ids) - scorer.tokenizer.template.added(example.pair is not None)
        yield Failure(
            judgement.split, example.id, example.content, length, example.label, judgement.predicted[number], own,
            votes=dict(example.votes) if example.votes else None,
            explained=judgement.model_labels[classes[place]] if place in explained else None, tokens=tokens,
            complete=complete, neighbours=near[place], slices=[name for name, has in tags.items() if has[number]],
        )  # fmt: skip


def token_by_token(
    scorer: Scorer, examples: Sequence[Example], classes: np.ndarray, split: str
) -> Iterator[tuple[list[Token], bool]]:
    """For each text its tokens with the attributions of its class (n,), and whether integrated gradients add up."""
    model, tokenizer = scorer.model, scorer.tokenizer
    template = tokenizer.template
    with progress_bar(None, f"errors of {split}", "text", total=len(examples)) as bar:
        for start in range(0, len(examples), AT_ONCE):
            some, chosen = examples[start : start + AT_ONCE], classes[start : start + AT_ONCE]
            encodings = scorer.task.encode(tokenizer, some, offsets=True, **scorer.cut)
            assert encodings.offsets is not None  # they were asked for
            offsets = np.split(encodings.offsets, encodings.boundaries[1:-1])
            gradients = integrated_gradients(model, encodings, chosen, tokenizer.mask_id, template.special)
            drops = occlusion(model, encodings, chosen, tokenizer.mask_id, template.special)
            rolled = rollout_to_cls(model, encodings)
            for e, text, own, one, *others in zip(some, encodings, offsets, gradients, drops, rolled, strict=True):
                parts = insides(template, text.ids, e.pair is not None)
                tokens = tokens_of(e.text, parts[0], own, one.values, *others)
                if e.pair is not None:
                    tokens += [Token("\n", 0.0, 0.0, 0.0), *tokens_of(e.pair, parts[1], own, one.values, *others)]
                yield tokens, one.complete
            bar.update(len(some))


def insides(template: Template[int], ids: np.ndarray, paired: bool) -> list[range]:
    """Where the tokens of one text, or of each of two, stand in an encoding, (T,) ids."""
    whole = template.inside(len(ids))
    if not paired:
        return [whole]
    end = next(place for place in whole if ids[place] == template.between[0])  # no text has a special token
    return [range(whole.start, end), range(end + len(template.between), whole.stop)]


def tokens_of(text: str, inside: range, offsets: Sequence[Span] | np.ndarray, *values: np.ndarray) -> list[Token]:
    """The text cut at its tokens, so that all pieces together are the text.

    inside: the numbers of its tokens that are not special. offsets and values: of all tokens.
    """
    pieces, done = [], 0
    for place in inside:
        start, end = (max(done, int(edge)) for edge in offsets[place])
        if text[done:start].strip():
            pieces.append(Token(text[done:start], 0.0, 0.0, 0.0))  # characters of no token, or cut from the middle
            done = start
        pieces.append(Token(text[done:end], *(round(float(value[place]), 4) for value in values)))
        done = end
    if done < len(text):
        pieces.append(Token(text[done:], 0.0, 0.0, 0.0))  # characters of no token, and what was truncated
    return pieces


def neighbours(
    vectors: Tensor, train_vectors: Tensor, train: Sequence[Example], itself: np.ndarray | None
) -> list[list[Neighbour]]:
    """For each text the training texts with the most similar vectors, without the one whose number is in `itself`."""
    exclude = None if itself is None else torch.from_numpy(itself)
    found, cosines = nearest(vectors, train_vectors, NEIGHBOURS, exclude)
    return [
        [
            Neighbour(train[i].id, train[i].content, train[i].label, round(c, 4))
            for i, c in zip(row, values, strict=True)
        ]
        for row, values in zip(found.tolist(), cosines.tolist(), strict=True)
    ]


def label_suspects(
    judgements: Sequence[Judgement], train: Sequence[Example], labels: Sequence[str], retrained: Retrained | None
) -> tuple[list[SuspectText], Competence | None, int]:
    """Label suspects among the texts of all judgements, by fine-tunings, or by a logistic regression.

    A weak model (see `Competence`) names none, and a label that all judges chose is none.
    Returns also how good the model is (None where some label has too few texts), and how many labels were spared so.

    The regression reads the representations of mini, which has not seen any label, and learns from the training texts;
    from those of the judgements where there are no training texts.
    """
    # The texts of the judgements, then those of the training split that are not among them.
    examples = [(j.split, example) for j in judgements for example in j.examples]
    others = [] if retrained or any(j.split == "train" for j in judgements) else train
    texts = [*(example for _, example in examples), *others]
    given = np.array([list(labels).index(example.label) for example in texts])
    in_training = np.array([split == "train" for split, _ in examples] + [True] * len(others))
    in_training |= not in_training.any()
    classes, sizes = np.unique(given[in_training], return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        return [], None, 0
    # Probabilities by a model that was not trained on the text in question.
    if retrained:
        probabilities = retrained.probabilities
    else:
        mini, tokenizer = load("mini")
        encodings = tokenizer.encode_batch([e.content for e in texts], max_length=mini.config.max_position_embeddings)
        vectors = representations(mini, encodings, progress="all texts as vectors")
        probabilities = out_of_sample(vectors.numpy(), given, in_training, progress="labels to look at")
    judge = competence(probabilities, given, in_training)
    if judge.weak:
        return [], judge, 0
    # Suspects, but for labels that all judges chose.
    found, spared = [], 0
    for s in suspects(probabilities, given, in_training):
        for split, e in examples[s.index : s.index + 1]:  # none for another text
            if unanimous(e.votes, e.label):
                spared += 1
                continue
            own, other = round(s.self_confidence, 4), round(s.suggested_confidence, 4)
            votes = dict(e.votes or {}) or None
            found.append(SuspectText(split, e.id, e.content, labels[s.given], labels[s.suggested], own, other, votes))
    return found, judge, spared


def write_data(run: Path, analysis: Analysis) -> None:
    """Write `failures.jsonl`, `slices.csv`, `suspects.csv`, and `probes.json` where there are probes."""
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
        (run / "probes.json").unlink(missing_ok=True)  # of an earlier page
