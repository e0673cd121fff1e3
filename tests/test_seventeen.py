"""Each kind of the seventeen models of hppRC's tutorial (tests/hpprc-runs.csv) loads, and classifies as `transformers`.

Of each kind there is a random tiny checkpoint, laid out as its repositories on the hub are: the same files, the same
heads, and settings that say and leave out the same things.
"""

import csv
import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from test_tokenize_parity import SENTENCES
from test_tokenize_unigram_files import PLAIN, of_transformers
from tiny import LABELS
from unigrams import folder_of, model_file, odd_text

import tezukuri
from tezukuri.model.packing import pack
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.tokenize.settings import BERT, Settings
from tezukuri.tokenize.vocabulary import vocabulary_of, write_vocabulary
from tezukuri.weights.load import load_with_report
from tezukuri.weights.save import save

Ids = Callable[[str], list[int]]
TEXTS = [
    *(text for text in SENTENCES if "[" not in text),  # which there is a special token
    "駅から近くて便利でした。\n部屋は狭い😀👍🏽\r\nまた来ます",
    "Ｆｕｌｌ－ｗｉｄｔｈ　ｶﾅ １２３％，Å①㍻",
    "crème brûlée Ünïcode ñ e\u0301 \u200bzero\u200dwidth\ufeff a\x07b\x1b[0m\x7f \u00ad\ufffd",
    "中文和日本語mixed한국어ไทย العربية",
    "あ" * 101 + " " + "x" * 101,
]
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 258, "initializer_range": 0.3,
}  # fmt: skip


def weights(folder: Path, name: str, config: dict, pickled: bool = False) -> torch.nn.Module:
    """Write a random checkpoint of transformers' class `name` and its config.json; returns its encoder."""
    torch.manual_seed(0)
    theirs = getattr(transformers, name)
    model = theirs(theirs.config_class(**SIZES, **config, attn_implementation="eager")).eval()
    if name == "LukeForMaskedLM":  # which the library does not tie
        model.get_output_embeddings().weight.data.copy_(model.get_input_embeddings().weight)
    tensors = {key: value.clone() for key, value in model.state_dict().items() if "decoder." not in key}
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    in_file = model.config.to_dict() | {"architectures": [name]} | config
    (folder / "config.json").write_text(json.dumps({k: v for k, v in in_file.items() if v is not None}))
    return getattr(model, model.base_model_prefix)


def tohoku(folder: Path, dictionary: str, subwords: str, first: bool = False) -> tuple[torch.nn.Module, Ids]:
    """Tohoku's BERTs; the first ones are pickled, and name their tokenizer's class in config.json alone."""
    settings = Settings(mecab_dic=dictionary, subword_tokenizer_type=subwords)
    vocabulary = vocabulary_of(TEXTS, settings, least=1)
    write_vocabulary(folder / "vocab.txt", vocabulary)
    named = {"tokenizer_class": "BertJapaneseTokenizer"}
    told = {
        "do_lower_case": False, "word_tokenizer_type": "mecab", "subword_tokenizer_type": subwords,
        "mecab_kwargs": {"mecab_dic": dictionary}, "model_max_length": 512,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told if first else told | named))
    kind = "BertForMaskedLM" if first else "BertForPreTraining"
    encoder = weights(folder, kind, {"vocab_size": len(vocabulary)} | (named if first else {}), pickled=first)
    oracle = transformers.BertJapaneseTokenizer.from_pretrained(folder)
    return encoder, lambda text: oracle(text).input_ids


def multilingual_bert(folder: Path, texts: Sequence[str] = TEXTS) -> tuple[torch.nn.Module, Ids]:
    """Whose settings say nothing but the case."""
    settings = Settings(BERT, "basic", tokenize_chinese_chars=True)
    vocabulary = vocabulary_of(texts, settings, least=1)
    write_vocabulary(folder / "vocab.txt", vocabulary)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 512}')
    encoder = weights(folder, "BertForMaskedLM", {"vocab_size": len(vocabulary)})
    oracle = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(oracle) is transformers.BertTokenizer
    return encoder, lambda text: oracle(text).input_ids


def xlm_r(folder: Path) -> tuple[torch.nn.Module, Ids]:
    """With the pieces in both of their forms, and no word about a class."""
    oracle = of_transformers("XLMRobertaTokenizer")
    oracle.save_pretrained(folder)
    folder_of(folder, "sentencepiece.bpe.model", model_file("nmt_nfkc", **PLAIN), {"model_max_length": 512})
    sizes = {"vocab_size": len(oracle), "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return weights(folder, "XLMRobertaForMaskedLM", sizes), lambda text: oracle(text).input_ids


def luke(folder: Path, pickled: bool) -> tuple[torch.nn.Module, Ids]:
    """LUKE lite: SentencePiece's own file, two tokens for mentions behind its pieces, and few entities.

    The reference for ids is SentencePiece with the shift of XLM-R: transformers 5 reads this file alone without it.
    """
    content = model_file("nmt_nfkc", **PLAIN)
    mention, mask = ({"__type": "AddedToken", "content": token, "lstrip": False, "normalized": True, "rstrip": False,
                      "single_word": False} for token in ("<ent>", "<mask>"))  # fmt: skip
    told = {
        "tokenizer_class": "MLukeTokenizer", "additional_special_tokens": ["<ent>", "<ent2>", "<ent>", "<ent2>"],
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
        "unk_token": "<unk>", "mask_token": mask | {"lstrip": True}, "entity_token_1": mention,
        "entity_token_2": mention | {"content": "<ent2>"}, "entity_mask_token": "[MASK]", "entity_pad_token": "[PAD]",
        "entity_mask2_token": "[MASK2]", "entity_unk_token": "[UNK]", "max_entity_length": 32, "max_mention_length": 30,
        "sp_model_kwargs": {}, "task": None,
    }  # fmt: skip
    folder_of(folder, "sentencepiece.bpe.model", content, told)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=content)
    mask_id = len(oracle) + 1  # behind the pieces, of which <pad> shifts all
    (folder / "added_tokens.json").write_text(json.dumps({"<ent>": mask_id + 1, "<ent2>": mask_id + 2}))
    (folder / "entity_vocab.json").write_text('{"[MASK]": 0, "[UNK]": 1, "[PAD]": 2, "[MASK2]": 3}')
    sizes = {"vocab_size": mask_id + 3, "entity_vocab_size": 4, "entity_emb_size": 8}
    sizes |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "use_entity_aware_attention": True}
    encoder = weights(folder, "LukeForMaskedLM", sizes, pickled)
    return encoder, lambda text: [0, *(number + 1 if number else 3 for number in oracle.encode(text)), 2]


KINDS: dict[str, Callable[[Path], tuple[torch.nn.Module, Ids]]] = {
    "ipadic": partial(tohoku, dictionary="ipadic", subwords="wordpiece", first=True),
    "ipadic, characters": partial(tohoku, dictionary="ipadic", subwords="character", first=True),
    "unidic-lite": partial(tohoku, dictionary="unidic_lite", subwords="wordpiece"),
    "unidic-lite, characters": partial(tohoku, dictionary="unidic_lite", subwords="character"),
    "multilingual BERT": multilingual_bert,
    "XLM-R": xlm_r,
    "LUKE": partial(luke, pickled=True),
    "multilingual LUKE": partial(luke, pickled=False),
}
MODELS = {
    "cl-tohoku/bert-base-japanese": "ipadic",
    "cl-tohoku/bert-base-japanese-whole-word-masking": "ipadic",
    "cl-tohoku/bert-base-japanese-char": "ipadic, characters",
    "cl-tohoku/bert-base-japanese-v2": "unidic-lite",
    "cl-tohoku/bert-base-japanese-v3": "unidic-lite",
    "cl-tohoku/bert-large-japanese": "unidic-lite",
    "cl-tohoku/bert-large-japanese-v2": "unidic-lite",
    "cl-tohoku/bert-base-japanese-char-v2": "unidic-lite, characters",
    "cl-tohoku/bert-base-japanese-char-v3": "unidic-lite, characters",
    "cl-tohoku/bert-large-japanese-char-v2": "unidic-lite, characters",
    "bert-base-multilingual-cased": "multilingual BERT",
    "xlm-roberta-base": "XLM-R",
    "xlm-roberta-large": "XLM-R",
    "studio-ousia/luke-japanese-base-lite": "LUKE",
    "studio-ousia/luke-japanese-large-lite": "LUKE",
    "studio-ousia/mluke-base-lite": "multilingual LUKE",
    "studio-ousia/mluke-large-lite": "multilingual LUKE",
}


def test_every_model_of_the_tutorial_is_of_one_of_these_kinds() -> None:
    with Path(__file__).with_name("hpprc-runs.csv").open(encoding="utf-8", newline="") as file:
        assert {row["model_name"] for row in csv.DictReader(file)} == MODELS.keys()
    assert set(MODELS.values()) == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_and_classifies_as_the_reference(tmp_path: Path, kind: str) -> None:
    hub, ours = tmp_path / "hub", tmp_path / "ours"
    hub.mkdir()
    encoder, ids_of = KINDS[kind](hub)
    torch.manual_seed(1)
    loaded = load_with_report(hub, "classify", LABELS)
    assert loaded.report.new, "the head is new"
    assert all(name.startswith(("classifier.", "bert.pooler.")) for name in loaded.report.new), "and nothing else is"
    save(loaded.model.eval(), loaded.tokenizer, ours)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(ours).eval()
    classify = tezukuri.Classifier.load(ours, precision="fp32")
    for text in TEXTS:
        ids = ids_of(text)
        encoding = loaded.tokenizer.encode_batch([text])[0]
        assert encoding.ids.tolist() == ids == loaded.tokenizer.encode(text).ids, text
        batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
        with torch.no_grad():
            found, states = (
                loaded.model(pack([encoding]), output_hidden_states=True),
                encoder(**batch).last_hidden_state[0],
            )
            expected = theirs(**batch).logits[0]
        torch.testing.assert_close(found.hidden, states, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(found.logits[0], expected, rtol=1e-5, atol=2e-5)
        told = torch.tensor(list(classify(text).probabilities.values()))
        torch.testing.assert_close(told, expected.softmax(-1), rtol=1e-4, atol=1e-5)


def test_multilingual_bert_parts_odd_texts_as_the_reference(tmp_path: Path) -> None:
    """Of characters that Unicode has long known, and of emoji: others the reference's own tables may not know yet."""
    _, ids_of = multilingual_bert(tmp_path, texts := [*filter(long_known, map(odd_text, [random.Random(0)] * 1500))])
    ours = tokenizer_of(tmp_path)
    assert len(texts) > 500 and [text for text in texts if ours.encode(text).ids != ids_of(text)] == []
    assert sum(ours.unk_id in ours.encode(text).ids for text in texts) < 20, "the vocabulary has all characters"


def long_known(text: str) -> bool:
    old = unicodedata.ucd_3_2_0
    return all((now := unicodedata.category(c)) == "So" or old.category(c) == now != "Cn" for c in text)
