"""Probes: what passes and what fails with a stand-in whose answers are known, and what is said of a broken file."""

import json

import numpy as np
import pytest
import torch
from tiny_checkpoint import SIZES, TOKENIZER

from tezukuri.data.dataset import DataError
from tezukuri.data.jrte import LABELS
from tezukuri.eval.classifier import Classifier
from tezukuri.eval.failures.page import KINDS, MOVES
from tezukuri.eval.failures.probes import BUNDLED, KEYS, ProbeRow, answerable, read_probes, run_probes
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.scripts.command import main as command
from tezukuri.scripts.probe import table
from tezukuri.weights.save import save

FILE = """
[slots]
"場所" = ["部屋", "風呂", "庭"]
"狭" = ["狭", "暗"]

[[probe]]
name = "blame"
gloss = "悪い点"
kind = "mft"
label = "negative"
templates = ["{場所}が{狭}いです。", "{場所}です。"]

[[probe]]
name = "plain"
kind = "inv"
pairs = [["{場所}が{狭}いです。", "{場所}が{狭}い。"], ["{場所}が{色}い。", "{場所}は{色}い。"]]
slots = { "色" = ["赤"] }

[[probe]]
name = "less"
kind = "dir"
label = "negative"
goes = "down"
by = 0.25
pairs = [["{場所}が狭いです。", "{場所}は狭くないです。"]]

[[probe]]
name = "more"
kind = "dir"
label = "negative"
goes = "up"
by = -0.25
pairs = [["{場所}が狭いです。", "{場所}は狭くないです。"], ["{場所}です。", "{場所}が狭いです。"]]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def stand_in(texts):
    """p(negative): .9 with 狭い or 暗い, but where the sentence is plain and in a garden; .75 and .5 with くない."""
    known = []
    for text in texts:
        negative = 0.9 if "狭い" in text or "暗い" in text else 0.125
        if "庭" in text and not text.endswith("です。"):
            negative = 0.125
        if "くない" in text:
            negative = 0.75 if text.startswith("庭") else 0.5
        known.append((negative, 1 - negative))
    assert len(set(texts)) == len(texts)  # none is asked twice
    return np.array(known)


def test_each_kind_passes_and_fails_where_it_should(file):
    rows = run_probes(read_probes(file), ("negative", "positive"), stand_in)
    found = [(row.name, row.template, row.n, row.passed) for row in rows]
    assert found == [
        ("blame", "{場所}が{狭}いです。", 6, 6),
        ("blame", "{場所}です。", 3, 0),
        ("plain", "{場所}が{狭}いです。 → {場所}が{狭}い。", 6, 4),  # not in the garden
        ("plain", "{場所}が{色}い。 → {場所}は{色}い。", 3, 3),  # both positive: the same is enough
        ("less", "{場所}が狭いです。 → {場所}は狭くないです。", 3, 2),  # in the garden it falls by .15 only
        ("more", "{場所}が狭いです。 → {場所}は狭くないです。", 3, 1),  # and that is less than .25
        ("more", "{場所}です。 → {場所}が狭いです。", 3, 3),
    ]
    blame, plain, less = rows[1], rows[2], rows[4]
    assert [(a.text, a.label, a.probability, a.asked) for (a,) in blame.failures] == [
        (f"{place}です。", "positive", 0.875, 0.125) for place in ("部屋", "風呂", "庭")
    ]
    assert [[(a.text, a.label, a.asked) for a in case] for case in plain.failures] == [
        [(f"庭が{stem}いです。", "negative", None), (f"庭が{stem}い。", "positive", None)] for stem in ("狭", "暗")
    ]
    assert [[a.asked for a in case] for case in less.failures] == [[0.9, 0.75]]
    assert blame.rate == 0 and plain.rate == pytest.approx(2 / 3) and blame.gloss == "悪い点"


def test_a_change_must_be_more_than_what_is_asked(file):
    def falls_by_a_quarter(texts):
        return np.array([(0.75, 0.25) if "くない" in text or text.endswith("です。") else (1.0, 0.0) for text in texts])

    text = (
        FILE[: FILE.index("[[probe]]")]
        + FILE[FILE.index('[[probe]]\nname = "less"') : FILE.index('[[probe]]\nname = "more')]
    )
    for by, passed in (("0.25", 0), ("0.24", 3), ("-0.5", 3)):
        changed = text.replace("by = 0.25", f"by = {by}").replace("狭いです", "狭い")
        file.write_text(changed, encoding="utf-8")
        (row,) = run_probes(read_probes(file), ("negative", "positive"), falls_by_a_quarter)
        assert row.passed == passed, by
        file.write_text(changed.replace('"down"', '"up"'), encoding="utf-8")
        (row,) = run_probes(read_probes(file), ("negative", "positive"), falls_by_a_quarter)
        assert row.passed == (3 if by == "-0.5" else 0), by


def test_a_label_that_the_classifier_lacks_is_named(file):
    probes = read_probes(file)
    assert answerable(probes, ("negative", "x")) and not answerable(probes, ("bad", "good"))
    with pytest.raises(
        ValueError, match="the probe 'blame' asks for the label 'negative', but the classifier has 'bad'"
    ):
        run_probes(probes, ("bad", "good"), stand_in)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"場所" = [', "場所 = ["), r"no TOML: .*line 3.*; texts stand in quotes, and so do names of Japanese slots"),
        (('["狭", "暗"]', '"狭"'), r"\[slots\]: the slot '狭' must be a list of words in quotes"),
        (('["狭", "暗"]', "[]"), r"\[slots\]: the slot '狭' must be a list of words in quotes, with one or more"),
        (("[slots]", "[words]"), r"'words' is not known here; a file has \[slots\]"),
        (('kind = "mft"', 'kind = "unit"'), r"probe 1 \(blame\): kind is 'unit': write one of 'mft', 'inv', 'dir'"),
        (('kind = "mft"', "kind = []"), r"probe 1 \(blame\): kind is \[\]"),
        (('label = "negative"\ntemplates', "templates"), r"probe 1 \(blame\): mft needs 'label' too"),
        (("gloss", "color"), r"probe 1 \(blame\): mft has no 'color': leave it out"),
        (('name = "plain"', ""), r"probe 2 \(without a name\): inv needs 'name' too"),
        (('name = "plain"', 'name = "plain"\nlabel = "x"'), r"probe 2 \(plain\): inv has no 'label'"),
        (('name = "plain"', 'name = "plain"\nby = 0.1'), r"probe 2 \(plain\): inv has no 'by'"),
        (('"{場所}です。"]', '"{場処}です。"]'), r"number 2: it asks for '場処', but the slots are '場所', '狭'"),
        (('"{場所}です。"]', '"{場所です。"]'), r"templates, number 2: it has a { or } without the other"),
        (('"{場所}です。"]', "3]"), r"templates, number 2: 3 is not a text in quotes"),
        (('["{場所}が{色}い。", "{場所}は{色}い。"]', '"{場所}が{色}い。"'), r"pairs, number 2: .* not a pair"),
        (('["{場所}が{色}い。", "{場所}は{色}い。"]', '["{場所}が{色}い。"]'), r"number 2: .* not a pair of texts"),
        (('templates = ["{場所}が{狭}いです。", "{場所}です。"]', "templates = []"), r"templates must be a list"),
        (('goes = "down"', 'goes = "below"'), r"probe 3 \(less\): goes is 'below': write 'up' or 'down'"),
        (("by = 0.25", "by = 25"), r"probe 3 \(less\): by is 25: write a number between -1 and 1"),
        (("by = 0.25", "by = nan"), r"probe 3 \(less\): by is nan"),
        (("by = 0.25", "by = true"), r"probe 3 \(less\): by is True"),
        (('slots = { "色" = ["赤"] }', "slots = 3"), r"probe 2 \(plain\): slots are lists of words by name"),
        ((FILE[FILE.index("[[probe]]") :], ""), "there is no probe: begin each with a line"),
        ((FILE, "probe = 3"), "there is no probe: begin each with a line"),
        (('["部屋", "風呂", "庭"]', str(["部屋"] * 5001)), "number 1: it makes 10002 texts, more than 10000"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_with_its_place(file, change, message):
    assert change[0] in FILE
    file.write_text(FILE.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_probes(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_file_that_is_no_text_or_not_there(file, tmp_path):
    file.write_bytes(FILE.encode("cp932"))
    with pytest.raises(DataError, match=r"not UTF-8 .* save the file as UTF-8"):
        read_probes(file)
    file.write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert len(read_probes(file)) == 4
    with pytest.raises(DataError, match="no such file"):
        read_probes(tmp_path / "nothing.toml")


def test_the_probes_of_the_package_are_for_jrte_and_not_too_many():
    probes = read_probes()
    assert answerable(probes, LABELS) and {probe.label for probe in probes} == {*LABELS, None}
    assert {probe.kind for probe in probes} == set(KINDS) == set(KEYS) and len(MOVES) == 4
    assert all(probe.gloss for probe in probes) and len({probe.name for probe in probes if probe.kind == "mft"}) > 5
    texts = {text for probe in probes for template in probe.templates for case in template.cases for text in case}
    assert 300 < len(texts) < 600
    assert all("{" not in text and text[-1] in "。いだたす！" for text in texts)
    slots = BUNDLED.read_text(encoding="utf-8").split("[slots]")[1].split("[[probe]]")[0].count(" = [")
    used = {name for probe in probes for template in probe.templates for name in template.written.split("{")[1:]}
    assert len({name.split("}")[0] for name in used}) == slots + 3  # three are a probe's own


def test_two_probes_of_one_name_each_say_what_they_expect():
    rows = [ProbeRow("a", "", "mft", label, None, 0.0, "x", 1, 1, []) for label in ("good", "good", "bad")]
    headings = [line.strip() for line in table(rows) if "expected" in line]
    assert headings == ["mft  a, expected: good", "mft  a, expected: bad"]


def test_the_command_shows_a_table_and_writes_json(file, tmp_path, capsys):
    torch.manual_seed(0)
    labels = ("negative", "positive")
    model = Model(Bert(BertConfig(**SIZES)), labels).eval()
    save(model, TOKENIZER, tmp_path / "model")
    arguments = ["probe", str(file), "--model", str(tmp_path / "model"), "--device", "cpu"]
    assert command([*arguments, "--output", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert len(rows) == 7 and "mft  blame, expected: negative" in printed
    assert "dir  less, expected: negative goes down by more than 0.25" in printed
    assert "dir  more, expected: negative goes up, or down by less than 0.25" in printed
    assert f"{sum(row['passed'] for row in rows)} of 27  all" in printed
    classifier = Classifier(model, TOKENIZER, "cpu", "fp32")
    for row in rows:
        assert f"{row['passed']} of {row['n']}  {row['template']}" in printed
        assert row["n"] - row["passed"] == len(row["failures"])
        for said in (said for case in row["failures"] for said in case):
            prediction = classifier(said["text"])
            assert said["label"] == prediction.label
            assert said["probability"] == pytest.approx(prediction.probability, abs=1e-5)
    assert any(row["failures"] for row in rows)
    assert command(["probe", "--model", str(tmp_path / "model")]) == 1  # those of the package want three labels
    assert "asks for the label 'normal'" in capsys.readouterr().err
