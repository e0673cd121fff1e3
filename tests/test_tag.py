"""Entities of a text: the head beside the reference, windows and tags, and files of entities through every command."""

import csv
import json
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins
from tiny import tiny
from torch.nn import functional as F

import tezukuri
from tezukuri.data.dataset import Dataset, Example, Found, Span
from tezukuri.data.label_kinds import label_line
from tezukuri.data.load import load
from tezukuri.eval.predict import predict
from tezukuri.eval.tasks.tag import Counts, Tag, best_tags, counts_by_kind, mistakes
from tezukuri.eval.tasks.tokens import TokenLogits
from tezukuri.model.bert import Bert
from tezukuri.model.heads import TagHead
from tezukuri.model.model import Model
from tezukuri.model.packing import NOTHING, pack
from tezukuri.scripts.command import main as command
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.batch import Texts
from tezukuri.train.graphs import why_not
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import SHELF, regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.train.team import Team
from tezukuri.weights.architectures import ARCHITECTURES
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_ready_classifier, load_with_report
from tezukuri.weights.save import save

PEOPLE, PLACES, OTHERS = ("田中", "鈴木花子"), ("東京", "大阪駅"), ("は", "に", "行く", "。", "🎉", " ", "\n", "Ａ")
LABELS = ("O", "B-place", "I-place", "B-person", "I-person")
TASK = Tag(LABELS)
TRAINED = {"model": "scratch", "precision": "fp32", "batch_size": 8, "lr": 3e-3, "max_length": 14}


def example(number: int, words: int = 6) -> Example:
    """A row of words, some of them people or places; the first may be white space."""
    random, text, spans = np.random.default_rng(number), "", []
    for word in random.choice([*PEOPLE, *PLACES, *OTHERS], random.integers(1, words + 1)):
        kind = "person" if word in PEOPLE else "place" if word in PLACES else ""
        spans += [Span(len(text), len(text) + len(word), kind)] if kind else []
        text += str(word)
    split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
    return Example(f"{number}", text if text.strip() else f"{text}。", tuple(spans), split)


EXAMPLES = [example(number) for number in range(132)]
TOKENIZER = JapaneseTokenizer(vocabulary_of([e.text for e in EXAMPLES], least=1))


def as_row(one: Example) -> dict:
    spans = [{"start": s.start, "end": s.end, "kind": s.kind} for s in one.label]
    return {"id": one.id, "text": one.text, "entities": spans, "split": one.split}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("entities") / "entities.jsonl", list(map(as_row, EXAMPLES)))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    told = ["--task", "tag", "--epochs", "4", "--regularizer", "r-drop", "--classes", "place,person"]
    told += [f"--{name.replace('_', '-')}={value}" for name, value in TRAINED.items()]
    assert command(["finetune", "--data", str(table), *told, "--output-dir", str(folder)]) == 0
    (one,) = folder.glob("*/*/*")
    return tezukuri.Run.load(one, "cpu")


# --- the head, and the hub ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_logits_loss_and_gradients_equal_the_oracles(kind, tmp_path):
    ours, oracle = twins(Model(encoder(kind, pooler=False), LABELS, TagHead))
    assert type(oracle).__name__.endswith("ForTokenClassification") and oracle.config.id2label[2] == "I-place"
    encodings = texts_for(ours.config)
    rows = padded(encodings, ours.config.pad_token_id)
    tags = torch.randint(-1, 5, rows["input_ids"].shape, generator=torch.Generator().manual_seed(0))
    there = rows["attention_mask"].bool()
    tags[~there] = -1
    logits = ours(pack(encodings, multiple=16)).logits
    assert bool((logits[~there] == NOTHING).all())
    wider = F.pad(tags, (0, 3), value=-1)  # as those of a split with longer texts
    loss = ours.classifier.loss(logits, wider.float()).sum() / len(tags)
    theirs = oracle(**rows, labels=tags.masked_fill(tags == -1, -100))
    torch.testing.assert_close(logits[there], theirs.logits[there], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle, atol=1e-5)
    oracle.save_pretrained(tmp_path)  # and back
    TOKENIZER.save(tmp_path)
    again = load_with_report(tmp_path, "classify", head=None)
    assert type(again.model.classifier) is TagHead and again.report.new == [] and again.model.labels == LABELS
    torch.testing.assert_close(again.model(pack(encodings)).logits, logits)


def test_another_head_is_not_taken_for_it(tmp_path):
    for name, head in (("classes", None), ("tags", TagHead)):
        model = Model(Bert(tiny(vocab_size=TOKENIZER.vocab_size)), LABELS, **({"head": head} if head else {}))
        save(model, TOKENIZER, tmp_path / name)
    anew = load_with_report(tmp_path / "classes", "classify", LABELS, head=TagHead)
    assert anew.report.new == ["classifier.weight", "classifier.bias"] and anew.model.bert.pooler is None
    with pytest.raises(CheckpointError, match="no classifier for sentences"):
        load_with_report(tmp_path / "tags", "classify")
    with pytest.raises(CheckpointError, match="lacks classifier"):
        load_ready_classifier(tmp_path / "classes", LABELS, head=TagHead)


def test_how_far_two_answers_are_apart_is_a_mean_over_tokens():
    p, q = torch.randn(2, 3, 7, 5)
    lengths = torch.tensor([7, 2, 4])
    there = torch.arange(7) < lengths[:, None]
    p[~there] = q[~there] = NOTHING
    one, other = (torch.distributions.Categorical(logits=logits[there]) for logits in (p, q))
    head, expected = TagHead(4, 5), torch.distributions.kl_divergence(one, other).mean()
    torch.testing.assert_close(head.apart(p, q), expected)
    torch.testing.assert_close(head.apart(p.bfloat16(), q.bfloat16()), expected, rtol=0.05, atol=0.01)
    both = expected + torch.distributions.kl_divergence(other, one).mean()
    torch.testing.assert_close(head.apart(p, q, both_ways=True), both)


# --- tags and windows ---------------------------------------------------------------------------------------------


def sure(task: Tag, examples: list[Example], tokenizer=TOKENIZER, **how) -> TokenLogits:
    """The logits of a model that is certain of the right tags."""
    windows = task.encode(tokenizer, examples, **how)
    tags = task.laid(examples, windows).astype(int)
    rows = 30 * np.eye(len(task.labels))[tags.clip(min=0)]
    rows[tags < 0] = np.random.default_rng(0).normal(size=rows[tags < 0].shape) * 50
    return task.read(rows.astype(np.float32), windows)


@pytest.mark.parametrize("max_length", [None, 4, 5, 9])
def test_right_tags_give_back_all_entities_through_windows_of_any_size(max_length):
    """Emoji, spaces, line breaks and full-width letters stand between them; two that touch stay two."""
    examples = [example(number, 30) for number in range(40)]
    logits = sure(TASK, examples, max_length=max_length)
    answers = TASK.answers(logits)
    assert answers == [e.label for e in examples] and len(logits) == 40
    assert all(one.probability > 0.99 for spans in answers for one in spans)
    windows = logits.windows
    assert not any("\n" in label_line(e.label, e.text) for e in examples)
    assert np.diff(windows.boundaries).max() <= (max_length or 99)
    assert (len(windows) > 40) == (max_length is not None)
    scores = TASK.measure(logits, examples)
    assert scores["micro_f1"] == scores["macro_f1"] == 1 and scores["loss"] < 1e-6


def test_each_token_is_judged_where_most_others_stand_around_it():
    text = Example("", "東京に行く。" * 4, (), "")
    windows = TASK.encode(TOKENIZER, [text], max_length=8)
    whole = TOKENIZER.tokens_of(text.text)
    for number, begin in enumerate(windows.begins):  # windows are the text's own tokens, with their places
        own = whole[begin : begin + windows.counts[number]]
        assert windows.offsets_in(number).tolist() == [[piece.start, piece.end] for piece in own]
        assert windows[number].ids.tolist() == TOKENIZER.template.around([piece.id for piece in own])
    assert windows.begins.tolist() == list(range(0, len(whole) - 2, 4))  # 6 tokens, 2 of them again
    rows = np.zeros((len(windows), 8, 5), dtype=np.float32)
    rows[:, :, 3] = 5
    rows[:, 6, 3] = -5  # the last of a window stands second in the next
    rows[-1, 6, 3] = 5
    ((found, *others),) = TASK.answers(TokenLogits(rows, windows))
    assert found[:2] == (whole[0].start, whole[0].end) and len(others) == len(whole) - 1
    assert "1 of them have more than 8 tokens" in windows.cut(8)


def test_a_token_that_reaches_beyond_an_entity_is_said():
    one = Example("", "東京都は", (Span(0, 1, "place"),), "")
    tokenizer = JapaneseTokenizer(vocabulary_of(["東京都は"], least=1))
    logits = sure(TASK, [one], tokenizer)
    assert TASK.summary([one], logits.windows) == (
        " (1 entities; 1 of them begin or end inside a token, and cannot be told exactly)"
    )
    ((found,),) = TASK.answers(logits)
    assert found.start == 0 and found.end > 1
    assert TASK.summary(EXAMPLES[:9], TASK.encode(TOKENIZER, EXAMPLES[:9])).endswith("entities)")


def test_viterbi_finds_the_best_allowed_row():
    random, lengths = np.random.default_rng(0), np.array([4, 0, 1, 3])
    rows = np.log(random.dirichlet(np.ones(5), lengths.sum()))
    follow, begin = TASK.transitions(), TASK.may_begin()
    assert begin.tolist() == [True, True, False, True, False]
    found = np.split(best_tags(rows, lengths, follow, begin), lengths.cumsum()[:-1])
    for tags, own in zip(found, np.split(rows, lengths.cumsum()[:-1]), strict=True):
        allowed = [
            path for path in product(range(5), repeat=len(own))
            if not path or (begin[path[0]] and all(follow[a, b] for a, b in pairwise(path)))
        ]  # fmt: skip
        best = max(allowed, key=lambda path: sum(own[i, tag] for i, tag in enumerate(path)))
        assert tuple(tags) == best
    assert [best_tags(rows[:1].repeat(3, 0), np.array([3]), follow, np.eye(5, dtype=bool)[1])[0]] == [1]


def test_entities_are_counted_as_seqeval_does():
    """Right are start, end and kind together; by hand, as its README does with one of two right."""
    gold = [(Span(0, 2, "a"), Span(3, 5, "b")), (Span(0, 1, "a"),)]
    told = [(Span(0, 2, "a"), Span(3, 6, "b")), ()]
    counts = counts_by_kind(gold, told)
    assert counts == {"a": Counts(2, 1, 1), "b": Counts(1, 1, 0)}
    assert (counts["a"].precision, counts["a"].recall, counts["a"].f1) == (1, 0.5, pytest.approx(2 / 3))
    assert counts["b"].f1 == Counts(0, 0, 0).f1 == 0
    assert Found.of(0, 2, "a", 0.5) == Span(0, 2, "a")


def test_mistakes_are_sorted():
    gold = [(Span(0, 2, "a"), Span(3, 5, "b"), Span(6, 8, "a"), Span(9, 10, "b"), Span(11, 12, "a"))]
    told = [(Span(0, 2, "b"), Span(3, 4, "b"), Span(4, 5, "b"), Span(7, 9, "b"), Span(11, 12, "a"), Span(20, 22, "b"))]
    found = mistakes(gold, told)
    assert found == {
        ("another kind", "a", "b"): 1, ("other borders", "b", "b"): 1, ("other borders", "a", "b"): 1,
        ("missed", "b", ""): 1, ("invented", "", "b"): 1,
    }  # fmt: skip
    assert {one.kinds for one in found} == {"a → b", "b"}
    assert mistakes(gold, gold) == {}


def test_tags_of_models_on_the_hub_are_read_or_refused():
    bare = Tag(("O", "PER", "ORG"))
    assert bare.kinds == ("PER", "ORG") and bare.may_begin().all()
    assert bare.labels_are == "entities" and Tag(("B-a", "I-a", "O")).may_begin().tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"the tag 'E-a': of the schemes .* only B, I and O"):
        Tag(("O", "B-a", "I-a", "E-a", "S-a"))
    with pytest.raises(ValueError, match="tags of entities are O, B-kind and I-kind, and this model has a, b"):
        Tag(("a", "b"))
    with pytest.raises(ValueError, match="in windows, and cuts none: leave out --truncation head_tail"):
        TASK.encode(TOKENIZER, EXAMPLES, truncation="head_tail")
    with pytest.raises(ValueError, match="a TagHead reads tokens, and not mean: leave out the pooling"):
        Model(Bert(tiny()), LABELS, TagHead, "mean")
    with pytest.raises(ValueError, match="max_length 3 has no room for a text and 2 special tokens"):
        TASK.encode(TOKENIZER, EXAMPLES, max_length=3)


# --- regularizers -------------------------------------------------------------------------------------------------

REFUSED = {  # by name
    "label-smoothing", "class-balanced", "focal", "judge-votes", "distillation", "hidden-mixup",
    "multi-sample-dropout", "word-noise", "supcon", "simcse", "temperature",
}  # fmt: skip


@pytest.mark.parametrize("name", SHELF)
def test_a_regularizer_works_or_is_refused_by_name(name):
    torch.manual_seed(0)
    model = Model(Bert(tiny(vocab_size=TOKENIZER.vocab_size, initializer_range=0.1), pooler=False), LABELS, TagHead)
    examples = EXAMPLES[:22]
    encodings = TASK.encode(TOKENIZER, examples, max_length=9)
    texts = Texts(encodings, TASK.laid(examples, encodings), against=examples)
    settings = Settings(epochs=1, batch_size=8, lr=3e-3, precision="bf16", select="last")
    training = fine_tune(model, TASK, texts, texts, settings, regularizers=regularizers_of([name]))
    if name in REFUSED:
        with pytest.raises(ValueError, match=name):
            next(training)
        return
    before = predict(model, encodings)
    *_, row = training
    assert np.isfinite([value for value in row.values() if value is not None]).all()
    assert not torch.equal(predict(model, encodings), before)
    if name in ("r-drop", "smart"):
        assert row[f"train_{name}"] > 0


def test_graphs_are_left_out_with_the_reason():
    cuda = torch.device("cuda")
    settings = Settings(precision="fp32", graphs=True)
    assert why_not(settings, cuda, torch.float32, Team()) == ""
    assert why_not(settings, cuda, torch.float32, Team(), "tokens").startswith("batches differ in what the head reads")


# --- files and commands -------------------------------------------------------------------------------------------


def test_it_is_learned_and_its_folder_is_whole(run):
    assert run.data.labels == ("place", "person") and run.task.labels == LABELS
    assert max(row["dev_micro_f1"] for row in run.log) > 0.8 and run.log[-1]["train_r-drop"] > 0
    scores = json.loads((run.folder / "val-metrics.json").read_text())
    assert scores["micro_f1"] == pytest.approx(max(row["dev_micro_f1"] for row in run.log[1:]), abs=1e-6)
    assert run.judge("dev").metrics == pytest.approx(scores, abs=1e-4)
    assert (run.folder / "kinds.png").read_bytes()[1:4] == b"PNG" and (run.folder / "report.html").exists()
    report = (run.folder / "classification_report.txt").read_text()
    assert "micro_f1" in report and "person" in report
    rows = [json.loads(line) for line in (run.folder / "predictions-test.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["predicted"])
    assert set(row["label"][0]) == {"start", "end", "kind", "text"} and 0 < row["predicted"][0]["probability"] <= 1
    settings = json.loads((run.folder / "model" / "config.json").read_text())
    assert settings["tezukuri"]["task"] == {"name": "tag", "pairs": False} and "problem_type" not in settings


def test_predict_tells_entities_with_their_places(run, table, tmp_path, capsys):
    model = ["predict", "--model", str(run.folder / "model"), "--precision", "fp32"]
    long = Example("long", "".join(e.text for e in EXAMPLES[:20]), (), "")
    source = write(tmp_path / "a.jsonl", [as_row(one) for one in [*EXAMPLES[:20], long]] + [{"text": ""}])
    assert command([*model, "--file", str(source), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1]["not_labelled"] == "the text is empty" and rows[-1]["predicted"] is None
    for row, one in zip(rows, run.classifier([e.text for e in [*EXAMPLES[:20], long]]), strict=False):
        assert [(s["start"], s["end"], s["kind"]) for s in row["predicted"]] == list(one.label)
        assert [s["probability"] for s in row["predicted"]] == pytest.approx(
            [s.probability for s in one.label], abs=1e-5
        )
        assert all(s["text"] == row["text"][s["start"] : s["end"]] == s["text"].strip() for s in row["predicted"])
    assert len(rows[-2]["predicted"]) > 10 and rows[-2]["predicted"][-1]["end"] > 60  # beyond the first windows
    assert not any(row["truncated"] for row in rows)
    assert command([*model, "--file", str(source), "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [json.loads(row["predicted"]) for row in written[:20] if row["predicted"]] == [
        row["predicted"] for row in rows[:20] if row["predicted"]
    ]
    capsys.readouterr()
    assert command([*model, "田中は東京に行く。"]) == 0
    assert capsys.readouterr().out.split("  ")[0] == "田中 (person), 東京 (place)"


def test_evaluate_judges_it_and_says_what_it_cannot_know(run, table, tmp_path, capsys):
    arguments = ["evaluate", "--model", str(run.folder / "model"), "--output-dir", str(tmp_path), "--precision", "fp32"]
    assert command([*arguments, "--data", str(table)]) == 0
    (file,) = tmp_path.rglob("test-metrics.json")
    assert json.loads(file.read_text()) == pytest.approx(dict(run.judge("test").metrics), abs=1e-4)
    assert "entities" in capsys.readouterr().out
    other = [as_row(replace(e, label=tuple(s._replace(kind="thing") for s in e.label))) for e in EXAMPLES[:30]]
    assert command([*arguments, "--data", str(write(tmp_path / "b.jsonl", other)), "--split", "all"]) == 0
    printed = capsys.readouterr().out
    assert "kinds that the model does not have count as missed in all: 'thing'" in printed and "micro_f1" in printed
    with pytest.raises(ValueError, match=r"labels\[0\] \('x'\) is no list in JSON"):
        tezukuri.evaluate((["a", "b"], ["x", "y"]), model=str(run.folder / "model"), output_dir=str(tmp_path))


def test_the_reference_gives_its_logits(run):
    examples = EXAMPLES[:9]
    windows = run.scorer.encode(examples)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(run.folder / "model").eval()
    rows = padded(list(windows))
    with torch.no_grad():
        logits = theirs(**rows).logits
    there = rows["attention_mask"].bool().numpy()
    ours = run.scorer.logits(windows).rows[:, : there.shape[1]]
    np.testing.assert_allclose(ours[there], logits.numpy()[there], rtol=1e-4, atol=1e-4)


def test_entities_in_memory_come_back_from_the_runs_folder(tmp_path):
    some = EXAMPLES[:40]
    told = TRAINED | {"task": "tag", "epochs": 1, "regularizer": "none", "output_dir": tmp_path}
    run = tezukuri.finetune(texts=[e.text for e in some], labels=[list(e.label) for e in some], **told)
    again = tezukuri.Run.load(run.folder, "cpu")
    assert [(e.text, e.label) for e in again.data.examples] == [(e.text, e.label) for e in some]
    assert again.judge("dev").metrics == pytest.approx(dict(run.scores["dev"]), abs=1e-5)
    with pytest.raises(ValueError, match="no training text of texts has an entity"):
        tezukuri.finetune(texts=[e.text for e in some], labels=[[] for _ in some], **told)
    with pytest.raises(ValueError, match=r"labels\[1\] .* has a stretch from 0 to 99, but the text has 1 characters"):
        tezukuri.finetune(texts=["犬", "猫"], labels=[[], [(0, 99, "a")]], **told)
    pair = Dataset("x", ("a",), [Example("1", "犬", (Span(0, 1, "a"),), "train", pair="猫")])
    with pytest.raises(ValueError, match=r"x has pairs \('1'\), and entities are those of single texts"):
        tezukuri.finetune(pair, **told)
    whole = Dataset("x", ("a",), [Example("1", "犬", "a", "train")])
    with pytest.raises(ValueError, match="x has a label 'a', which is none of the task tag"):
        tezukuri.finetune(whole, **told)


@pytest.mark.parametrize(
    ("entities", "told"),
    [
        ([{"start": 0, "end": 9, "kind": "a"}], "has a stretch from 0 to 9, but the text has 4 characters"),
        ([{"start": 2, "end": 2, "kind": "a"}], "has a stretch from 2 to 2"),
        ([{"start": 0, "end": 2, "kind": "a", "text": "東都"}], "has '東都' at 0, where '東京' stands"),
        ([{"start": 0, "end": 2, "kind": "a"}, {"start": 1, "end": 3, "kind": "b"}], "overlap, '東京' and '京都'"),
        ([{"start": 0, "end": 2}], "an entity without a kind, '東京'"),
        ([{"start": "0", "end": 2, "kind": "a"}], "which does not say start, end"),
        (["東京"], "has '東京', which does not say start, end"),
        ("東京", "is no list in JSON"),
        ({"start": 0}, "(column 'entities') is no list"),
        (None, "no 'entities'"),
    ],
)
def test_a_row_that_is_wrong_is_named_by_its_line(entities, told, tmp_path):
    rows = [{"text": "犬", "entities": []}, {"text": "東京都庁", "entities": entities}]
    with pytest.raises(ValueError, match=r"a\.jsonl:2: ") as refused:
        load(write(tmp_path / "a.jsonl", rows), labels_are="entities")
    assert told in str(refused.value)


def test_a_table_has_entities_as_json(tmp_path):
    cells = [("text", "entities"), ("東京 へ", '[{"start": 0, "end": 2, "kind": "place"}]'), ("犬", ""), ("猫", "[]")]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(cells)
    data = load(tmp_path / "a.csv", labels_are="entities")
    assert [e.label for e in data.examples] == [(Span(0, 2, "place"),), (), ()] and data.labels == ("place",)
    with pytest.raises(ValueError, match=r"label 'place' .* is not one of 'person'"):
        load(tmp_path / "a.csv", labels_are="entities", labels=["person"])
