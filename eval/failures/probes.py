"""Probes: tests of a classifier's behaviour, with texts made from templates (CheckList, Ribeiro et al. 2020).

After arXiv:2005.04118. A file of probes is TOML (`probes.toml` is one):

    [slots]                                # words to be put in; every combination makes a text
    "場所" = ["部屋", "お風呂"]
    "狭" = ["狭", "暗"]

    [[probe]]
    name = "blame"
    gloss = "悪い点"                       # the name in Japanese (optional)
    kind = "mft"                           # minimum functionality: each text has this label
    label = "negative"
    templates = ["{場所}が{狭}いです。"]

    [[probe]]
    name = "polite or plain"
    kind = "inv"                           # invariance: both texts of a pair get the same label, whichever it is
    pairs = [["{場所}が{狭}いです。", "{場所}が{狭}い。"]]

    [[probe]]
    name = "negated blame"
    kind = "dir"                           # direction: from the first text to the second …
    label = "negative"                     # … the probability of this label …
    goes = "down"                          # … goes down (or up) …
    by = 0.1                               # … by more than this; below 0 it need not, but may go the other way by less
    pairs = [["{場所}が{狭}いです。", "{場所}は{狭}くないです。"]]

Slots of a single probe stand in it: `slots = { "色" = ["赤", "青"] }`.

Letters: n texts, C classes.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from ...data.dataset import DataError
from ...data.rows import listed

BUNDLED = Path(__file__).with_name("probes.toml")  # for reviews of hotels, with the labels of JRTE
KEYS = {
    "mft": {"name", "kind", "label", "templates"},
    "inv": {"name", "kind", "pairs"},
    "dir": {"name", "kind", "label", "goes", "pairs"},
}
EXTRA = {"gloss", "slots", "by"}
MOST = 10_000  # texts or pairs of one template
SLOT = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Template:
    """A template, or a pair of them, with its texts."""

    written: str  # as in the file; of a pair both, with an arrow
    cases: list[tuple[str, ...]]  # texts, each alone or in a pair


@dataclass(frozen=True)
class Expectation:
    name: str
    gloss: str  # in Japanese; may be empty
    kind: str  # mft, inv or dir
    label: str | None  # None for inv
    goes: str | None  # up or down, for dir
    by: float


@dataclass(frozen=True)
class Probe(Expectation):
    templates: list[Template]


@dataclass(frozen=True)
class Answer:
    text: str
    label: str
    probability: float
    asked: float | None  # the probability of the probe's label, if it has one


@dataclass(frozen=True)
class ProbeRow(Expectation):
    template: str
    n: int
    passed: int
    failures: list[list[Answer]]  # the text or the pair of every case that did not pass

    @property
    def rate(self) -> float:
        return self.passed / self.n


def run_probes(
    probes: Sequence[Probe], labels: Sequence[str], probabilities_of: Callable[[Sequence[str]], np.ndarray]
) -> list[ProbeRow]:
    """Classify all texts, each once: a row for each template.

    labels: C, of the classifier. probabilities_of: n texts → (n, C).

    Raises:
        ValueError: a probe has a label that the classifier lacks.
    """
    for probe in probes:
        if probe.label is not None and probe.label not in labels:
            raise ValueError(
                f"the probe {probe.name!r} asks for the label {probe.label!r}, but the classifier has "
                f"{listed(labels)}: write the probe with one of these"
            )
    templates = [(probe, template) for probe in probes for template in probe.templates]
    texts = list(dict.fromkeys(text for _, template in templates for case in template.cases for text in case))
    probabilities = dict(zip(texts, probabilities_of(texts), strict=True))  # text → (C,)
    rows = []
    for probe, template in templates:
        cases = [[answer(text, probabilities[text], probe, labels) for text in case] for case in template.cases]
        failures = [case for case in cases if not passes(probe, case)]
        own = {field.name: getattr(probe, field.name) for field in fields(Expectation)}
        passed = len(cases) - len(failures)
        rows.append(ProbeRow(**own, template=template.written, n=len(cases), passed=passed, failures=failures))
    return rows


def answer(text: str, probabilities: np.ndarray, probe: Probe, labels: Sequence[str]) -> Answer:
    best = int(probabilities.argmax())
    asked = None if probe.label is None else float(probabilities[labels.index(probe.label)])
    return Answer(text, labels[best], float(probabilities[best]), asked)


def passes(probe: Probe, case: Sequence[Answer]) -> bool:
    if probe.kind == "mft":
        return case[0].label == probe.label
    before, after = case
    if probe.kind == "inv":
        return before.label == after.label
    rise = (after.asked or 0.0) - (before.asked or 0.0)
    return (rise if probe.goes == "up" else -rise) > probe.by


def answerable(probes: Iterable[Probe], labels: Sequence[str]) -> bool:
    """Whether a classifier with these labels has those of all probes."""
    return {probe.label for probe in probes} - {None} <= set(labels)


def read_probes(path: str | Path = BUNDLED) -> list[Probe]:
    """Probes from a file in the form above. DataError says what is wrong with it, where, and what to do."""
    path = Path(path)
    # TOML.
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: no TOML: {error}; texts stand in quotes, and so do names of Japanese slots"
        raise DataError(message) from error
    # Tables.
    if unknown := [key for key in content if key not in ("slots", "probe")]:
        message = f"{path}: {listed(unknown)} is not known here; a file has [slots] and, for each probe, [[probe]]"
        raise DataError(message)
    written = content.get("probe", [])
    if not isinstance(written, list) or not written or not all(isinstance(probe, dict) for probe in written):
        raise DataError(f"{path}: there is no probe: begin each with a line [[probe]]")
    try:
        slots = slots_of(content.get("slots", {}))
    except ValueError as error:
        raise DataError(f"{path}: [slots]: {error}") from error
    probes = []
    for number, one in enumerate(written, start=1):
        try:
            probes.append(probe_of(one, slots))
        except ValueError as error:
            raise DataError(f"{path}: probe {number} ({one.get('name', 'without a name')}): {error}") from error
    return probes


def probe_of(written: Mapping[str, Any], slots: Mapping[str, list[str]]) -> Probe:
    """One table of the file. ValueError says what is wrong with it."""
    # Its keys.
    kind = written.get("kind")
    if not isinstance(kind, str) or kind not in KEYS:
        raise ValueError(f"kind is {kind!r}: write one of {listed(KEYS)}")
    if lacking := KEYS[kind] - set(written):
        raise ValueError(f"{kind} needs {listed(sorted(lacking))} too")
    if unknown := set(written) - KEYS[kind] - (EXTRA if kind == "dir" else EXTRA - {"by"}):
        raise ValueError(f"{kind} has no {listed(sorted(unknown))}: leave it out")
    # Their values.
    for key in ("name", "gloss", "label"):
        if not isinstance(written.get(key, ""), str):
            raise ValueError(f"{key} is {written[key]!r}: write a text in quotes")
    if kind == "dir" and written["goes"] not in ("up", "down"):
        raise ValueError(f"goes is {written['goes']!r}: write 'up' or 'down'")
    by = written.get("by", 0.0)
    if isinstance(by, bool) or not isinstance(by, int | float) or not isfinite(by) or not -1 < by < 1:
        raise ValueError(f"by is {by!r}: write a number between -1 and 1, a difference of probabilities")
    own = dict(slots) | slots_of(written.get("slots", {}))
    templates = templates_of(written, "templates" if kind == "mft" else "pairs", own)
    gloss, label, goes = written.get("gloss", ""), written.get("label"), written.get("goes")
    return Probe(written["name"], gloss, kind, label, goes, float(by), templates)


def slots_of(written: Any) -> dict[str, list[str]]:
    if not isinstance(written, dict):
        raise ValueError('slots are lists of words by name: "場所" = ["部屋", "お風呂"]')
    for name, words in written.items():
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ValueError(f"the slot {name!r} must be a list of words in quotes, with one or more of them")
    return dict(written)


def templates_of(written: Mapping[str, Any], key: str, slots: Mapping[str, list[str]]) -> list[Template]:
    """The templates, or the pairs of them, with their texts."""
    if not isinstance(written[key], list) or not written[key]:
        raise ValueError(f"{key} must be a list, with one of them or more")
    found = []
    for number, one in enumerate(written[key], start=1):
        try:
            found.append(filled([one], 1, slots) if key == "templates" else filled(one, 2, slots))
        except ValueError as error:
            raise ValueError(f"{key}, number {number}: {error}") from error
    return found


def filled(sides: Any, wanted: int, slots: Mapping[str, list[str]]) -> Template:
    """A template, or both of a pair, with every combination of words, the same in both."""
    if not isinstance(sides, list) or len(sides) != wanted or not all(isinstance(s, str) and s.strip() for s in sides):
        form = "a text in quotes" if wanted == 1 else 'a pair of texts, ["before", "after"]'
        raise ValueError(f"{sides if wanted == 2 else sides[0]!r} is not {form}")
    names = list(dict.fromkeys(name for side in sides for name in SLOT.findall(side)))
    if lost := [name for name in names if name not in slots]:
        raise ValueError(f"it asks for {listed(lost)}, but the slots are {listed(slots)}: write it under [slots]")
    if any(set("{}") & set(SLOT.sub("", side)) for side in sides):
        raise ValueError("it has a { or } without the other: a slot is written {name}")
    if (number := prod(len(slots[name]) for name in names)) > MOST:
        raise ValueError(f"it makes {number} texts, more than {MOST}: take fewer words or slots")
    choices = [dict(zip(names, words, strict=True)) for words in product(*(slots[name] for name in names))]
    return Template(" → ".join(sides), [tuple(fill(side, words) for side in sides) for words in choices])


def fill(template: str, words: Mapping[str, str]) -> str:
    return SLOT.sub(lambda found: words[found[1]], template)
