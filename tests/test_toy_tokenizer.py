"""Another kind of tokenizer is one class and one row: here one of letters, ▁ before those that begin a word."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny import tiny

import tezukuri
from tezukuri.data.dataset import Example
from tezukuri.eval.classifier import Classifier
from tezukuri.eval.failures.analysis import token_by_token
from tezukuri.eval.inside import load, trace
from tezukuri.eval.predict import Scorer
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert
from tezukuri.model.model import MaskedLM, Model
from tezukuri.model.packing import pack
from tezukuri.tokenize.encoding import Piece
from tezukuri.tokenize.kinds import KINDS, tokenizer_of
from tezukuri.tokenize.normalize import Aligned
from tezukuri.tokenize.template import Template
from tezukuri.tokenize.tokenizer import Tokenizer, Word
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.masking import Masker
from tezukuri.train.regularizers.word_dropout import WordDropout
from tezukuri.train.regularizers.word_noise import WordNoise
from tezukuri.train.sequences import sequences_of
from tezukuri.train.settings import Settings
from tezukuri.weights import hub
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.save import save

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


class Letters(Tokenizer):
    files: ClassVar = {"letters.json": "no alphabet"}

    def __init__(self, letters: str) -> None:
        self.letters = letters
        vocabulary = [*SPECIAL.values(), *(f"▁{letter}" for letter in letters), *letters]
        super().__init__(vocabulary, SPECIAL, Template(("<s>",), ("</s>", "</s>"), ("</s>",)))

    @classmethod
    def from_pretrained(cls, folder):
        return cls(json.loads((Path(folder) / "letters.json").read_text(encoding="utf-8")))

    def save(self, folder):
        (folder / "letters.json").write_text(json.dumps(self.letters), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LettersTokenizer"}', encoding="utf-8")

    def words_of(self, text):
        normal = Aligned.of(text).normalize("NFKC")
        for found in re.finditer(r"\S+", normal.text):
            pieces = [self.vocabulary[self.id_of(*place)] for place in enumerate(found[0])]
            yield Word(found[0], normal.span(*found.span()), "", pieces)

    def pieces_of(self, text):
        normal = Aligned.of(text).normalize("NFKC")
        words = [found.span() for found in re.finditer(r"\S+", normal.text)]
        return [
            Piece(self.id_of(i - start, normal.text[i]), *normal.spans[i])
            for start, end in words
            for i in range(start, end)
        ]

    def id_of(self, place, letter):
        return self.piece_ids.get(letter if place else f"▁{letter}", self.unk_id)

    def continues(self):
        return np.array([not token.startswith("▁") for token in self.vocabulary])

    def joined(self, tokens):
        return "".join(tokens).replace("▁", " ").strip()

    def normal_form(self, text):
        return Aligned.of(text).normalize("NFKC").text


TOKENIZER = Letters("abcdefgh")
TEXTS = ["ab cd", "", "ａ㍿ hg", "gh ab ef", "fed cba gh"]


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(KINDS, "LettersTokenizer", Letters)


LABELS = ("a", "h")


def config_of(**changes):
    return tiny(**({"vocab_size": TOKENIZER.vocab_size} | changes))


def test_it_is_read_back_by_the_name_of_its_class(tmp_path):
    TOKENIZER.save(tmp_path)
    again = tokenizer_of(tmp_path)
    assert type(again) is Letters and again.vocabulary == TOKENIZER.vocabulary
    assert (again.pad_id, again.unk_id, again.mask_id, again.vocab_size) == (1, 3, 4, 21)
    assert again.encode(TEXTS[2]) == TOKENIZER.encode(TEXTS[2])
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "NoTokenizer"}')
    known = "BertJapaneseTokenizer, BertTokenizer, BertTokenizerFast, .*, LettersTokenizer"
    with pytest.raises(ValueError, match=rf"tokenizer_config\.json: setting tokenizer_class = 'NoTokenizer'.* {known}"):
        tokenizer_of(tmp_path)


def test_offsets_pairs_and_the_way_back():
    encoding = TOKENIZER.encode("ａ㍿ h", "bc")
    assert encoding.tokens == ["<s>", "▁a", *["<unk>"] * 4, "▁h", "</s>", "</s>", "▁b", "c", "</s>"]
    assert encoding.offsets == [(0, 0), (0, 1), *[(1, 2)] * 4, (3, 4), (0, 0), (0, 0), (0, 1), (1, 2), (0, 0)]
    assert set(encoding.type_ids) == {0} and not encoding.truncated
    assert TOKENIZER.decode(TOKENIZER.encode("ab cd").ids, skip_special_tokens=True) == "ab cd"
    assert TOKENIZER.tokenize("<mask>")[0] == "<unk>"
    found = TOKENIZER.encode("ab<mask>", special_tokens=True)
    assert (found.tokens[-2], found.offsets[-2]) == ("<mask>", (2, 8))


def test_what_is_too_long_is_cut_with_all_special_tokens_counted():
    assert TOKENIZER.encode("abcd", max_length=4).tokens == ["<s>", "▁a", "b", "</s>"]
    pair = TOKENIZER.encode("abcd", "efgh", max_length=7)
    assert pair.tokens == ["<s>", "▁a", "b", "</s>", "</s>", "▁e", "</s>"] and pair.truncated
    with pytest.raises(ValueError, match="max_length 3 has no room for the 4 special tokens"):
        TOKENIZER.encode("a", "b", max_length=3)


@pytest.mark.parametrize("pairs", [None, TEXTS[::-1]])
@pytest.mark.parametrize("offsets", [False, True])
def test_a_batch_is_what_single_texts_are(pairs, offsets):
    batch = TOKENIZER.encode_batch(TEXTS, pairs, max_length=9, offsets=offsets)
    singles = [TOKENIZER.encode(*both, max_length=9) for both in zip(TEXTS, pairs or [None] * 5, strict=True)]
    assert [ids.tolist() for ids, _ in batch] == [single.ids for single in singles]
    assert batch.truncated.tolist() == [single.truncated for single in singles]
    places = [place for single in singles for place in single.offsets]
    assert (batch.offsets is not None) == offsets and (not offsets or batch.offsets.tolist() == list(map(list, places)))
    assert batch.special_ids == {0, 2}


def test_masks_fall_on_its_words():
    ids = TOKENIZER.encode_batch(["abc def gh"] * 500).ids
    _, at, _ = Masker.of(TOKENIZER)(ids, np.random.default_rng(0))
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[at] = True
    first, second, third = np.split(chosen.reshape(500, -1)[:, 1:-1], [3, 6], axis=1)
    for word in (first, second, third):
        assert (word.all(axis=1) | ~word.any(axis=1)).all() and word.mean() == pytest.approx(0.15, abs=0.05)


def test_pretraining_lays_its_tokens_around_passages():
    samples = sequences_of(["abcdef gh"], TOKENIZER, max_length=6)
    assert [TOKENIZER.decode(sample.ids) for sample, _ in samples] == ["<s> abcd</s>", "<s>ef gh</s>"]


def test_noise_leaves_all_special_tokens_of_a_pair():
    texts = Texts(TOKENIZER.encode_batch(["abcd"] * 40, ["efgh"] * 40), np.zeros((40, 2), np.float32))
    noise = WordNoise(alpha=0.5)
    noise.begin(SimpleNamespace(reads="first"), texts, texts)
    for text in texts.encodings:
        found = TOKENIZER.decode(noise.noisy(text).ids).replace(" ", "")
        assert re.fullmatch("<s>[abcd]{1,4}</s></s>[efgh]{1,4}</s>", found)
    drop, seen = WordDropout(p=0.9), []
    model = Model(Bert(config_of()), LABELS).train()
    drop.begin(model, texts, texts)
    model.bert.embeddings.word.register_forward_hook(lambda m, i, out: seen.append((out == 0).all(dim=1)))
    packed = pack(list(texts.encodings))
    model(packed)
    special = torch.isin(packed.ids, torch.tensor([0, 2]))
    assert not seen[0][special].any() and 0.8 < float(seen[0][~special].float().mean()) < 1


def test_a_model_learns_with_it_and_is_loaded_with_it(tmp_path):
    torch.manual_seed(0)
    texts, gold = ["ab a", "ba bb", "hg h", "gh hh"] * 8, np.array([0, 0, 1, 1] * 8)
    data, task = Texts(TOKENIZER.encode_batch(texts), np.eye(2, dtype=np.float32)[gold]), Classify(LABELS)
    model = Model(Bert(config_of(initializer_range=0.1)), LABELS)
    settings = Settings(epochs=4, batch_size=8, lr=3e-3, precision="fp32")
    rows = list(fine_tune(model, task, data, data, settings, regularizers=[WordNoise(), WordDropout()]))
    assert rows[-1]["dev_accuracy"] == 1
    save(model, TOKENIZER, tmp_path / "model")
    assert (tmp_path / "model" / "letters.json").is_file()
    again, tokenizer = tezukuri.load(tmp_path / "model", "classify")
    assert type(tokenizer) is Letters and again.labels == ("a", "h")
    assert [found.label for found in Classifier.load(tmp_path / "model")(["ab b", "hg g"])] == ["a", "h"]
    examples = [Example(text, text, "a", "dev") for text in TEXTS]
    told = list(token_by_token(Scorer(again, tokenizer, task), examples, np.array([0, 1, 0, 1, 0]), "dev"))
    assert ["".join(token.text for token in tokens) for tokens, _ in told] == TEXTS
    loaded = load(str(tmp_path / "model"))
    traced = trace(loaded.model, loaded.tokenizer, "ａb c")
    assert traced.normalised == "ab c" and [word.span for word in traced.words] == [(0, 2), (3, 4)]
    assert (
        [piece for word in traced.words for piece in word.pieces] == traced.encoding.tokens[1:-1] == ["▁a", "b", "▁c"]
    )
    small = Model(Bert(config_of(vocab_size=20)), LABELS)
    save(small, TOKENIZER, tmp_path / "small")
    with pytest.raises(CheckpointError, match=r"letters\.json has 21 tokens, but the model embeds 20"):
        tezukuri.load(tmp_path / "small", "classify")


def test_a_masked_language_model_is_asked_at_its_masks_or_at_each_of_its_tokens():
    model = MaskedLM(Bert(config_of(), pooler=False)).eval()
    traced = trace(model, TOKENIZER, "ａ<mask> c")
    assert traced.normalised == "a<mask> c" and [answer.token for answer in traced.answers] == [2]
    assert [(word.text, word.span) for word in traced.words] == [("a", (0, 1)), ("<mask>", (1, 7)), ("c", (8, 9))]
    assert [answer.token for answer in trace(model, TOKENIZER, "ab c").answers] == [1, 2, 3]


def test_the_hub_is_asked_for_its_files(tmp_path, monkeypatch):
    TOKENIZER.save(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    asked = []

    def fetch(repository, name, revision):
        asked.append(name)
        return tmp_path / name if (tmp_path / name).is_file() else None

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    assert hub.download("a/letters", None, weights=False).folder == tmp_path
    assert asked[-1] == "letters.json" and "vocab.txt" not in asked
    (tmp_path / "letters.json").unlink()
    with pytest.raises(CheckpointError, match=r"a/letters has no letters\.json at revision main: no alphabet"):
        hub.download("a/letters", None, weights=False)
