"""How texts are cut: said with its figures, kept with the model, and the same in training and afterwards."""

import json
import re
from pathlib import Path

import pytest
import transformers
from tiny_checkpoint import TEXTS, TOKENIZER, checkpoint

import tezukuri
from tezukuri.data.dataset import Example
from tezukuri.eval.predict import how_to_cut
from tezukuri.scripts.command import main as command
from tezukuri.weights.load import CheckpointError
from tezukuri.weights.save import save

HEAD, TAIL = "駅から近くて便利でした。", "部屋が狭くて最悪でした。"  # 64 tokens are the most that the tiny model reads
KEPT = {"max_length": 12, "truncation": "head_tail"}
LABELS = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
TRAINING = ["--epochs", "1", "--regularizer", "none", "--no-report", "--no-checkpoint", "--precision", "fp32"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A classifier of a folder that keeps nothing about cutting."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    checkpoint(folder, "BertForSequenceClassification", **LABELS)
    return folder


@pytest.fixture(scope="module")
def kept(plain, tmp_path_factory) -> Path:
    """The same classifier, with `KEPT`."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    save(*tezukuri.load(plain, "classify"), folder, cut=KEPT)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Forty texts, of which ten have 12 sentences and thirty have one."""
    path = tmp_path_factory.mktemp("table") / "reviews.csv"
    rows = [
        (text * (12 if i < 10 else 1), "good" if text == HEAD else "bad") for i in range(20) for text in (HEAD, TAIL)
    ]
    path.write_text("text,label\n" + "".join(f"{i}{t},{label}\n" for i, (t, label) in enumerate(rows[10:])), "utf-8")
    return path


def test_a_sentence_tells_how_many_were_cut_and_how_long_they_were():
    lengths = [len(TOKENIZER.encode(text)) for text in (HEAD, HEAD * 3, TAIL * 5)]
    batch = TOKENIZER.encode_batch([HEAD, HEAD * 3, TAIL * 5, HEAD], max_length=lengths[0])
    assert batch.whole.tolist() == [*lengths, lengths[0]]
    mean = (lengths[1] + lengths[2]) / 2
    assert batch.cut(lengths[0]) == (
        f"50.0% (2 of 4) cut to {lengths[0]} tokens, of {mean:.0f} on average; the longest has {lengths[2]}"
    )
    assert TOKENIZER.encode_batch([HEAD]).cut(64) == ""
    pair = TOKENIZER.encode_batch([HEAD], [TAIL])
    assert pair.whole.tolist() == [len(TOKENIZER.encode(HEAD, TAIL))]


@pytest.mark.parametrize(
    ("told", "max_length", "truncation", "how", "said"),
    [
        ({}, None, None, (64, "longest_first"), []),
        ({}, 64, None, (64, "longest_first"), []),
        ({}, 512, None, (64, "longest_first"), ["max_length 512 is more than the model can read: 64 tokens"]),
        ({}, 9, "head_tail", (9, "head_tail"), []),
        ({"max_length": 64, "truncation": "longest_first"}, None, None, (64, "longest_first"), []),
        (KEPT, None, None, (12, "head_tail"), ["texts are cut as in training: to 12 tokens, head_tail"]),
        (KEPT, 30, None, (30, "head_tail"), [
            "texts are cut to 30 tokens, head_tail, but in training they were cut to 12 tokens, head_tail"]),
        (KEPT, None, "only_first", (12, "only_first"), [
            "texts are cut to 12 tokens, only_first, but in training they were cut to 12 tokens, head_tail"]),
    ],
)  # fmt: skip
def test_what_is_asked_goes_before_training_and_that_before_the_model(plain, told, max_length, truncation, how, said):
    model, _ = tezukuri.load(plain, "classify")
    found = how_to_cut(model, told, max_length, truncation)
    assert found == ({"max_length": how[0], "truncation": how[1]}, said)


def test_a_folder_keeps_how_texts_are_cut_and_transformers_reads_it_too(plain, kept, caplog):
    text = HEAD * 4 + TAIL
    ours = tezukuri.Classifier.load(kept, precision="fp32")
    assert ours.how == KEPT and "as in training: to 12 tokens, head_tail" in caplog.text
    by_hand = tezukuri.Classifier.load(plain, precision="fp32", **KEPT)
    assert ours(text).probabilities == by_hand(text).probabilities
    assert ours(text).truncated and ours(text).tokens == len(TOKENIZER.encode(text))
    caplog.clear()
    whole = tezukuri.Classifier.load(plain, precision="fp32")
    assert whole.how["max_length"] == 64 and not caplog.text
    assert whole(text).probabilities != pytest.approx(ours(text).probabilities, abs=1e-3)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(kept)
    assert theirs.config.id2label == LABELS["id2label"]
    tezukuri.Classifier.load(plain, max_length=512)
    assert "max_length 512 is more than the model can read: 64 tokens" in caplog.text


@pytest.mark.parametrize(
    "cut", ["short", {"max_length": 0}, {"max_length": "9"}, {"truncation": "x"}, {"side": "left"}]
)
def test_a_folder_that_tells_nonsense_of_cutting_is_refused(kept, tmp_path, cut):
    told = json.loads((kept / "config.json").read_text(encoding="utf-8"))
    for file in kept.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(told | {"tezukuri": cut}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tezukuri is .*: mend it, or delete it"):
        tezukuri.Classifier.load(tmp_path)


def test_finetune_says_what_it_cuts_and_all_that_follows_cuts_alike(plain, table, tmp_path, capsys, caplog):
    arguments = ["--model", str(plain), "--data", str(table), "--truncation", "head_tail", *TRAINING]
    assert command(["finetune", *arguments, "--max-length", "12", "--output-dir", str(tmp_path)]) == 0
    (run,) = tmp_path.glob("*/*/*")
    printed = capsys.readouterr().out
    assert "cut to 12 tokens, of " in printed and "more than the model can read" not in printed
    kept = json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))["tezukuri"]
    assert kept == KEPT | {"task": {"name": "classify", "pairs": False}}
    # The classifier, the run and evaluate agree with what training saw.
    again = tezukuri.Run.load(run)
    found = [tezukuri.Classifier.load(run, precision="fp32"), again.classifier]
    assert found[0].how == found[1].how == again.scorer.cut == KEPT
    rows = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()]
    for classifier in found:
        for row, one in zip(rows, classifier([row["text"] for row in rows]), strict=True):
            assert one.probabilities == pytest.approx(row["probabilities"], abs=1e-5)
    quiet = ["--no-report", "--precision", "fp32", "--split", "test", "--output-dir", str(tmp_path / "judged")]
    assert command(["evaluate", "--model", str(run), "--data", str(table), *quiet]) == 0
    assert "note    texts are cut as in training: to 12 tokens, head_tail" in capsys.readouterr().out
    (judged,) = (tmp_path / "judged").glob("*/*/*")
    scores = [json.loads((folder / "test-metrics.json").read_text()) for folder in (judged, run)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert command(["evaluate", "--model", str(run), "--data", str(table), *quiet, "--max-length", "20"]) == 0
    assert "cut to 20 tokens, head_tail, but in training they were cut to 12" in capsys.readouterr().out


def test_a_max_length_that_the_model_cannot_read_is_not_capped_in_silence(plain, table, tmp_path, capsys):
    sentence = "max_length 512 is more than the model can read: 64 tokens"
    quiet = ["--data", str(table), "--max-length", "512", "--no-report", "--output-dir", str(tmp_path)]
    assert command(["finetune", "--model", str(plain), *quiet, *TRAINING]) == 0
    assert sentence in capsys.readouterr().out
    assert command(["evaluate", "--model", str(plain), *quiet]) == 0
    assert sentence in capsys.readouterr().out


def test_probe_a_teacher_and_a_soup_cut_as_their_model_was_trained(kept, monkeypatch, capsys):
    from tezukuri.scripts import probe
    from tezukuri.train import soup

    seen = []
    monkeypatch.setattr(probe, "score_probes", lambda scorer, probes: seen.append(scorer.cut) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        probe.main(["--model", str(kept)])
    assert "cut as in training" in capsys.readouterr().out
    monkeypatch.setattr(soup.Scorer, "encode", lambda scorer, texts: seen.append(scorer.cut) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        soup.greedy_soup([kept], [Example(text, text, "bad", "dev") for text in TEXTS])
    from types import SimpleNamespace

    from tezukuri.train.regularizers.distillation import Distillation

    model, _ = tezukuri.load(kept, "classify")
    with pytest.raises(ZeroDivisionError):
        Distillation(teacher=str(kept)).begin(model, SimpleNamespace(sentences=TEXTS, parts=1), None)
    assert seen == [KEPT] * 3


@pytest.mark.parametrize("cut", [True, False])
def test_inside_shows_what_predict_computes(kept, plain, capsys, caplog, cut):
    """Of a text that is longer than the model was trained with, but not longer than it can read."""
    folder, text = kept if cut else plain, HEAD + TAIL + HEAD
    expected = tezukuri.Classifier.load(folder, precision="fp32")(text)
    assert expected.truncated == cut
    caplog.clear()
    assert command(["inside", text, "--model", str(folder)]) == 0
    printed = capsys.readouterr().out
    for label, probability in expected.probabilities.items():
        assert re.search(rf"{label}\s+\S+\s+{probability:.3f}", printed), printed[-400:]
    assert (
        ("the text was cut to 12 tokens" in printed)
        == ("cut as in training: to 12 tokens, head_tail" in caplog.text)
        == cut
    )
