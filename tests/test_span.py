"""Answers to questions: the head beside the reference, windows over contexts, and files through every command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins
from tiny import random_texts, tiny

import tezukuri
from tezukuri.data.dataset import DataError, Dataset, Example, Span
from tezukuri.data.lists import dataset_of
from tezukuri.data.load import load
from tezukuri.eval.predict import predict
from tezukuri.eval.tasks.span import ENDS, Extract, character_f1, exact_match
from tezukuri.eval.tasks.tokens import TokenLogits
from tezukuri.model.bert import Bert
from tezukuri.model.heads import SpanHead
from tezukuri.model.model import Model
from tezukuri.model.packing import NOTHING, pack
from tezukuri.scripts.command import main as command
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import SHELF, regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.weights.architectures import ARCHITECTURES
from tezukuri.weights.load import load_with_report

PLACES, OTHERS = ("東京", "大阪駅", "名古屋"), ("私は", "昨日", "犬と", "🎉", " ", "\n", "Ａ", "行く。")
TRAINED = {"model": "scratch", "precision": "fp32", "batch_size": 8, "lr": 3e-3, "max_length": 16}


def example(number: int, words: int = 5) -> Example:
    """A place among other words; where it is, is asked."""
    random = np.random.default_rng(number)
    before, after = ("".join(random.choice(OTHERS, random.integers(1, words + 1))) for _ in range(2))
    place = str(random.choice(PLACES))
    answer = Span(len(before), len(before) + len(place))
    others = (Span(answer.start, answer.end - 1),) if number % 3 == 0 else ()  # another judge's
    split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
    return Example(f"{number}", "どこ?", (answer, *others), split, pair=before + place + after)


EXAMPLES = [example(number) for number in range(132)]
TOKENIZER = JapaneseTokenizer(vocabulary_of([e.content for e in EXAMPLES], least=1))
TASK = Extract()


def as_row(one: Example) -> dict:
    answers = [{"start": s.start, "text": one.pair[s.start : s.end]} for s in one.label]
    return {"id": one.id, "question": one.text, "context": one.pair, "answers": answers, "split": one.split}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("questions") / "questions.jsonl", list(map(as_row, EXAMPLES)))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    told = ["--task", "span", "--epochs", "4", "--regularizer", "r-drop"]
    told += [f"--{name.replace('_', '-')}={value}" for name, value in TRAINED.items()]
    assert command(["finetune", "--data", str(table), *told, "--output-dir", str(folder)]) == 0
    (one,) = folder.glob("*/*/*")
    return tezukuri.Run.load(one, "cpu")


# --- the head, and the hub ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_logits_loss_and_gradients_equal_the_oracles(kind, tmp_path):
    """The reference's softmax goes over padding too: losses are equal where there is none."""
    ours, oracle = twins(Model(encoder(kind, pooler=False), ENDS, SpanHead))
    assert type(oracle).__name__.endswith("ForQuestionAnswering") and ours.train().dropout.p == 0
    ours.eval()
    uneven = texts_for(ours.config)
    rows = padded(uneven, ours.config.pad_token_id)
    logits, theirs = ours(pack(uneven, multiple=16)).logits, oracle(**rows)
    there = rows["attention_mask"].bool()
    both = torch.stack([theirs.start_logits, theirs.end_logits], dim=2)
    torch.testing.assert_close(logits[there], both[there], rtol=1e-5, atol=1e-5)
    assert bool((logits[~there] == NOTHING).all())
    even = random_texts(ours.config, [11, 11, 11])
    for one in even:
        one.ids[one.ids == ours.config.pad_token_id] += 1
    starts, ends = torch.tensor([0, 3, 7]), torch.tensor([0, 5, 10])
    targets = torch.stack([starts, ends], dim=1).float()
    loss = ours.classifier.loss(ours(pack(even)).logits, targets).sum() / len(even)
    theirs = oracle(**padded(even, ours.config.pad_token_id), start_positions=starts, end_positions=ends)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle, atol=1e-5)
    oracle.save_pretrained(tmp_path)  # and back
    TOKENIZER.save(tmp_path)
    again = load_with_report(tmp_path, "classify", head=None)
    assert type(again.model.classifier) is SpanHead and again.report.new == []
    torch.testing.assert_close(again.model(pack(uneven)).logits, logits)


def test_a_shorter_sequence_loses_nothing_to_the_longer_ones_beside_it():
    model = Model(Bert(tiny(), pooler=False), ENDS, SpanHead).eval()
    texts, targets = random_texts(tiny()), torch.tensor([[2, 4], [0, 1], [5, 5], [0, 0], [3, 9]]).float()
    together = model.classifier.loss(model(pack(texts)).logits, targets)
    alone = [model.classifier.loss(model(pack([t])).logits, targets[i : i + 1])[0] for i, t in enumerate(texts)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_how_far_two_answers_are_apart():
    p, q = torch.randn(2, 3, 7, 2)
    there = torch.arange(7) < torch.tensor([7, 2, 4])[:, None]
    p[~there] = q[~there] = NOTHING
    pairs = [
        [torch.distributions.Categorical(logits=x[i, there[i], end]) for x in (p, q)]
        for i in range(3)
        for end in range(2)
    ]
    expected = torch.stack([torch.distributions.kl_divergence(*pair) for pair in pairs]).mean()
    torch.testing.assert_close(SpanHead(4, 2).apart(p, q), expected)
    both = expected + torch.stack([torch.distributions.kl_divergence(*pair[::-1]) for pair in pairs]).mean()
    torch.testing.assert_close(SpanHead(4, 2).apart(p, q, both_ways=True), both)


# --- windows and answers ------------------------------------------------------------------------------------------


def sure(examples: list[Example], **how) -> TokenLogits:
    """The logits of a model that is certain of the right places, and of none where there is none."""
    windows = TASK.encode(TOKENIZER, examples, **how)
    places = TASK.laid(examples, windows).astype(int)
    rows = np.zeros((len(windows), np.diff(windows.boundaries).max(), 2), dtype=np.float32)
    for window, (start, end) in enumerate(places):
        rows[window, start, 0] = rows[window, end, 1] = 30
    return TASK.read(rows, windows)


@pytest.mark.parametrize("max_length", [None, 16, 20])
def test_right_places_give_back_the_answers_through_windows_of_any_size(max_length):
    examples = [example(number, 20) for number in range(40)]
    logits = sure(examples, max_length=max_length)
    assert [found[0] for found in TASK.answers(logits)] == [e.label[0] for e in examples]
    scores = TASK.measure(logits, examples)
    assert scores["exact_match"] == scores["character_f1"] == 1 and scores["loss"] < 1e-6
    assert (len(logits.windows) > 40) == (max_length is not None)
    assert TASK.summary(examples, logits.windows) == ""
    places = TASK.laid(examples, logits.windows)
    assert np.diff(logits.windows.boundaries).max() <= (max_length or 99)
    if max_length:
        assert (places == 0).all(axis=1).any()  # windows without the answer point at their first token
    tokens = TOKENIZER.tokens_of("どこ?")
    for number, window in enumerate(logits.windows):  # each has the question and its own type ids
        assert window.ids[1 : 1 + len(tokens)].tolist() == [piece.id for piece in tokens]
        assert window.type_ids.sum() == logits.windows.counts[number] + 1


def test_one_window_is_what_the_tokenizer_makes_of_the_pair():
    windows = TASK.encode(TOKENIZER, EXAMPLES[:20])
    for one, e in zip(windows, EXAMPLES[:20], strict=True):
        whole = TOKENIZER.encode(e.text, e.pair)
        assert (one.ids.tolist(), one.type_ids.tolist()) == (whole.ids, whole.type_ids)


def test_the_best_stretch_is_found_among_all():
    """By trying all: not backwards, not longer than the longest, not in the question; its share is a softmax's."""
    random = np.random.default_rng(0)
    task, examples = Extract(), [example(number, 9) for number in range(12)]
    task.longest = 4
    windows = task.encode(TOKENIZER, examples, max_length=14)
    rows = random.normal(size=(len(windows), 14, 2)).astype(np.float32) * 2
    rows[:, :6] += 20
    found = task.answers(TokenLogits(rows, windows))
    for number, answer in enumerate(found):
        tried = []
        for window in np.flatnonzero(windows.owners == number):
            offsets, own = windows.offsets_in(window), rows[window, windows.places[window] :].astype(float)
            for i, (start, _) in enumerate(offsets):
                for j, (_, end) in list(enumerate(offsets))[i:]:
                    if end - start <= 4:
                        tried.append((own[i, 0] + own[j, 1], (start, end)))
        score, stretch = max(tried)
        assert answer[0][:2] == stretch
        assert answer[0].probability == pytest.approx(np.exp(score) / sum(np.exp(one) for one, _ in tried))


def test_what_cannot_be_told_is_said():
    tokenizer = JapaneseTokenizer(vocabulary_of(["どこ", "東京都は"], least=1))
    one = Example("", "どこ", (Span(0, 1),), "", pair="東京都は")
    assert "1 answers begin or end inside a token" in TASK.summary([one], TASK.encode(tokenizer, [one]))
    long = Example("", "どこ", (Span(0, 80),), "", pair="東京" * 40)
    windows = TASK.encode(TOKENIZER, [long], max_length=16)
    assert "1 answers stand whole in no window, and are not learned" in TASK.summary([long], windows)
    assert "1 answers are longer than 64 characters" in TASK.summary([long], windows)
    asked = Example("", "どこ" * 40, (Span(0, 2),), "", pair="東京は")
    windows = TASK.encode(TOKENIZER, [asked], max_length=16)
    assert windows.cut(16) == "1 question is cut to half of 16 tokens" and windows.truncated.all()
    assert TASK.answers(sure([asked], max_length=16))[0][0] == Span(0, 2)
    empty = Example("", "どこ", (), "", pair=" ")
    assert TASK.answers(TokenLogits(np.zeros((1, 9, 2)), TASK.encode(TOKENIZER, [empty]))) == [()]


@pytest.mark.parametrize(
    ("told", "right", "exact", "f1"),
    [
        ("東京都", "東京都", 1, 1),
        ("東京都。", "東京都", 1, 1),  # 。 at the end does not count, and other marks do
        ("ＡＢＣ", "ａｂｃ", 1, 1),
        ("東京", "東京都", 0, 0.8),
        ("「東京」", "東京", 0, 2 / 3),
        ("大阪", "東京", 0, 0),
        ("", "東京", 0, 0),
    ],
)
def test_scores_are_those_of_jsquad(told, right, exact, f1):
    assert exact_match(told, right) == exact and character_f1(told, right) == pytest.approx(f1)


# --- regularizers -------------------------------------------------------------------------------------------------

REFUSED = {  # by name
    "label-smoothing", "class-balanced", "focal", "judge-votes", "distillation", "hidden-mixup",
    "multi-sample-dropout", "word-noise", "supcon", "simcse", "temperature",
}  # fmt: skip


@pytest.mark.parametrize("name", SHELF)
def test_a_regularizer_works_or_is_refused_by_name(name):
    torch.manual_seed(0)
    model = Model(Bert(tiny(vocab_size=TOKENIZER.vocab_size, initializer_range=0.1), pooler=False), ENDS, SpanHead)
    examples = EXAMPLES[:22]
    encodings = TASK.encode(TOKENIZER, examples, max_length=16)
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


# --- files and commands -------------------------------------------------------------------------------------------


def test_it_is_learned_and_its_folder_is_whole(run):
    assert max(row["dev_character_f1"] for row in run.log) > 0.9 and run.log[-1]["train_r-drop"] > 0
    scores = json.loads((run.folder / "val-metrics.json").read_text())
    assert scores["character_f1"] == pytest.approx(max(row["dev_character_f1"] for row in run.log[1:]), abs=1e-6)
    assert run.judge("dev").metrics == pytest.approx(scores, abs=1e-4)
    assert "exact_match" in (run.folder / "classification_report.txt").read_text()
    rows = [json.loads(line) for line in (run.folder / "predictions-test.jsonl").read_text().splitlines()]
    assert set(rows[0]["predicted"][0]) == {"start", "end", "text", "probability"} and rows[0]["pair"]
    kept = json.loads((run.folder / "model" / "config.json").read_text())["tezukuri"]["task"]
    assert kept == {"name": "span", "pairs": True, "longest": 3} and run.task.longest == 3


def test_predict_tells_answers_with_their_places(run, table, tmp_path, capsys):
    model = ["predict", "--model", str(run.folder / "model"), "--precision", "fp32"]
    columns = ["--text-column", "question", "--pair-column", "context"]
    long = as_row(EXAMPLES[3]) | {"context": "私は" * 60 + EXAMPLES[3].pair}
    source = write(tmp_path / "a.jsonl", [*map(as_row, EXAMPLES[:20]), long])
    assert command([*model, "--file", str(source), *columns, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, one in zip(rows, run.classifier([(e.text, e.pair) for e in EXAMPLES[:20]]), strict=False):
        (told,) = row["predicted"]
        assert (told["start"], told["end"]) == one.label[0][:2]
        assert told["text"] == row["pair"][told["start"] : told["end"]]
        assert told["probability"] == pytest.approx(one.label[0].probability, abs=1e-5)
    assert rows[-1]["predicted"][0]["start"] >= 120  # in one of the last windows
    assert command(["predict", "--model", str(run.folder / "model"), "どこ?"]) == 1
    assert "text 1 has no second text, and the model was trained on pairs" in capsys.readouterr().err
    assert command([*model, "--file", str(source), *columns]) == 0
    assert capsys.readouterr().out.split()[0] in "".join(PLACES)


def test_evaluate_judges_it(run, table, tmp_path, capsys):
    arguments = ["evaluate", "--model", str(run.folder / "model"), "--output-dir", str(tmp_path), "--precision", "fp32"]
    assert command([*arguments, "--data", str(table)]) == 0
    (file,) = tmp_path.rglob("test-metrics.json")
    assert json.loads(file.read_text()) == pytest.approx(dict(run.judge("test").metrics), abs=1e-4)
    assert "note    texts are read in windows as in training: of 16 tokens" in capsys.readouterr().out


def test_the_reference_gives_its_logits(run):
    windows = run.scorer.encode(EXAMPLES[:9])
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(run.folder / "model").eval()
    rows = padded(list(windows))
    with torch.no_grad():
        found = theirs(**rows)
    logits = torch.stack([found.start_logits, found.end_logits], dim=2)
    there = rows["attention_mask"].bool().numpy()
    ours = run.scorer.logits(windows).rows[:, : there.shape[1]]
    np.testing.assert_allclose(ours[there], logits.numpy()[there], rtol=1e-4, atol=1e-4)


def test_answers_in_memory_come_back_from_the_runs_folder(tmp_path):
    some = EXAMPLES[:40]
    told = TRAINED | {"task": "span", "epochs": 1, "regularizer": "none", "output_dir": tmp_path}
    pairs = [(e.text, e.pair) for e in some]
    run = tezukuri.finetune(texts=pairs, labels=[list(e.label) for e in some], **told)
    again = tezukuri.Run.load(run.folder, "cpu")
    assert [(e.text, e.pair, e.label) for e in again.data.examples] == [(e.text, e.pair, e.label) for e in some]
    assert again.judge("dev").metrics == pytest.approx(dict(run.scores["dev"]), abs=1e-5)
    with pytest.raises(ValueError, match=r"give each text as \(question, context\)"):
        tezukuri.finetune(texts=["a"], labels=[[(0, 1)]], **told)
    with pytest.raises(ValueError, match="the question '1' of x has no context"):
        tezukuri.finetune(Dataset("x", (), [Example("1", "a", (Span(0, 1),), "train")]), **told)
    with pytest.raises(ValueError, match="a label is a list of answers, and has no classes: leave out --classes"):
        tezukuri.finetune(texts=pairs, labels=[list(e.label) for e in some], classes=["a"], **told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"answers": [{"start": 1, "text": "東京"}]}, "has '東京' at 1, where '京に' stands"),
        ({"answers": [{"start": 3, "text": "東京"}]}, "has a stretch from 3 to 5, but the text has 4 characters"),
        ({"answers": []}, "has no answer"),
        ({"answers": [{"text": "東京"}]}, "does not say start, end"),
        ({"context": ""}, "the text (column 'context') is empty"),
        ({"question": " "}, "the text (column 'question') is empty"),
    ],
)
def test_a_row_that_is_wrong_is_named_by_its_line(changes, told, tmp_path):
    row = {"question": "どこ?", "context": "東京に。", "answers": [{"answer_start": 0, "text": "東京"}]}
    with pytest.raises(ValueError, match=r"a\.jsonl:2: ") as refused:
        load(write(tmp_path / "a.jsonl", [row, row | changes]), labels_are="answers")
    assert told in str(refused.value)
    assert load(write(tmp_path / "b.jsonl", [row]), labels_are="answers").examples[0].label == (Span(0, 2),)


def test_answers_may_be_lists_side_by_side_as_in_data_sets_of_the_hub(tmp_path):
    answers, right = {"text": ["東京", "京"], "answer_start": [0, 1]}, (Span(0, 2), Span(1, 2))
    row = {"question": "どこ?", "context": "東京に。", "answers": answers}
    assert load(str(write(tmp_path / "a.jsonl", [row])), labels_are="answers").examples[0].label == right
    assert dataset_of([("どこ?", "東京に。")], [answers], labels_are="answers").examples[0].label == right
    write(tmp_path / "a.jsonl", [row | {"answers": {"text": ["東京"], "answer_start": []}}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: the label .* has lists of different lengths"):
        load(str(tmp_path / "a.jsonl"), labels_are="answers")
    write(tmp_path / "b.jsonl", [{"text": "東京に。", "label": {"joy": 0.9}}])
    with pytest.raises(DataError, match=r"b\.jsonl:1: the label \{'joy': 0\.9\} .* is no list of names"):
        load(str(tmp_path / "b.jsonl"), labels_are="names")
