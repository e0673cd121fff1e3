"""Sentence vectors of one's own: texts to vectors, likeness, search, groups, and the commands `embed` and `search`."""

import csv
import json
import sys
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_checkpoint import TEXTS, TOKENIZER, checkpoint

import tezukuri
from tezukuri.eval.hits import nearest, unit
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.weights.sentences import Vectors, write_vectors

PROMPTS = {"query": "駅から", "document": "部屋が"}
LONG = "駅から近い。" * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("vectors") / "model"
    checkpoint(made, "BertModel")
    write_vectors(made, Vectors(prompts=PROMPTS, prompt="query"))
    return made


@pytest.fixture(scope="module")
def encoder(folder) -> tezukuri.Encoder:
    return tezukuri.Encoder.load(folder, precision="fp32")


# --- vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_vector_is_what_its_pooling_says(folder, pooling, normalise):
    encoder = tezukuri.Encoder.load(folder, precision="fp32", pooling=pooling, normalise=normalise)
    found = encoder.encode([*TEXTS, ""], prompt="document", batch_size=2)
    for text, vector in zip([*TEXTS, ""], found, strict=True):
        with torch.no_grad():
            hidden = encoder.encoder(pack([TOKENIZER.encode("部屋が" + text)])).hidden.numpy()  # (T, H)
        expected = {"mean": hidden.mean(axis=0), "first": hidden[0], "last": hidden[-1]}[pooling]
        expected = expected / np.linalg.norm(expected) if normalise else expected
        np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32


def test_batches_and_streams_change_nothing(encoder):
    texts = [TEXTS[i % 4] * (1 + i % 3) for i in range(30)]
    whole = encoder.encode(texts)
    np.testing.assert_allclose(encoder.encode(texts, batch_size=3), whole, atol=1e-6)
    np.testing.assert_allclose(list(encoder.stream(texts, batch_size=4, read_ahead=2)), whole, atol=1e-6)
    assert encoder.encode([]).shape == (0, 32) and encoder.encode(["あ"]).shape == (1, 32)


def test_a_stream_reads_no_further_than_it_must(encoder):
    taken = []

    def endless():
        for text in repeat(TEXTS[0]):
            taken.append(text)
            yield text

    found = encoder.stream(endless(), batch_size=2, read_ahead=3)
    for _ in range(7):
        next(found)
    assert len(taken) == 12


def test_cut_texts_are_counted_and_a_prompt_counts_too(encoder, folder, caplog):
    encoder.encode([TEXTS[0], LONG, LONG])
    assert "texts: 66.7% (2 of 3) cut to 64 tokens, of" in caplog.text
    caplog.clear()
    short = tezukuri.Encoder.load(folder, precision="fp32", max_length=8)
    expected = short.encoder(pack([TOKENIZER.encode("駅から" + TEXTS[0], max_length=8)])).hidden.mean(dim=0)
    np.testing.assert_allclose(short.encode([TEXTS[0]])[0], torch.nn.functional.normalize(expected, dim=0).detach(),
                               atol=1e-5)  # fmt: skip
    assert "1 of 1) cut to 8 tokens" in caplog.text
    caplog.clear()
    assert tezukuri.Encoder.load(folder, max_length=999).how["max_length"] == 64
    assert "max_length 999 is more than the model can read: 64 tokens" in caplog.text


def test_a_trained_classifier_lends_its_encoder_and_that_is_told(tmp_path, caplog):
    theirs = checkpoint(tmp_path, "BertForSequenceClassification")
    found = tezukuri.Encoder.load(tmp_path, precision="fp32").encode(TEXTS[:1])
    ids = torch.tensor([TOKENIZER.encode(TEXTS[0]).ids])
    with torch.no_grad():
        np.testing.assert_allclose(found, theirs.bert(ids).last_hidden_state.mean(dim=1), rtol=1e-4, atol=1e-5)
    assert "trained for another task: vectors are those of its encoder" in caplog.text


def test_a_classifier_sets_no_prompt_before_a_text(tmp_path):
    checkpoint(tmp_path, "BertForSequenceClassification")
    before = tezukuri.Classifier.load(tmp_path, precision="fp32")(TEXTS)
    write_vectors(tmp_path, Vectors("first", prompts=PROMPTS, prompt="query", max_length=4))
    assert tezukuri.Classifier.load(tmp_path, precision="fp32")(TEXTS) == before


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda e: e.encode(["あ"], prompt="passage"), "no prompt 'passage': the model's are 'query', 'document'"),
        (lambda e: e.encode(["あ"], batch_size=0), "batch_size is 0; it must be at least 1"),
        (lambda e: e.search("あ", ["い"], k=0), "k is 0; it must be at least 1"),
        (lambda e: e.search("あ", np.ones((3, 31))), r"shapes \(1, 32\) and \(3, 31\) cannot be compared"),
        (lambda e: e.search("あ", np.ones(32)), r"\(32,\) cannot be compared: give \(m, H\) and \(n, H\)"),
        (lambda e: e.cluster(["あ"], 2), "1 texts cannot make 2 groups"),
        (lambda e: e.encode("あ"), "texts must be a list of texts, not one text"),
        (lambda e: Vectors(pooling="cls"), "pooling 'cls' is not known; choose one of mean, first, last"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(encoder, ask, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        ask(encoder)
    assert "\n" not in str(error.value)


def test_broken_weights_are_no_vectors(folder):
    broken = tezukuri.Encoder.load(folder, precision="fp32")
    broken.encoder.embeddings.norm.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="for text 1 are no finite numbers: its weights are broken"):
        broken.encode(TEXTS)


# --- likeness, search, groups -----------------------------------------------------------------------------------


def test_the_likeness_of_texts_is_their_cosine(folder, encoder):
    long = tezukuri.Encoder.load(folder, precision="fp32", normalise=False)
    vectors = long.encode(TEXTS)
    expected = (vectors @ vectors.T) / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    np.testing.assert_allclose(long.similarity(TEXTS, vectors), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.similarity(TEXTS[:1], TEXTS), expected[:1], atol=1e-5)


@pytest.mark.parametrize("k", [1, 4, 50, 99])
def test_search_is_brute_force_in_blocks(monkeypatch, k):
    """Cosines of whole numbers, so that many are equal, over blocks of 1 to all vectors."""
    rng = np.random.default_rng(0)
    corpus, queries = rng.integers(-1, 2, (50, 4)), rng.integers(-1, 2, (3, 4))
    corpus[7], corpus[9], lengths = 0, corpus[3] * 5, np.linalg.norm(corpus, axis=1)
    found = []
    for at_once in (3, 21, 10**6):
        monkeypatch.setattr("tezukuri.eval.hits.AT_ONCE", at_once)
        found.append(nearest(queries, corpus, k))
    assert found[0] == found[1] == found[2] and all(len(hits) == min(k, 50) for hits in found[0])
    for query, hits in zip(queries, found[0], strict=True):
        lengths = np.linalg.norm(corpus, axis=1) * np.linalg.norm(query)
        cosines = np.divide(corpus @ query, lengths, out=np.zeros(50), where=lengths > 0).round(6)
        expected = sorted(range(50), key=lambda i: (-cosines[i], i))[:k]
        assert [hit.number for hit in hits] == expected
        np.testing.assert_allclose([hit.score for hit in hits], cosines[expected], atol=2e-6)


def test_no_more_of_a_corpus_is_in_memory_than_may_be(monkeypatch):
    taken = []
    monkeypatch.setattr("tezukuri.eval.hits.AT_ONCE", 40)
    monkeypatch.setattr("tezukuri.eval.hits.unit", lambda vectors: taken.append(vectors.size) or unit(vectors))
    nearest(np.ones((1, 4)), np.ones((99, 4)), 2)
    assert max(taken) == 40


def test_hits_name_their_texts_and_equal_texts_come_in_their_order(encoder):
    corpus = [*TEXTS, *TEXTS]
    one = encoder.search(TEXTS[2], corpus, k=3)
    assert [hit.number for hit in encoder.search(TEXTS[2], encoder.encode(corpus, "query"), 2)] == [2, 6]
    assert one == encoder.search([TEXTS[2]], corpus, k=3)[0] and all(hit.text == corpus[hit.number] for hit in one)
    vectors = encoder.encode(corpus, prompt="document")  # as search sets it before the texts of a corpus
    assert [(h.number, h.score) for h in one] == [(h.number, h.score) for h in encoder.search(TEXTS[2], vectors, k=3)]
    assert encoder.search("あ", []) == [] and encoder.search([], TEXTS) == [] and encoder.search(["あ"], []) == [[]]
    assert encoder.search(TEXTS[2], np.array(corpus), k=3) == one == encoder.search(TEXTS[2], iter(corpus), k=3)
    vectors[2] = np.nan
    assert 2 not in {hit.number for hit in encoder.search(TEXTS[2], vectors, k=99)}


def test_groups_are_found_and_the_same_each_time():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 32) * 9
    vectors = np.concatenate([centre * size + rng.normal(size=(8, 32)) for centre in centres for size in (1, 5)])
    encoder = SimpleNamespace(of=lambda given: given)
    found = tezukuri.Encoder.cluster(encoder, vectors, 3)
    assert [len(set(found[i : i + 16].tolist())) for i in (0, 16, 32)] == [1, 1, 1] and len(set(found.tolist())) == 3
    np.testing.assert_array_equal(found, tezukuri.Encoder.cluster(encoder, vectors, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.similarity(np.ones((2, 3)), np.ones((2, 4))), r"shapes \(2, 3\) and \(2, 4\) cannot be compared"),
        (lambda e: e.similarity(TEXTS, np.ones(32)), r"and \(32,\) cannot be compared: give \(m, H\) and \(n, H\)"),
        (lambda e: e.cluster(np.full((3, 4), np.nan), 2), "of finite numbers: leave out texts that have none"),
        (lambda e: e.cluster(np.ones(3), 1), r"vectors to be grouped are \(n, H\)"),
        (lambda e: e.cluster([], 1), "0 texts cannot make 1 groups"),
        (lambda e: list(e.stream("駅から")), "texts must be a list of texts, not one text"),
        (
            lambda e: list(e.stream(["駅", *TEXTS, None], batch_size=1, read_ahead=1)),
            r"texts\[5\] must be a str, not a N",
        ),
    ],
)
def test_what_has_no_vector_or_cannot_be_compared_is_one_sentence(encoder, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(encoder)


# --- commands ---------------------------------------------------------------------------------------------------

ROWS = [("a", TEXTS[0]), ("b", ""), ("c", TEXTS[1]), ("d", "改行\nあり😀"), ("e", TEXTS[0]), ("f", LONG)]


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "corpus.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "review"), *ROWS])
    return tmp_path


def run(*arguments: object) -> int:
    return command([str(argument) for argument in arguments])


def embed(folder, *more: object) -> int:
    options = ("--model", folder, "--file", "corpus.csv", "--text-column", "review", "--precision", "fp32")
    return run("embed", *options, *more)


def search(folder, *more: object) -> int:
    options = ("--model", folder, "--file", "corpus.csv", "--text-column", "review", "--precision", "fp32")
    return run("search", *options, *more)


def test_every_row_of_a_file_is_in_each_kind_of_output(table, folder, encoder, capsys):
    assert embed(folder, "--output", "v.npy") == embed(folder, "--output", "v.jsonl") == 0
    said = capsys.readouterr().err
    assert "no vector for corpus.csv:3: the text is empty" in said
    assert "6 rows, 5 of them with a vector of 32 numbers, are in v.npy and v.csv and v.json" in said
    texts = [text for _, text in ROWS if text]
    vectors = np.load("v.npy")
    assert vectors.shape == (6, 32) and vectors.dtype == np.float32 and np.isnan(vectors[1]).all()
    np.testing.assert_allclose(vectors[[0, 2, 3, 4, 5]], encoder.encode(texts), atol=1e-6)
    with Path("v.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in told] == ROWS and told[1]["no_vector"] == "the text is empty"
    lines = [json.loads(line) for line in Path("v.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["id"], line["text"]) for line in lines] == ROWS and "vector" not in lines[1]
    np.testing.assert_array_equal(np.float32([line["vector"] for line in lines if "vector" in line]),
                                  vectors[[0, 2, 3, 4, 5]])  # fmt: skip


def test_a_parquet_holds_the_same(table, folder, capsys, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        assert embed(folder, "--output", "v.parquet") == 1
    assert 'a .parquet needs: pip install "tezukuri[parquet]", or write .npy' in capsys.readouterr().err
    assert not Path("v.parquet").exists()
    from pyarrow import parquet

    embed(folder, "--output", "v.parquet"), embed(folder, "--output", "v.npy")
    found = parquet.read_table("v.parquet")
    assert list(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True)) == ROWS
    rows = found["vector"].to_pylist()
    assert rows.pop(1) is None and found["no_vector"].to_pylist()[:2] == [None, "the text is empty"]
    np.testing.assert_array_equal(np.float32(rows), np.load("v.npy")[[0, 2, 3, 4, 5]])


def test_nothing_is_left_of_an_output_that_fails(table, folder, capsys, monkeypatch):
    def pull_the_plug(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tezukuri.eval.vector_files.key_of", pull_the_plug)
    assert embed(folder, "--output", "v.npy") == 1
    assert [path.name for path in table.iterdir()] == ["corpus.csv"]
    assert "cannot be written (No space left on device)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("v.bin", "the suffix tells the format, and must be one of .npy, .parquet, .jsonl"),
        ("nowhere/v.npy", "there is no folder nowhere; make it first"),
        ("corpus.npy", "--output corpus.npy would replace corpus.csv, which is read"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything(table, folder, capsys, output, message):
    assert embed(folder, "--output", output) == 1 and message in capsys.readouterr().err
    assert [path.name for path in table.iterdir()] == ["corpus.csv"]


def test_a_table_of_the_same_name_is_not_replaced(table, folder, capsys):
    Path("v.csv").write_text("mine", encoding="utf-8")
    assert embed(folder, "--output", "v.npy") == 1
    assert "v.csv beside it, which is there already, and not of such a file" in capsys.readouterr().err
    assert Path("v.csv").read_text(encoding="utf-8") == "mine" and not Path("v.npy").exists()
    Path("v.csv").unlink()
    assert embed(folder, "--output", "v.npy") == embed(folder, "--output", "v.npy") == 0  # its own are


def test_without_a_model_it_is_small(table, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("tezukuri.eval.encoder.Encoder.load", lambda model, *_, **__: asked.append(model) or {}["end"])
    for name in (["embed", "--output", "vectors.npy"], ["search", "駅"]):
        with pytest.raises(KeyError):
            command([*name, "--file", "corpus.csv", "--text-column", "review"])
    assert asked == ["small", "small"]


def test_bad_rows_are_named_and_only_skipped_when_asked(table, folder, capsys):
    Path("corpus.jsonl").write_text('{"text": "駅"}\n{"text": 3}\n{"text": \n', encoding="utf-8")
    options = ("embed", "--model", folder, "--file", "corpus.jsonl", "--output", "v.npy", "--bad-rows")
    assert run(*options, "error") == 1 and "corpus.jsonl:2: " in capsys.readouterr().err
    assert run(*options, "skip") == 0
    assert "no vector for corpus.jsonl:3: " in capsys.readouterr().err and len(np.load("v.npy")) == 3


def test_search_prints_and_writes_its_hits(table, folder, encoder, capsys):
    assert search(folder, "部屋", "-k", 2) == 0
    expected = encoder.search("部屋", [text for _, text in ROWS if text], k=2)
    printed = capsys.readouterr()
    shown = ["部屋", *(f"  {hit.score:.3f}  {hit.text.replace(chr(10), ' ')}" for hit in expected)]
    assert printed.out.splitlines() == shown and "no vector for corpus.csv:3" in printed.err
    Path("q.txt").write_text("駅\n\n部屋\n", encoding="utf-8")
    assert search(folder, "--queries", "q.txt", "--output", "hits.jsonl", "-k", 2) == 0
    assert "no vector for q.txt:2: the line is blank" in capsys.readouterr().err
    found = [json.loads(line) for line in Path("hits.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["query"] for one in found] == ["駅", "部屋"]
    assert [(h["text"], h["score"]) for h in found[1]["hits"]] == [(h.text, h.score) for h in expected]
    assert {row[0]: row[1] for row in ROWS}[found[0]["hits"][0]["id"]] == found[0]["hits"][0]["text"]


def test_kept_vectors_are_used_where_they_are_of_this_model_and_these_texts(table, folder, tmp_path, capsys):
    embed(folder, "--output", "v.npy", "--prompt", "document")
    search(folder, "部屋", "-k", 9), (first := capsys.readouterr())
    assert search(folder, "部屋", "-k", 9, "--vectors", "v.npy") == 0
    again = capsys.readouterr()
    assert again.out == first.out[first.out.index("部屋\n") :] and "made with" not in again.err
    embed(folder, "--output", "w.npy")
    search(folder, "部屋", "--vectors", "w.npy")
    assert "w.npy was made with '駅から' before each text, where search itself sets '部屋が'" in capsys.readouterr().err
    checkpoint(tmp_path / "other", "BertModel", seed=1)
    assert search(tmp_path / "other", "部屋", "--vectors", "v.npy") == 1
    assert f"v.npy was made by another model ({folder})" in capsys.readouterr().err
    assert search(folder, "部屋", "--vectors", "v.npy", "--max-length", 5) == 1
    assert "or in another way: make it anew (tezukuri embed)" in capsys.readouterr().err
    for change, message in ((("z", "x"), "made of 6 rows, and corpus.csv has 7 rows"), (None, "made of other texts")):
        rows = [*ROWS, change] if change else [*ROWS[:-1], ("f", "other")]
        with Path("corpus.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "review"), *rows])
        assert search(folder, "部屋", "--vectors", "v.npy") == 1 and message in capsys.readouterr().err
    Path("v.json").unlink()
    assert search(folder, "部屋", "--vectors", "v.npy") == 1
    assert "v.npy is no .npy with a v.json beside it: make both (tezukuri embed)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "there is no query: give one, or a file of them (--queries)"),
        ((" ",), "a query is empty: leave it out"),
        (("駅", "--query-column", "text"), "--query-column is of a file of queries: give that too (--queries)"),
        (("駅", "--output", "hits.csv"), "--output hits.csv: hits are written as .jsonl"),
        (("--queries", "q.jsonl", "--output", "q.jsonl"), "--output would replace q.jsonl, which is read"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(table, folder, capsys, more, message):
    Path("q.jsonl").write_text('{"text": "駅"}\n', encoding="utf-8")
    assert search(folder, *more) == 1 and message in capsys.readouterr().err


def test_a_file_without_a_text_is_told(table, folder, capsys):
    Path("none.txt").write_text("\n\n", encoding="utf-8")
    assert run("search", "--model", folder, "--file", "none.txt", "駅") == 1
    assert "none.txt has no texts to be found" in capsys.readouterr().err
    assert run("embed", "--model", folder, "--file", "none.txt", "--output", "v.npy") == 0
    assert np.load("v.npy").shape == (2, 32)
