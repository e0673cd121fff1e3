"""`verify` passes on right weights and fails on any wrong one. The hub is a stand-in; the answers are the oracle's."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
import warm_process
from hub_server import hub
from safetensors.torch import load, save
from test_weights_hub import environment
from tiny_checkpoint import TEXTS, TOKENIZER, checkpoint, files_of

from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.weights.verify import ANSWERS, same_odds, vocabulary_hash

MASKED, RATED = "some/masked", "some/rated"
PROGRAM = """
import sys
from tezukuri.scripts.command import main
answers, *models = sys.argv[1:]
print([main(["verify", model, "--answers", answers]) for model in models])
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> tuple[dict[str, dict[str, bytes]], Path]:
    """The files of two tiny models, and a file of the reference's answers about them."""
    folder = tmp_path_factory.mktemp("served")
    masked = checkpoint(folder / "masked", "BertForMaskedLM")
    rated = checkpoint(folder / "rated", "BertForSequenceClassification", seed=1)
    config = json.loads((folder / "rated" / "config.json").read_text())
    config |= {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    (folder / "rated" / "config.json").write_text(json.dumps(config))
    text = "日本の首都は[MASK]である"
    encoding = TOKENIZER.encode(text, special_tokens=True)
    with torch.no_grad():
        logits = masked(input_ids=torch.tensor([encoding.ids])).logits[0, encoding.ids.index(TOKENIZER.mask_id)]
        ratings = [rated(input_ids=torch.tensor([TOKENIZER.encode(t).ids])).logits[0].softmax(-1) for t in TEXTS]
    top = [
        {"token": TOKENIZER.vocabulary[i], "id": int(i), "probability": round(float(logits.softmax(-1)[i]), 6)}
        for i in logits.topk(3).indices
    ]
    embeddings = masked.bert.embeddings.word_embeddings.weight.detach()
    words = TOKENIZER.vocabulary[10:12]
    answers = {
        MASKED: {
            "vocab_sha256": hashlib.sha256((folder / "masked" / "vocab.txt").read_bytes()).hexdigest(),
            "ids": [{"text": text, "ids": encoding.ids}],
            "pairs": [{"text": TEXTS[0], "pair": TEXTS[1], **pair_of(TEXTS[0], TEXTS[1])}],
            "fill-mask": [{"text": text, "top": top}],
            "cosines": [{"a": words[:1], "b": words[1:], "value": round(float(cosine(embeddings)), 4)}],
        },
        RATED: {
            "classify": [
                {"text": t, "label": ("negative", "positive")[int(r.argmax())], "score": float(r.max())}
                for t, r in zip(TEXTS, ratings, strict=True)
            ]
        },
    }
    (folder / "answers.json").write_text(json.dumps(answers, ensure_ascii=False), encoding="utf-8")
    return {MASKED: files_of(folder / "masked"), RATED: files_of(folder / "rated")}, folder / "answers.json"


def cosine(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(embeddings[10], embeddings[11], dim=0)


def pair_of(text: str, pair: str) -> dict[str, list[int]]:
    encoding = TOKENIZER.encode(text, pair)
    return {"ids": encoding.ids, "type_ids": encoding.type_ids}


def verify(repositories: dict[str, dict[str, bytes]], answers: Path, cache: Path) -> tuple[list[int], str]:
    """The exit status for each repository, in a process of its own, and what was printed."""
    with hub({name: {"main": files} for name, files in repositories.items()}) as server:
        result = warm_process.run(PROGRAM, [str(answers), *repositories], environment(server.url, cache))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1]), result.stdout


def test_right_outputs_pass(served, tmp_path):
    repositories, answers = served
    statuses, printed = verify(repositories, answers, tmp_path)
    assert statuses == [0, 0] and "WRONG" not in printed
    assert printed.count("ok ") == 1 + 2 + 1 + 3 + len(TEXTS)
    assert "Tolerances: ids exactly, probabilities within 0.02 in log-odds" in printed


def test_one_wrong_tensor_fails_whichever_it_is(served, tmp_path):
    repositories, answers = served
    broken = {}
    for base, names in (
        (MASKED, ["bert.encoder.layer.1.attention.self.query.weight", "bert.embeddings.LayerNorm.bias",
                  "bert.embeddings.word_embeddings.weight", "cls.predictions.bias",
                  "cls.predictions.transform.dense.weight"]),
        (RATED, ["classifier.weight", "bert.pooler.dense.bias", "bert.encoder.layer.0.output.LayerNorm.weight"]),
    ):  # fmt: skip
        for number, name in enumerate(names):
            tensors = load(repositories[base]["model.safetensors"])
            torch.manual_seed(number)
            tensors[name] = tensors[name] + 0.05 * torch.randn_like(tensors[name])
            broken[f"{base}-{number}"] = repositories[base] | {"model.safetensors": save(tensors, {"format": "pt"})}
    vocabulary = repositories[MASKED]["vocab.txt"].decode().split("\n")
    vocabulary[-2] += "い"
    broken[f"{MASKED}-vocabulary"] = repositories[MASKED] | {"vocab.txt": "\n".join(vocabulary).encode()}
    vocabulary = vocabulary[:10]  # the words of the cosine are lost, and ids that the model finds have no word
    broken[f"{MASKED}-short"] = repositories[MASKED] | {"vocab.txt": "\n".join(vocabulary).encode()}
    told = json.loads(answers.read_text(encoding="utf-8"))
    copied = tmp_path / "answers.json"
    copied.write_text(json.dumps({name: told[name.split("-")[0]] for name in broken}), encoding="utf-8")
    statuses, printed = verify(broken, copied, tmp_path / "cache")
    assert statuses == [1] * len(broken) and "WRONG" in printed
    assert re.search(r"WRONG .* nan .* cosine", printed) and re.search(r"WRONG .* id \d+ 0\.\d+ ", printed)


def test_a_model_that_nothing_is_known_about_is_told(served, tmp_path, capsys):
    from tezukuri.scripts.command import main

    assert main(["verify", "some/other"]) == 1
    assert "no answers are known for some/other; there are answers for tohoku-nlp/bert-base" in capsys.readouterr().err


def test_a_copy_in_a_folder_is_checked_as_the_model_that_it_is_of(served, capsys):
    from tezukuri.scripts.command import main

    folder = str(served[1].parent / "masked")
    told = ["--answers", str(served[1])]
    assert main(["verify", folder, *told]) == 1
    assert f"{folder} is a folder, and answers are known by name: say of which" in capsys.readouterr().err
    assert main(["verify", folder, *told, "--of", RATED]) == 1  # of other weights
    capsys.readouterr()
    assert main(["verify", folder, *told, "--of", MASKED]) == 0
    assert "Not checked, as no answers are known here: classes.\n" in capsys.readouterr().out
    for nothing in ("3", "{}"):
        served[1].with_name("odd.json").write_text(f'{{"x": {nothing}}}')
        assert main(["verify", "x", "--answers", str(served[1].with_name("odd.json"))]) == 1
        assert "the answers for x are no object of vocab_sha256, ids" in capsys.readouterr().err


def test_probabilities_compare_by_their_odds():
    assert same_odds(0.99994, 0.999941) and not same_odds(0.99994, 0.99996)
    assert same_odds(0.0208, 0.0209) and not same_odds(0.0208, 0.0215)
    assert same_odds(1.0, 1.0) and not same_odds(1.0, 0.5)


def test_the_answers_in_the_package_are_the_published_ones(data_folder):
    mine = json.loads(ANSWERS.read_text(encoding="utf-8"))
    published = json.loads((data_folder / "reference" / "known-answers.json").read_text(encoding="utf-8"))
    v3, rated = mine["tohoku-nlp/bert-base-japanese-v3"], mine["mr4/bert-base-jp-sentiment-analysis"]
    assert v3["vocab_sha256"] == published["vocab_sha256"]
    assert [(s["text"], s["ids"]) for s in v3["ids"]] == [(s["text"], s["ids"]) for s in published["single"]]
    assert v3["pairs"] == published["pair"]
    weights = published["weights"]
    assert rated["classify"] == weights["mr4/bert-base-jp-sentiment-analysis"]
    assert [(f["text"], [[t["token"], t["id"], t["probability"]] for t in f["top"]]) for f in v3["fill-mask"]] == [
        (f["text"], f["top"]) for f in weights["tohoku-nlp/bert-base-japanese-v3 fill-mask"]
    ]
    assert [c["value"] for c in v3["cosines"]] == [c["value"] for c in weights["tohoku word embeddings v3"]]
    tokenizer = JapaneseTokenizer.from_pretrained(data_folder / "data" / "tohoku-v3")
    for fact in v3["ids"] + v3["pairs"]:
        encoding = tokenizer.encode(fact["text"], fact.get("pair"), special_tokens=True)
        assert encoding.ids == fact["ids"] and encoding.type_ids == fact.get("type_ids", encoding.type_ids)
    for fact in v3["fill-mask"]:
        assert [tokenizer.vocabulary[word["id"]] for word in fact["top"]] == [word["token"] for word in fact["top"]]
    assert vocabulary_hash(tokenizer.vocabulary) == v3["vocab_sha256"]
