"""The analysis of a model's mistakes: attribution, neighbours, slices; of classes also label suspects, probes, votes.

Letters: n texts of a split, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import Example
from ...model.packing import Encodings
from ...tokenize.encoding import EncodedBatch
from ...tokenize.normalize import Span
from ...tokenize.template import Template
from ...tokenize.tokenizer import Tokenizer
from ...weights.load import load
from ..baselines import Baselines, Standing, learn
from ..judge import Judgement
from ..predict import Scorer
from ..progress import progress_bar
from ..runs import write_csv, write_json, write_jsonl
from ..statistics import intervals
from ..tasks.metrics import softmax
from ..tasks.task import Task
from ..yardsticks import YARDSTICKS, Scores
from .attribution import integrated_gradients, occlusion, rollout_to_head
from .kinds import Kind
from .neighbours import nearest, representations
from .probes import Probe, ProbeRow, answerable, read_probes, run_probes
from .slices import ResidualRow, Rule, SliceRow, Text, built_in, read, read_pairs, tag
from .suspects import Competence, competence, out_of_sample, suspects, unanimous
from .table import page_of
from .votes import Agreement, agreement

NEIGHBOURS = 3
MOST = 500  # errors of a split with an attribution, the most confident ones
MOST_OF_TRAIN = 50  # the same of the training split, which says least of other texts
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
    """A text that was answered wrongly; label and answer as people read them."""

    split: str
    id: str
    text: str
    length: int  # in tokens, without special ones, after truncation
    gold: str
    predicted: str
    probabilities: dict[str, float]  # empty where the task has none
    votes: dict[str, int] | None
    explained: str | None  # the label whose logit is attributed to the tokens; None beyond MOST
    tokens: list[Token]
    complete: bool  # whether the integrated gradients add up
    neighbours: list[Neighbour]
    slices: list[str]  # names of the rules that hold
    second: int | None = None  # of a pair, where the second text begins in `text`
    weight: float = 0.0  # by which the most serious are chosen (`Kind.weight`)
    more: Mapping[str, Any] = field(default_factory=dict)  # what is said beyond this of the task (`Kind.more`)


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


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All that the page shows and its data files hold."""

    judgements: list[Judgement]
    data_labels: Sequence[str]
    intervals: dict[str, dict[str, tuple[float, float]]]  # split → metric → its 95 % interval
    failures: list[Failure]
    rules: list[Rule]
    sliced: list[str]  # the splits of `slices` and `found`
    slices: Sequence[SliceRow | ResidualRow]
    found: list[SliceRow]
    beside: dict[str, dict[str, Scores]] = field(default_factory=dict)  # split but train → simple answer → its scores
    # Of classes alone.
    agreements: dict[str, Agreement] = field(default_factory=dict)  # by split; empty where the data has no votes
    baselines: dict[str, dict[str, Standing]] = field(default_factory=dict)  # split but train → baseline → its scores
    majority: str | None = None  # the most frequent training label; None without training texts
    left_out: str | None = None  # why there is no TF-IDF
    suspects: list[SuspectText] = field(default_factory=list)
    judge: Competence | None = None  # the model that named them; None where no label was looked at
    spared: int = 0  # suspects that are none, since all judges chose their label
    folds: int = 0  # of the fine-tunings that named the suspects; 0 for a logistic regression
    probes: list[ProbeRow] = field(default_factory=list)


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
        scorer: its precision is that of vectors and probes; attributions are in fp32.
        judgements: of one split each.
        train: the texts of the training split, among which neighbours are sought; may be empty.
        labels: those of the data.
        own_rules: more slices, from `slices.read_rules`.
        retrained: what label suspects are named by, instead of a logistic regression.
        probes: by default those of the package, where the model has their labels and reads single texts.
        baselines: of the training texts; by default they are learned here.

    Raises:
        ValueError: the task has no page, there are probes for another task than classes, or a rule has a taken name.
    """
    task, kind = scorer.task, page_of(scorer.task)
    if probes and not task.classes:
        raise ValueError(f"probes ask for classes, and the model answers the task {task.name}: leave them out")
    # Slices, of all splits but the training split if there is another.
    judgements = [kind.judged(judgement) for judgement in judgements]
    held_out = [j for j in judgements if j.split != "train"] or list(judgements)
    texts = {j.split: texts_of(kind, j.examples, scorer.tokenizer) for j in judgements}
    pooled = [text for j in held_out for text in texts[j.split]]
    rules = [*built_in([text.length for text in pooled]), *kind.rules(pooled, train)]
    if taken := {rule.name for rule in rules} & {rule.name for rule in own_rules}:
        raise ValueError(f"{min(taken)!r} is a built-in rule of the task {task.name}: choose another name for yours")
    rules += own_rules
    tags = {split: tag(of_split, rules) for split, of_split in texts.items()}
    pooled_tags = {rule.name: np.concatenate([tags[j.split][rule.name] for j in held_out]) for rule in rules}
    rows, found = kind.slices(held_out, pooled, pooled_tags)
    # Errors, those of the training split last, with the training texts that are neighbours.
    wrong = {j.split: np.flatnonzero(kind.wrong(j)) for j in judgements}
    train_vectors = None
    if kind.explains and len(train) > 1 and any(len(some) for some in wrong.values()):
        read_train = [kind.seen(example, example.label) for example in train]
        encodings = kind.encode(task, scorer.tokenizer, read_train, **scorer.cut)
        train_vectors = vectors_of(scorer, encodings, "training texts as vectors")
    failures = {}
    for j in sorted(judgements, key=lambda j: j.split == "train"):
        failures[j.split] = list(explain_errors(scorer, j, wrong[j.split], tags[j.split], train, train_vectors))
    compared = [j for j in judgements if j.split != "train"] if train else []
    simple = YARDSTICKS.get(task.page)
    analysis = Analysis(
        judgements=list(judgements),
        data_labels=tuple(labels),
        intervals={j.split: intervals(j, labels) if task.classes else kind.intervals(j) for j in judgements},
        failures=[failure for j in judgements for failure in failures[j.split]],
        rules=rules,
        sliced=[j.split for j in held_out],
        slices=rows,
        found=found,
        beside={j.split: simple(task, train, j.examples) for j in compared} if simple else {},
    )
    if not task.classes:
        return analysis
    return replace(analysis, **of_classes(scorer, judgements, train, labels, retrained, probes, baselines))


def of_classes(
    scorer: Scorer,
    judgements: Sequence[Judgement],
    train: Sequence[Example],
    labels: Sequence[str],
    retrained: Retrained | None,
    probes: Sequence[Probe] | None,
    baselines: Baselines | None,
) -> dict[str, Any]:
    """What an Analysis has of classes alone, by its names."""
    if probes is None:
        bundled = [] if any(e.pair is not None for j in judgements for e in j.examples) else read_probes()
        probes = bundled if answerable(bundled, scorer.model.labels) else []
    has_votes = any(example.votes for j in judgements for example in j.examples)
    baselines = baselines or learn(train)
    compared = [j for j in judgements if j.split != "train"]
    named, judge, spared = label_suspects(judgements, train, labels, retrained)
    return {
        "agreements": {
            j.split: agreement([e.votes for e in j.examples], j.gold, j.predicted) for j in judgements if has_votes
        },
        "baselines": {j.split: baselines.beside(j, labels) for j in compared} if baselines else {},
        "majority": baselines.majority if baselines else None,
        "left_out": baselines.left_out if baselines else None,
        "suspects": named,
        "judge": judge,
        "spared": spared,
        "folds": retrained.folds if retrained else 0,
        "probes": score_probes(scorer, probes),
    }


def texts_of(kind: Kind, examples: Sequence[Example], tokenizer: Tokenizer) -> list[Text]:
    """What rules read of n examples."""
    texts = read([kind.text(example) for example in examples], tokenizer)
    pairs = [kind.two(example) for example in examples]
    if any(pairs):
        texts = read_pairs(texts, pairs, tokenizer)
    return [replace(text, gold=kind.known(example)) for text, example in zip(texts, examples, strict=True)]


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
    kind, task = page_of(scorer.task), scorer.task
    weights, columns = kind.weight(judgement)[wrong], kind.column(judgement)[wrong]
    seen = [kind.seen(judgement.examples[i], column) for i, column in zip(wrong, columns.tolist(), strict=True)]
    # Attributions of the most confident errors.
    most = min(MOST, MOST_OF_TRAIN) if judgement.split == "train" else MOST
    confident = np.sort(np.argsort(-weights, kind="stable")[:most])
    confident = confident if kind.explains else confident[:0]
    attributed = token_by_token(scorer, [seen[i] for i in confident], columns[confident], judgement.split)
    explained = dict(zip(confident.tolist(), attributed, strict=True))
    # Neighbours.
    near: list[list[Neighbour]] = [[] for _ in wrong]
    encodings = kind.encode(task, scorer.tokenizer, seen, **scorer.cut) if kind.explains else whole(scorer, seen)
    if train_vectors is not None:
        vectors = vectors_of(scorer, encodings, f"errors of {judgement.split} as vectors")
        near = neighbours(kind, task, vectors, train_vectors, train, wrong if judgement.split == "train" else None)
    for place, (number, text) in enumerate(zip(wrong, seen, strict=True)):
        tokens, complete = explained.get(place, ([], True))
        example, names = judgement.examples[number], task.columns(judgement.examples[number])
        probabilities = judgement.probabilities[number].round(4).tolist()
        length = len(encodings[place].ids) - scorer.tokenizer.template.added(text.pair is not None)
        yield Failure(
            judgement.split, example.id, text.content, length, kind.told(judgement.gold[number], example),
            kind.told(judgement.predicted[number], example),
            dict(zip(names, probabilities, strict=True)) if probabilities else {},
            votes=dict(example.votes) if example.votes else None,
            explained=names[columns[place]] if place in explained else None, tokens=tokens,
            complete=complete, neighbours=near[place], slices=[name for name, has in tags.items() if has[number]],
            second=None if text.pair is None else len(text.text) + 1, weight=round(float(weights[place]), 6),
            more=kind.more(judgement, int(number)),
        )  # fmt: skip


def whole(scorer: Scorer, examples: Sequence[Example]) -> EncodedBatch:
    """Texts, or pairs, as one sequence each, however long it is."""
    pairs = [example.pair or "" for example in examples]
    return scorer.tokenizer.encode_batch([example.text for example in examples], pairs if any(pairs) else None)


def vectors_of(scorer: Scorer, encodings: Encodings, progress: str) -> Tensor:
    return representations(scorer.model.bert, encodings, scorer.batch_size, scorer.precision, progress)


def token_by_token(
    scorer: Scorer, examples: Sequence[Example], columns: np.ndarray, split: str
) -> Iterator[tuple[list[Token], bool]]:
    """For each text its tokens with the attributions of its column (n,), and whether integrated gradients add up.

    examples: those that `Kind.seen` gives.
    """
    model, tokenizer, kind = scorer.model, scorer.tokenizer, page_of(scorer.task)
    template, columns = tokenizer.template, kind.explained(columns)
    with progress_bar(None, f"errors of {split}", "text", total=len(examples)) as bar, kind.explaining(model):
        for start in range(0, len(examples), AT_ONCE):
            some, chosen = examples[start : start + AT_ONCE], columns[start : start + AT_ONCE]
            encodings = kind.encode(scorer.task, tokenizer, some, offsets=True, **scorer.cut)
            assert encodings.offsets is not None  # they were asked for
            offsets = np.split(encodings.offsets, encodings.boundaries[1:-1])
            gradients = integrated_gradients(model, encodings, chosen, tokenizer.mask_id, template.special)
            drops = occlusion(model, encodings, chosen, tokenizer.mask_id, template.special)
            rolled = rollout_to_head(model, encodings)
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
    kind: Kind,
    task: Task,
    vectors: Tensor,
    train_vectors: Tensor,
    train: Sequence[Example],
    itself: np.ndarray | None,
) -> list[list[Neighbour]]:
    """For each text the training texts with the most similar vectors, without the one whose number is in `itself`."""
    exclude = None if itself is None else torch.from_numpy(itself)
    found, cosines = nearest(vectors, train_vectors, NEIGHBOURS, exclude)
    return [
        [
            Neighbour(e.id, kind.text(e), kind.told(task.told(e.label, e), e), round(c, 4))
            for e, c in ((train[i], c) for i, c in zip(row, values, strict=True))
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
    """Write `failures.jsonl`, `slices.csv`; and of classes `suspects.csv`, `probes.json` where there are probes."""
    write_jsonl(run / "failures.jsonl", [as_row(failure) for failure in analysis.failures])
    slices = [*(("rule", row) for row in analysis.slices), *(("search", row) for row in analysis.found)]
    kind = ResidualRow if any(isinstance(row, ResidualRow) for row in analysis.slices) else SliceRow
    write_csv(run / "slices.csv", [{"by": by} | asdict(row) for by, row in slices], columns_of(kind))
    if not analysis.judgements[0].task.classes:
        return
    by = f"{analysis.folds} fine-tunings" if analysis.folds else "logistic regression"
    write_csv(run / "suspects.csv", [{"by": by} | asdict(row) for row in analysis.suspects], columns_of(SuspectText))
    if analysis.probes:
        write_json(run / "probes.json", [asdict(row) for row in analysis.probes])
    else:
        (run / "probes.json").unlink(missing_ok=True)  # of an earlier page


def columns_of(kind: Any) -> list[str]:
    return ["by", *(field.name for field in fields(kind))]


def as_row(failure: Failure) -> dict[str, Any]:
    """A failure as JSON: what only one task says stands beside the rest."""
    row = asdict(failure)
    second, _, more = row.pop("second"), row.pop("weight"), row.pop("more")
    return row | ({} if second is None else {"second": second}) | more
