"""A downloaded model against the answers that are published for it, on its page or by its reference implementation.

`known-answers.json` has them by model: `vocab_sha256`; `ids` and `pairs` of the tokenizer; `fill-mask` with its
likeliest words; `classify` with label and score; `cosines` between (means of) word embeddings.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from ..model.packing import pack
from .files import CheckpointError, read_json
from .load import Loaded, load_with_report

ANSWERS = Path(__file__).parent / "known-answers.json"
ODDS = 0.02  # how far log(p / (1 - p)) may be from the published one; 0.02 is about 2 % of a small probability
COSINE = 5e-4  # cosines are published with four digits


@dataclass(frozen=True)
class Check:
    """One published fact and what was found."""

    what: str
    published: str
    found: str
    agrees: bool


KINDS = {
    "vocab_sha256": "vocabulary", "ids": "ids of texts", "pairs": "ids of pairs", "cosines": "word embeddings",
    "fill-mask": "guesses of masked words", "classify": "classes",
}  # fmt: skip


def facts_of(model: str, answers: Path = ANSWERS, copy_of: str | None = None) -> dict[str, Any]:
    """What is published for a model, or for the one that a folder has a copy of; CheckpointError where nothing is."""
    known = read_json(answers)
    name = copy_of or model
    if name not in known:
        what = f"no answers are known for {name}"
        if copy_of is None and Path(model).is_dir():
            what = f"{model} is a folder, and answers are known by name: say of which model it is a copy (--of NAME)"
        raise CheckpointError(f"{what}; there are answers for {', '.join(known)} (--answers FILE has others)")
    if not isinstance(known[name], dict) or not known[name] or not known[name].keys() <= KINDS.keys():
        raise CheckpointError(f"{answers}: the answers for {name} are no object of {', '.join(KINDS)}")
    return known[name]


def verify(
    model: str, revision: str | None = None, answers: Path = ANSWERS, copy_of: str | None = None
) -> Iterator[Check]:
    """A check for each published answer; CheckpointError where the model cannot be had, or has no `answers`."""
    facts = facts_of(model, answers, copy_of)
    encoder = load_with_report(model, "encode", revision=revision)
    if "vocab_sha256" in facts:
        found = vocabulary_hash(encoder.tokenizer.vocabulary)
        yield Check("vocab.txt", facts["vocab_sha256"][:12], found[:12], found == facts["vocab_sha256"])
    yield from tokenizer_checks(encoder, facts)
    for cosine in facts.get("cosines", []):
        # A vector is a word's embedding, or the mean of several.
        what = f"cosine of {'+'.join(cosine['a'])} and {'+'.join(cosine['b'])}"
        try:
            a, b = (word_vector(encoder, cosine[side]) for side in "ab")
            value = float(F.cosine_similarity(a, b, dim=0))
        except ValueError:  # a piece is not in vocab.txt
            value = math.nan
        yield Check(what, f"{cosine['value']:.4f}", f"{value:.4f}", abs(value - cosine["value"]) <= COSINE)
    if "fill-mask" in facts:
        yield from fill_mask_checks(load_with_report(model, "fill-mask", revision=revision), facts["fill-mask"])
    if "classify" in facts:
        yield from classify_checks(load_with_report(model, "classify", revision=revision), facts["classify"])


def vocabulary_hash(vocabulary: list[str]) -> str:
    return hashlib.sha256("".join(token + "\n" for token in vocabulary).encode("utf-8")).hexdigest()


def tokenizer_checks(encoder: Loaded, facts: dict[str, Any]) -> Iterator[Check]:
    for kind in ("ids", "pairs"):
        wrong = []
        for fact in facts.get(kind, []):
            encoding = encoder.tokenizer.encode(fact["text"], fact.get("pair"), special_tokens=True)
            if (encoding.ids, encoding.type_ids) != (fact["ids"], fact.get("type_ids", encoding.type_ids)):
                wrong.append(fact["text"])
        if kind in facts:
            found = f"wrong for {wrong[0]!r}" if wrong else "the same"
            yield Check(f"tokenizer, {kind}", f"{len(facts[kind])} texts", found, not wrong)


@torch.inference_mode()
def word_vector(encoder: Loaded, pieces: list[str]) -> torch.Tensor:
    ids = [encoder.tokenizer.vocabulary.index(piece) for piece in pieces]
    return encoder.model.embeddings.word.weight[ids].mean(dim=0)


@torch.inference_mode()
def fill_mask_checks(masked: Loaded, facts: list[dict[str, Any]]) -> Iterator[Check]:
    """The published words, in their order and with their probabilities, are the likeliest at [MASK]."""
    for fact in facts:
        encoding = masked.tokenizer.encode(fact["text"], special_tokens=True)
        place = torch.tensor([encoding.ids.index(masked.tokenizer.mask_id)])
        probabilities = masked.model(pack([encoding]), at=place).logits[0].double().softmax(dim=-1)
        best = probabilities.topk(len(fact["top"]))
        for rank, word in enumerate(fact["top"]):
            found, i = float(best.values[rank]), int(best.indices[rank])
            token = (masked.tokenizer.vocabulary[i : i + 1] or [f"id {i}"])[0]  # a model may embed more ids
            yield Check(
                f"{fact['text']} ({rank + 1})",
                f"{word['token']} {word['probability']:.5f}",
                f"{token} {found:.5f}",
                (token, i) == (word["token"], word["id"]) and same_odds(found, word["probability"]),
            )


@torch.inference_mode()
def classify_checks(classifier: Loaded, facts: list[dict[str, Any]]) -> Iterator[Check]:
    for fact in facts:
        logits = classifier.model(pack([classifier.tokenizer.encode(fact["text"])])).logits[0]
        found, i = (x.item() for x in logits.double().softmax(dim=-1).max(dim=-1))
        label = classifier.model.labels[i]
        agrees = label == fact["label"] and same_odds(found, fact["score"])
        yield Check(fact["text"], f"{fact['label']} {fact['score']:.6f}", f"{label} {found:.6f}", agrees)


def same_odds(p: float, published: float) -> bool:
    """Whether two probabilities agree, by their log-odds, which tell apart also those near 0 and 1."""

    def log_odds(q: float) -> float:
        return math.log(max(q, 1e-12) / max(1 - q, 1e-12))

    return abs(log_odds(p) - log_odds(published)) <= ODDS
