"""Small unigram models, trained here in a tenth of a second, with the references for their ids; and odd strings."""

import io
import json
import random
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from tezukuri.data.load import load
from tezukuri.tokenize.unigram import UnigramTokenizer

# What SentencePiece's trainer may be asked for: its normalization, its blanks, bytes, and pieces of one's own.
TRAINED = {
    "nmt_nfkc": {},
    "nfkc": {"normalization_rule_name": "nfkc"},
    "nfkc_cf": {"normalization_rule_name": "nfkc_cf"},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf"},
    "identity": {"normalization_rule_name": "identity"},
    "byte_fallback": {"byte_fallback": True},
    "own pieces": {"user_defined_symbols": ["駅から", "ｶﾞ", "。。", "<br>", "▁です", "a b", "駅"]},
    "own pieces, identity": {"normalization_rule_name": "identity", "user_defined_symbols": ["駅から", "駅", " は"]},
    "no dummy prefix": {"add_dummy_prefix": False},
    "blank as suffix": {"treat_whitespace_as_suffix": True},
    "blanks kept": {"remove_extra_whitespaces": False},
    "blanks kept, no prefix, bytes": {
        "remove_extra_whitespaces": False, "add_dummy_prefix": False, "byte_fallback": True
    },
    "blank as suffix, blanks kept": {"treat_whitespace_as_suffix": True, "remove_extra_whitespaces": False},
    "blank as suffix, own pieces": {"treat_whitespace_as_suffix": True, "user_defined_symbols": ["駅", "。。", " a"]},
}  # fmt: skip
T5 = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<pad>", "mask_token": "<mask>"}
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<mask>"]

SENTENCES = [
    "駅から近くて便利でした。",
    "ｶﾞｯｶﾘ、ＡＢＣ㍿のヿ ｶﾌｪ￥1,000〜（税込）①",
    "半角 space\tと\nタブ、\u3000全角も",
    "  前後に  空白が  ある  ",
    "The café costs 3.50 €, doesn't it? WiFi",
    "𠮷野家で👨‍👩‍👧と寿司🍣",
    "か\u3099き\u3099 e\u0301 ΟΔΟΣ İstanbul",
    "<mask>は<s> </s>です<unk><0x41>▁▁",
    "wwwww笑。。。。。。" + "あ" * 50,
    "",
    " ",
    "\u3000",
    "▁",
    "a\0b",
]
# Kana, kanji and letters; what normalization moves; blanks and signs that cannot be seen; unknown pieces.
ODD = (
    "あいのは東京大学カタｶﾞﾊﾟヿ㍿㌔Ａｂcde XYZ123、。！？…％゛ー~〜é[]#　  \t\n\r\0\x0b\x1c\x1f\x85\u2028\u200d\u200b"
    "\ufeff▁▁😀👨👩🏻ﬁ½①가각ᄀ\u1161\u11a8\u0301\u3099\u309a\u0323\u0600İΣς𝒜🇯🇵wwwww笑。。。・・・\U0002f800\u0e33\u0f71<>/s駅駅からです"
)
PLANES = [(0x20, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000)]


def odd_text(rng: random.Random) -> str:
    """A random string: of odd characters, of runs of them, of anything in Unicode, or a review with odd ones in it."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(ODD, k=rng.randint(0, 40)))
    if kind == 1:
        return "".join(rng.choice(ODD) * rng.randint(1, 12) for _ in range(rng.randint(0, 8)))
    if kind == 2:
        return "".join(chr(rng.randrange(*rng.choice(PLANES))) for _ in range(rng.randint(0, 20)))
    text = rng.choice(reviews())
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice(ODD) + text[at:]
    return text


def is_new(text: str) -> bool:
    """Whether it has a mark, or a form of another character, that the Unicode of `tokenizers` may not know yet."""
    new = [c for c in text if unicodedata.ucd_3_2_0.category(c) == "Cn"]
    return any(unicodedata.category(c)[0] == "M" or unicodedata.normalize("NFKD", c) != c for c in new)


@cache
def reviews() -> list[str]:
    return [example.text for example in load("sample").examples]


@cache
def model_file(name: str = "nmt_nfkc", **how: object) -> bytes:
    """The `.model` that SentencePiece trains on the sample reviews, by a name in TRAINED."""
    written = io.BytesIO()
    options = {
        "sentence_iterator": iter(reviews()),
        "model_writer": written,
        "vocab_size": 1600,
        "character_coverage": 0.98,
        "control_symbols": ["<mask>"],
        "pad_id": 3,
        "num_threads": 1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(**options | TRAINED[name] | how)
    return written.getvalue()


def folder_of(folder: Path, file: str, content: bytes, config: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


Ids = Callable[[list[str]], list[list[int]]]


def by_sentencepiece(folder: Path, name: str) -> tuple[UnigramTokenizer, Ids]:
    """Ours from a trained `.model`, and the reference for the ids of texts without special tokens."""
    folder_of(folder, "spiece.model", model_file(name), T5)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=model_file(name))
    return UnigramTokenizer.from_pretrained(folder), oracle.encode


# What a tokenizer.json may have around its model.
NMT_NFKC = "nmt_nfkc"
AROUND = {
    "as XLM-R": ([NMT_NFKC, ("Replace", " {2,}")], [("WhitespaceSplit",), ("Metaspace", "always")]),
    "as T5": ([NMT_NFKC], [("Metaspace", "always")]),
    "as DeBERTa": ([("Strip",), NMT_NFKC], [("Metaspace", "always", False)]),
    "as ALBERT": ([("NFKD",), ("StripAccents",), ("Lowercase",), NMT_NFKC], [("Metaspace", "first")]),
    "NFKC": ([("NFKC",)], [("Metaspace", "never")]),
    "NFC, prepended": ([("NFC",), ("Prepend",), ("Blank",)], []),
    "nothing": ([], []),
    "white space": ([("NFD",)], [("WhitespaceSplit",)]),
    "bytes": ([NMT_NFKC], [("Metaspace", "first", False)]),
}


def normalizer_of(step: str | tuple[str, ...]) -> normalizers.Normalizer:
    if step == NMT_NFKC:
        return normalizers.Precompiled(charsmap())
    kind, *arguments = step
    if kind == "Replace":
        return normalizers.Replace(tokenizers.Regex(*arguments), " ")
    if kind == "Blank":
        return normalizers.Replace(" ", "▁")
    return normalizers.Prepend("▁") if kind == "Prepend" else getattr(normalizers, kind)()


def charsmap() -> bytes:
    from tezukuri.tokenize.model_file import read_model

    return read_model(model_file()).charsmap


@cache
def json_model(name: str = "as XLM-R") -> str:
    """A tokenizer.json that the library `tokenizers` trains on the sample reviews, by a name in AROUND."""
    steps, splits = AROUND[name]
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizer_of(step) for step in steps])
    words = [
        pre_tokenizers.WhitespaceSplit()
        if kind == "WhitespaceSplit"
        else pre_tokenizers.Metaspace(prepend_scheme=rest[0], split=(*rest, True)[1])
        for kind, *rest in splits
    ]
    if words:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words) if len(words) > 1 else words[0]
    extra = [f"<0x{byte:02X}>" for byte in range(256)] if name == "bytes" else []
    trainer = trainers.UnigramTrainer(
        vocab_size=1600 + len(extra), special_tokens=SPECIAL + extra, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(reviews(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.decoder = decoders.Metaspace()
    as_json = json.loads(tokenizer.to_str())
    if extra:  # bytes are pieces of the model, and not tokens that may stand in a text
        as_json["model"]["byte_fallback"] = True
        as_json["added_tokens"] = [token for token in as_json["added_tokens"] if token["content"] in SPECIAL]
    return json.dumps(as_json)


FAST = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>",
    "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip


def by_tokenizers(folder: Path, name: str) -> tuple[UnigramTokenizer, Ids]:
    """Ours from a trained tokenizer.json, and the reference for the ids of texts without special tokens."""
    folder_of(folder, "tokenizer.json", json_model(name).encode("utf-8"), FAST)
    oracle = tokenizers.Tokenizer.from_str(json_model(name))
    oracle.encode_special_tokens = True

    def ids(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in oracle.encode_batch(texts, add_special_tokens=False)]

    return UnigramTokenizer.from_pretrained(folder), ids


def differences(ours: UnigramTokenizer, oracle: Ids, texts: list[str]) -> list[str]:
    """The texts of which one of our two ways to read them gives other ids than the reference."""
    found = zip(texts, oracle(texts), ours.ids_of_many(texts), strict=True)
    return [
        text for text, wanted, many in found if many != wanted or [piece.id for piece in ours.pieces_of(text)] != wanted
    ]
