"""Streaming text, whole-word masks, and the pretraining loop with its two scripts."""

import gzip
import json
import re
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from test_model_parity import padded, twins
from test_scripts import only_run
from tiny import LABELS, masked, random_texts, tiny
from tiny_checkpoint import TEXTS, TOKENIZER, checkpoint

import tezukuri
from tezukuri.data.dataset import DataError
from tezukuri.data.load import load
from tezukuri.data.passages import BUFFER, count_lines, is_held_out, passages
from tezukuri.model.bert import Bert
from tezukuri.model.model import MaskedLM
from tezukuri.scripts import build_vocab, pretrain
from tezukuri.scripts.command import main as command
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.train import pretrain as pretrain_run
from tezukuri.train.masking import Masker
from tezukuri.train.pretraining import ahead, evaluate, guesses
from tezukuri.train.pretraining import masked as masked_batch
from tezukuri.train.pretraining import pretrain as train
from tezukuri.train.sequences import NO_LABEL, Sample, Sequences, batches, of_ids, of_text, sequences_of, write_ids
from tezukuri.train.settings import Pretraining
from tezukuri.weights.architectures import config_json
from tezukuri.weights.load import load_with_report
from tezukuri.weights.names import BERT

FP32 = torch.float32
LINES = [f"{text}{place}の{number}号室です。" for number in range(60) for text in TEXTS for place in ("東京", "京都")]


@pytest.fixture
def files(tmp_path):
    """Two files of passages, one of them packed, with empty lines in between."""
    (tmp_path / "a.txt").write_text("\n".join(LINES[:300]) + "\n\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(LINES[300:]))
    return [tmp_path / "a.txt", tmp_path / "b.txt.gz"]


def settings(**changes) -> Pretraining:
    return Pretraining(**({"steps": 6, "batch_tokens": 300, "look_every": 2, "precision": "fp32"} | changes))


def small_model(seed: int = 0) -> MaskedLM:
    torch.manual_seed(seed)
    return masked(LABELS, vocab_size=TOKENIZER.vocab_size, max_position_embeddings=128, initializer_range=0.02)


def test_every_passage_comes_once_in_an_order_that_the_seed_decides(files):
    sizes = [count_lines(path) for path in files]
    assert sizes == [301, len(LINES) - 300]
    one, again, other = (list(passages(files, sizes, seed)) for seed in ([1, 0], [1, 0], [1, 1]))
    assert one == again and one != other and sorted(one) == sorted(other) == sorted(LINES)
    first_half = one[: len(one) // 2]
    assert 0.3 < sum(text in set(LINES[:300]) for text in first_half) / len(first_half) < 0.95  # the files are mixed


def test_text_is_streamed_and_a_bad_line_is_named(tmp_path):
    long = tmp_path / "long.txt"
    long.write_text("".join(f"{i}\n" for i in range(3 * BUFFER)), encoding="utf-8")
    stream = passages([long], [3 * BUFFER], 0)
    held = [next(stream) for _ in range(10)]
    assert all(int(text) < BUFFER + 20 for text in held)  # it has read no further
    assert len(set(held) | set(stream)) == 3 * BUFFER
    (tmp_path / "bad.txt").write_bytes("良い\n".encode() + b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"bad\.txt:2: not UTF-8"):
        list(passages([tmp_path / "bad.txt"], [2], 0))
    (tmp_path / "marked.txt").write_text("一\n", encoding="utf-8-sig")
    assert list(passages([tmp_path / "marked.txt"], [1], 0)) == ["一"]
    with pytest.raises(DataError, match=r"marked\.txt has fewer lines than were counted at the start"):
        list(passages([tmp_path / "marked.txt"], [2], 0))
    (tmp_path / "bad.gz").write_bytes(b"\x1f\x8bnothing")
    for path, message in (("bad.gz", "is a broken gzip file"), ("none.txt", "is not a file")):
        with pytest.raises(DataError, match=message):
            count_lines(tmp_path / path)


def test_a_passage_is_held_out_by_its_own_words():
    share = np.mean([is_held_out(f"文 {i}", 0.05) for i in range(20_000)])
    assert share == pytest.approx(0.05, abs=0.01)


def test_masks_fall_on_whole_words_in_the_published_proportions():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"あいうえお", *(f"##{c}" for c in "かきくけこ")]
    tokenizer = JapaneseTokenizer(vocabulary)
    masker, rng = Masker.of(tokenizer), np.random.default_rng(0)
    word = [5, 10, 11]  # あ ##か ##き
    ids = np.array(([2] + word * 8 + [1, 3]) * 3000)
    before = ids.copy()
    shown, at, targets = masker(ids, rng)
    assert (ids == before).all() and (targets == ids[at]).all()
    assert not np.isin(ids[at], [1, 2, 3]).any()  # neither [CLS] nor [SEP] nor [UNK]
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[at] = True
    pieces = chosen.reshape(3000, -1)[:, 1:-2].reshape(-1, 3)
    assert (pieces.all(axis=1) | ~pieces.any(axis=1)).all()  # a word as a whole, or not at all
    assert pieces.mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[at] == 4).mean() == pytest.approx(0.8, abs=0.01)
    kept = (shown[at] == targets).mean()
    assert kept == pytest.approx(0.1 + 0.1 / 10, abs=0.01)  # a random token is the right one at times
    assert not np.isin(shown[at], [0, 1, 2, 3]).any() and (shown[~chosen] == ids[~chosen]).all()


def test_what_fills_a_batch_up_is_never_masked():
    tokenizer = JapaneseTokenizer([*"あいう", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])  # 0 is a word
    samples = [sample for sample, _ in sequences_of(["あいう" * 20] * 5, tokenizer, 128)]
    made = masked_batch(Sequences.of(samples), Masker.of(tokenizer, 0.9), np.random.default_rng(0), torch.bfloat16)
    assert made.packed.fillers and made.at.max() < made.tokens < len(made.packed.ids)


def test_the_loss_is_the_references_on_the_same_masks():
    config = tiny()
    ours, oracle = twins(MaskedLM(Bert(config, pooler=False)))
    masker = Masker(np.arange(97) < 5, np.arange(97) % 3 == 0, mask_id=4, rate=0.5)
    batch = [Sample(text.ids, text.type_ids, NO_LABEL) for text in random_texts(config)]
    guess = guesses(ours, masked_batch(Sequences.of(batch), masker, np.random.default_rng(1), FP32), FP32)
    shown, at, targets = masker(np.concatenate([text.ids for text in batch]), np.random.default_rng(1))
    rows = padded(batch)
    real = rows["attention_mask"].bool()
    rows["input_ids"][real] = torch.from_numpy(shown)
    labels = torch.full((int(real.sum()),), -100)
    labels[at] = torch.from_numpy(targets)
    everywhere = torch.full_like(rows["input_ids"], -100)
    everywhere[real] = labels
    expected = oracle(**rows, labels=everywhere)
    torch.testing.assert_close(guess.loss, expected.loss, rtol=1e-5, atol=1e-5)
    right = (expected.logits[real].argmax(-1)[at] == torch.from_numpy(targets)).sum()
    assert guess.masked == len(at) > 5 and guess.right == right
    assert float(guess.masked_loss) == pytest.approx(float(guess.loss.detach()) * len(at)) and guess.labelled == 0


def test_the_loss_of_masked_words_and_labels_is_the_references_of_words_and_next_sentences():
    config = tiny()
    ours = MaskedLM(Bert(config), ("no", "yes"))
    oracle = transformers.BertForPreTraining(transformers.BertConfig(**config_json(ours))).eval()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            names = [
                n.replace("classifier.", "cls.seq_relationship.") for n in BERT.on_hub(name)
            ]  # two classes, whatever they mean
            for hub, part in zip(names, parameter.chunk(len(names)), strict=True):
                oracle.get_parameter(hub).copy_(part)
    ours.eval()
    masker = Masker(np.arange(97) < 5, np.arange(97) % 3 == 0, mask_id=4, rate=0.5)
    classes = [1, NO_LABEL, 0, NO_LABEL, 1]
    batch = [Sample(text.ids, text.type_ids, c) for text, c in zip(random_texts(config), classes, strict=True)]
    guess = guesses(ours, masked_batch(Sequences.of(batch), masker, np.random.default_rng(1), FP32), FP32)
    shown, at, targets = masker(np.concatenate([text.ids for text in batch]), np.random.default_rng(1))
    rows = padded(batch)
    real = rows["attention_mask"].bool()
    rows["input_ids"][real] = torch.from_numpy(shown)
    flat = torch.full((len(shown),), -100)
    flat[at] = torch.from_numpy(targets)
    labels = torch.full_like(rows["input_ids"], -100)
    labels[real] = flat
    follows = torch.tensor([c if c != NO_LABEL else -100 for c in classes])
    expected = oracle(**rows, labels=labels, next_sentence_label=follows)
    torch.testing.assert_close(guess.loss, expected.loss, rtol=1e-5, atol=1e-5)
    right = sum(int(logits.argmax()) == c for logits, c in zip(expected.seq_relationship_logits, classes, strict=True))
    assert (int(guess.class_right), guess.labelled) == (right, 3)
    ready = [masked_batch(Sequences.of(batch), masker, np.random.default_rng([0, n]), FP32) for n in (0, 1)]
    row = evaluate(ours, ready, FP32)
    seen = [guesses(ours, one, FP32) for one in ready]
    masked = sum(guess.masked for guess in seen)
    assert row == pytest.approx(
        {
            "val_loss": sum(float(guess.masked_loss) for guess in seen) / masked,
            "val_accuracy": sum(int(guess.right) for guess in seen) / masked,
            "val_label_accuracy": sum(int(guess.class_right) for guess in seen) / 6,
        }
    )


def test_a_line_may_begin_with_a_label():
    lines = ["良い\t駅から近い。", "悪い\t部屋が狭い。", "駅から近い。", "知らない\t部屋が狭い。", "良い 部屋が狭い。"]
    samples = [sample for sample, _ in sequences_of(lines, TOKENIZER, 128, ["悪い", "良い"])]
    assert [sample.label for sample in samples] == [1, 0, -1, -1, -1]
    assert samples[0].ids.tolist() == TOKENIZER.encode("駅から近い。").ids
    assert samples[1].ids.tolist() == TOKENIZER.encode("部屋が狭い。").ids
    assert {sample.label for sample, _ in sequences_of(lines, TOKENIZER, 128)} == {-1}


def test_a_passage_is_held_out_whatever_its_label():
    bare = [f"{place}の{number}号室です。" for number in range(900) for place in ("東京", "京都")]
    labelled = [f"良い\t{passage}" for passage in bare]
    held_out, again = (
        [passage for passage, (_, out) in zip(bare, sequences_of(text, TOKENIZER, 128, ["良い"]), strict=True) if out]
        for text in (bare, labelled)
    )
    assert held_out == again == [passage for passage in bare if is_held_out(passage)] != []


def test_batches_hold_every_token_once_and_long_passages_in_several_sequences():
    long = "駅から近くて便利でした。" * 30
    samples = [sample for sample, _ in sequences_of([*LINES, long], TOKENIZER, 16)]
    made = list(batches(samples, batch_tokens=300, seed=1))
    sequences = [sequence.ids.tolist() for batch in made for sequence in batch]
    assert sorted(sequences) == sorted(sample.ids.tolist() for sample in samples)
    assert all(s[0] == TOKENIZER.cls_id and s[-1] == TOKENIZER.sep_id and len(s) <= 16 for s in sequences)
    inside = sum(len(s) - 2 for s in sequences)
    assert inside == sum(len(TOKENIZER.ids_of(text)) for text in [*LINES, long])
    sizes = [len(batch.ids) for batch in made]
    assert max(sizes) < 300 + 16 and np.median(sizes) >= 300
    for batch in made:  # of about equally long ones
        assert batch.lengths.tolist() == sorted(batch.lengths) and len(batch.lengths) == len(batch.labels)


def test_a_file_of_ids_holds_what_the_texts_hold(files, tmp_path, capsys):
    TOKENIZER.save(tmp_path / "vocabulary")
    arguments = ["encode", "--tokenizer", str(tmp_path / "vocabulary"), "--text", *map(str, files)]
    output = tmp_path / "corpus.npz"
    assert command([*arguments, "--max-length", "16", "--labels", "x,y", "--output", str(output)]) == 0
    assert re.fullmatch(r".*corpus\.npz: [\d,]+ tokens\n", capsys.readouterr().out)
    how = TOKENIZER, 16, 300, 1, ("x", "y")
    ids, text = of_ids([output], *how), of_text(files, *how)

    held_out = [[sample.ids.tolist() for batch in corpus.held_out for sample in batch] for corpus in (ids, text)]
    assert sorted(held_out[0]) == sorted(held_out[1]) and len(held_out[0]) > 0
    wanted = [sample.ids.tolist() for sample, held_out in sequences_of(LINES, TOKENIZER, 16) if not held_out]
    epoch = []
    while len(epoch) < len(wanted):
        epoch += [sample.ids.tolist() for sample in next(ids.training)]
    assert sorted(epoch) == sorted(wanted) and epoch != wanted
    twice = of_ids([output, output], *how)
    assert sum(len(batch.ids) for batch in twice.held_out) == sum(map(len, held_out[0]))  # judged once
    epoch = []
    while len(epoch) < 2 * len(wanted):
        epoch += [sample.ids.tolist() for sample in next(twice.training)]
    assert sorted(epoch) == sorted(2 * wanted)

    # What it is not for.
    with pytest.raises(DataError, match=r"corpus\.npz was made with max_length 16, not 128: make it anew"):
        of_ids([output], TOKENIZER, 128, 300, 1, ("x", "y"))
    with pytest.raises(DataError, match=r"was made with labels \['x', 'y'\], not \[\]"):
        of_ids([output], TOKENIZER, 16, 300, 1, ())
    other = JapaneseTokenizer([*TOKENIZER.vocabulary, "別"])
    with pytest.raises(DataError, match="was made with another vocabulary"):
        of_ids([output], other, 16, 300, 1, ("x", "y"))
    broken = tmp_path / "broken.npz"
    broken.write_bytes(output.read_bytes()[:-500])
    empty, array, other_about = (tmp_path / f"{name}.npz" for name in ("empty", "array", "about"))
    empty.touch()
    with array.open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(other_about, **{name: np.zeros(3) for name in ("ids", "lengths", "labels", "held_out")}, about="[1]")
    for no_ids in (broken, files[0], tmp_path / "none.npz", tmp_path, empty, array, other_about):
        with pytest.raises(DataError, match=rf"{no_ids.name} is no file of token ids"):
            of_ids([no_ids], *how)
    assert command([*arguments, "--output", str(tmp_path / "corpus.txt")]) == 1
    assert "its name must end with .npz" in capsys.readouterr().err
    assert command([*arguments, "--output", str(tmp_path / "none" / "corpus.npz")]) == 1
    assert f"there is no folder {tmp_path / 'none'}; make it first" in capsys.readouterr().err
    assert command([*arguments, "--max-length", "2", "--output", str(output)]) == 1
    assert "max_length is 2; [CLS], one token and [SEP] need 3" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n\n")
    assert command([*arguments[:4], str(tmp_path / "empty.txt"), "--output", str(output)]) == 1
    assert "there is no text to write" in capsys.readouterr().err
    run = ["pretrain", "--model", "scratch", "--tokenizer", str(tmp_path / "vocabulary"), "--output-dir", str(tmp_path)]
    assert command([*run, "--text", str(files[0]), str(output)]) == 1
    assert "some files are texts and some are ids" in capsys.readouterr().err


def test_a_file_of_ids_keeps_long_sequences_and_many_labels(tmp_path):
    labels = [f"l{number}" for number in range(300)]
    lines = [*(f"{label}\t駅から近い。{label}" for label in labels), "駅から近くて便利でした。" * 9000]
    write_ids(tmp_path / "corpus.npz", lines, TOKENIZER, 100_000, labels)
    how = TOKENIZER, 100_000, 300, 1, labels
    samples = [sample for batch in of_ids([tmp_path / "corpus.npz"], *how).held_out for sample in batch]
    training = of_ids([tmp_path / "corpus.npz"], *how).training
    while len(samples) <= len(labels):
        samples += next(training)
    assert sorted(sample.label for sample in samples) == [NO_LABEL, *range(300)]
    assert max(len(sample.ids) for sample in samples) == 2 + len(TOKENIZER.ids_of(lines[-1])) > 1 << 16


def test_it_learns_from_ids_and_a_stopped_run_ends_as_the_unbroken_one(files, tmp_path):
    output = tmp_path / "corpus.npz"
    write_ids(output, LINES, TOKENIZER, 128, LABELS)
    chosen = settings(steps=9, look_every=3, lr=3e-3)
    unbroken = small_model()
    rows = list(train(unbroken, TOKENIZER, [output], chosen, tmp_path))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] and rows[-1]["val_loss"] > 0
    stopped = train(small_model(), TOKENIZER, [output], chosen, tmp_path)
    next(stopped)
    stopped.close()
    resumed = small_model(seed=3)
    list(train(resumed, TOKENIZER, [output], chosen, tmp_path, resume=True))
    assert all(torch.equal(a, b) for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True))


def test_batches_made_ready_ahead_are_the_same_and_errors_come_through():
    assert list(ahead(iter(range(1, 20)), 4)) == list(range(1, 20)) and list(ahead(iter([]), 4)) == []

    def breaks():
        yield 1
        raise DataError("a bad line")

    made = ahead(breaks(), 3)
    assert next(made) == 1
    with pytest.raises(DataError, match="a bad line"):
        next(made)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns_and_a_stopped_run_ends_as_the_unbroken_one_bit_for_bit(optimizer, files, tmp_path):
    chosen = settings(steps=60, look_every=20, lr=3e-3, optimizer=optimizer)
    unbroken = small_model()
    rows = list(train(unbroken, TOKENIZER, files, chosen, tmp_path))
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] - 0.5 and rows[-1]["tokens"] > 60 * 300
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    stopped = train(small_model(), TOKENIZER, files, chosen, tmp_path)
    next(stopped)
    stopped.close()
    torch.manual_seed(9)
    resumed = small_model(seed=3)
    again = list(train(resumed, TOKENIZER, files, chosen, tmp_path, resume=True))
    assert all(torch.equal(a, b) for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True))
    assert [row["train_loss"] for row in again] == [row["train_loss"] for row in rows]


def test_a_vocabulary_serves_both_tokenizers(files, tmp_path, capsys):
    arguments = ["build_vocab", "--text", *map(str, files), "--size", "120", "--output", str(tmp_path / "v")]
    assert command(arguments) == 0
    assert "note" not in capsys.readouterr().out
    ours = JapaneseTokenizer.from_pretrained(tmp_path / "v")
    assert ours.vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] and ours.vocab_size <= 120
    single = [len(piece.removeprefix("##")) == 1 for piece in ours.vocabulary[5:]]
    assert single == sorted(single, reverse=True) and not all(single)  # characters, then pieces
    (tmp_path / "v" / "config.json").write_text('{"model_type": "bert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "v")
    assert theirs(TEXTS)["input_ids"] == [encoding.ids.tolist() for encoding in ours.encode_batch(TEXTS)]
    assert ours.unk_id not in ours.encode(LINES[0]).ids
    assert command([*arguments, "--characters", "9"]) == 0
    assert re.search(r"note    \d+ of \d+ different characters are left out", capsys.readouterr().out)


@pytest.mark.parametrize("lower", [False, True])
def test_a_vocabulary_of_unigram_pieces_serves_both_tokenizers(files, tmp_path, lower):
    arguments = ["build_vocab", "--kind", "unigram", "--text", *map(str, files), "--size", "150"]
    assert command([*arguments, "--output", str(tmp_path / "v"), *(["--lower"] if lower else [])]) == 0
    ours = tokenizer_of(tmp_path / "v")
    assert ours.vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] and ours.vocab_size <= 150
    (tmp_path / "v" / "config.json").write_text('{"model_type": "bert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "v")
    assert theirs(TEXTS)["input_ids"] == [encoding.ids.tolist() for encoding in ours.encode_batch(TEXTS)]
    pair = theirs(TEXTS[0], TEXTS[1], return_token_type_ids=True)
    assert (pair["input_ids"], pair["token_type_ids"]) == (
        ours.encode(*TEXTS[:2]).ids,
        ours.encode(*TEXTS[:2]).type_ids,
    )
    assert ours.unk_id not in ours.encode(LINES[0]).ids
    assert ours.normalised("ＡＢ") == ("ab" if lower else "AB")
    city = ours.tokenize("東京")
    assert ours.tokenize(" 東京 \n 東京 ") == [*city, "▁", *city]  # the same pieces wherever it stands


def test_unigram_pieces_of_real_texts_are_the_same_each_time(tmp_path):
    """Though the library's trainer adds scores up in any order."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(example.text for example in load("sample").examples), encoding="utf-8")
    arguments = ["build_vocab", "--kind", "unigram", "--text", str(texts), "--size", "1600", "--output"]
    for name in ("a", "b"):
        assert command([*arguments, str(tmp_path / name)]) == 0
    written, again = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("a", "b"))
    assert written == again


def test_rare_characters_are_left_out_of_unigram_pieces(files, tmp_path):
    arguments = ["build_vocab", "--kind", "unigram", "--text", *map(str, files), "--output", str(tmp_path / "v")]
    assert command([*arguments, "--characters", "10", "--size", "60"]) == 0
    assert len(set("".join(tokenizer_of(tmp_path / "v").vocabulary[5:])) - {"▁"}) == 10
    with pytest.raises(SystemExit):  # 0 is not "all"
        command([*arguments, "--passages", "0"])


def test_a_dictionary_is_not_for_unigram_pieces(files, tmp_path, capsys):
    arguments = ["build_vocab", "--kind", "unigram", "--text", str(files[0]), "--output", str(tmp_path / "v")]
    assert command([*arguments, "--dictionary", "ipadic"]) == 1
    said = "build_vocab: error: --dictionary is MeCab's, and --kind unigram reads texts without MeCab: leave it out"
    assert capsys.readouterr().err.strip() == said and not (tmp_path / "v").exists()


def test_a_vocabulary_without_room_is_one_sentence_and_the_one_before_stays(files, tmp_path, capsys):
    resource = pytest.importorskip("resource")  # Windows has none
    arguments = ["build_vocab", "--text", str(files[0]), "--output", str(tmp_path / "v"), "--size"]
    assert command([*arguments, "60"]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "v").iterdir()}
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, usual[1]))
    try:
        assert command([*arguments, "120"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    said = f"build_vocab: error: {tmp_path / 'v'} cannot be written (File too large): make room on its disk"
    assert capsys.readouterr().err.strip().splitlines()[-1] == said
    assert {path.name: path.read_bytes() for path in (tmp_path / "v").iterdir()} == before


def test_without_the_extra_the_way_to_it_is_told(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert command(["build_vocab", "--text", str(files[0]), "--output", str(tmp_path / "v")]) == 1
    assert 'pip install "tezukuri[pretrain]"' in capsys.readouterr().err


def test_from_scratch_to_a_model_that_finetune_takes(files, some_reviews, tmp_path, capsys):
    TOKENIZER.save(tmp_path / "v")
    arguments = [
        "pretrain",
        "--tokenizer",
        str(tmp_path / "v"),
        "--text",
        *map(str, files),
        "--output-dir",
        str(tmp_path),
    ]
    small = ["--layers", "1", "--hidden-size", "32", "--heads", "2", "--steps", "4", "--look-every", "2"]
    assert command([*arguments, *small, "--batch-tokens", "300"]) == 0
    run = only_run(tmp_path)
    assert {path.name for path in run.iterdir()} == {"config.json", "log.csv", "curves.png", "model"}
    assert len((run / "log.csv").read_text().splitlines()) == 3
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert told["settings"]["steps"] == 4 and told["options"]["text"] == [str(path) for path in files]
    transformers.AutoModelForMaskedLM.from_pretrained(run / "model")
    model, tokenizer = tezukuri.load(run / "model", "fill-mask")
    assert model.config.num_hidden_layers == 1 and tokenizer.vocabulary == TOKENIZER.vocabulary
    capsys.readouterr()
    finetune = ["finetune", "--model", str(run / "model"), f"--data={some_reviews}", "--epochs=1", "--no-report"]
    assert command([*finetune, "--output-dir", str(tmp_path / "tuned")]) == 0
    assert "new, to be trained: bert.pooler.dense.weight" in capsys.readouterr().out


def test_labels_train_the_pooler_too_and_the_model_can_be_saved_in_half_precision(tmp_path, capsys):
    TOKENIZER.save(tmp_path / "v")
    lines = [f"{label}\t{line}" for line, label in zip(LINES, "良悪" * len(LINES), strict=False)]
    (tmp_path / "labelled.txt").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["pretrain", "--tokenizer", str(tmp_path / "v"), "--text", str(tmp_path / "labelled.txt")]
    arguments += ["--labels", "悪,良", "--layers", "1", "--hidden-size", "32", "--heads", "2", "--steps", "2"]
    assert command([*arguments, "--batch-tokens", "300", "--half", "--output-dir", str(tmp_path)]) == 0
    run = only_run(tmp_path)
    assert "val_label_accuracy" in (run / "log.csv").read_text()
    tensors = load_file(run / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert tensors["classifier.weight"].shape == (2, 32)
    told = json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))
    assert told["dtype"] == "float16" and told["id2label"] == {"0": "悪", "1": "良"}
    assert told["hidden_dropout_prob"] == told["attention_probs_dropout_prob"] == 0.1  # for fine-tuning
    loaded = load_with_report(run / "model", "classify", ["a", "b", "c"])
    assert loaded.report.new == ["classifier.weight", "classifier.bias"]  # the two labels were another task
    assert loaded.model.bert.pooler.dense.weight.equal(tensors["bert.pooler.dense.weight"].float())
    again, _ = tezukuri.load(run / "model", "fill-mask", labels=("悪", "良"))
    assert again.classifier.weight.equal(tensors["classifier.weight"].float())


def test_the_dropout_of_pretraining_is_not_that_which_is_saved():
    model = small_model().train()
    batch = Sequences.of([Sample(text.ids, text.type_ids, NO_LABEL) for text in random_texts(model.config)])
    ready = masked_batch(batch, Masker.of(TOKENIZER), np.random.default_rng(0), FP32)

    def loss() -> float:
        return float(guesses(model, ready, FP32).loss.detach())

    pretrain_run.set_dropout(model, 0.0)
    assert loss() == loss()
    pretrain_run.set_dropout(model, 0.5)
    assert loss() != loss()
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.1
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"dropout is {rate}; a dropout rate lies in"):
            pretrain_run.set_dropout(model, rate)


def test_going_on_from_a_checkpoint_and_after_a_stop(files, tmp_path, monkeypatch, capsys):
    checkpoint(tmp_path / "before", "BertForPreTraining", initializer_range=0.02)
    arguments = ["pretrain", "--model", str(tmp_path / "before"), "--text", *map(str, files), "--steps", "6"]
    arguments += ["--look-every", "2", "--batch-tokens", "300", "--precision", "fp32", "--lr", "1e-3"]
    assert command([*arguments, "--output-dir", str(tmp_path / "whole")]) == 0

    def pull_the_plug(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrain_run, "save", pull_the_plug)
        assert command([*arguments, "--output-dir", str(tmp_path / "cut")]) == 130
    cut, whole = only_run(tmp_path / "cut"), only_run(tmp_path / "whole")
    text = files[0].read_bytes()
    files[0].write_bytes(text + b"more\n")
    assert command(["pretrain", "--resume", str(cut)]) == 1
    assert f"{files[0].resolve()} is not what {cut} began with: put it back" in capsys.readouterr().err
    files[0].write_bytes(text)
    assert command(["pretrain", "--resume", str(cut)]) == 0
    mine, other = (load_file(run / "model" / "model.safetensors") for run in (cut, whole))
    assert mine.keys() == other.keys() and all(mine[name].equal(other[name]) for name in mine)
    before = load_file(tmp_path / "before" / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not before[name].equal(mine[name]) and torch.allclose(before[name], mine[name], atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "x.txt"], "--model scratch needs a vocabulary: --tokenizer FOLDER"),
        ([], "say what to learn from: --text FILE"),
        (["--text", "x.txt", "--mask-rate", "2"], "mask_rate 2.0 and warmup_ratio"),
        (["--text", "x.txt", "--steps", "0"], "steps is 0; it must be at least 1"),
    ],
)
def test_what_pretraining_cannot_do_is_told(arguments, message, capsys):
    assert command(["pretrain", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_flags_are_these():
    flags_of = {
        build_vocab: "--kind --text --size --characters --passages --dictionary --lower --output",
        pretrain: """
            --model --revision --reset-head --tokenizer --layers --hidden-size --heads --attention --dropout --text
            --labels --steps
            --batch-tokens --max-length --mask-rate --optimizer --lr --weight-decay --warmup-ratio --look-every
            --precision --seed --device --output-dir --half --resume""",
    }
    for script, flags in flags_of.items():
        options = {name for action in script.parser()._actions for name in action.option_strings}
        assert options - {"-h", "--help"} == set(flags.split())
