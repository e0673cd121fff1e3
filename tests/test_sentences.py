"""Folders that say how sentence vectors are made: to sentence-transformers and back, and what is refused in them."""

import json
import shutil
import sys

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from test_roberta import checkpoint as roberta_checkpoint
from tiny_checkpoint import TEXTS, checkpoint

import tezukuri
from tezukuri.weights.load import load_with_report
from tezukuri.weights.save import save
from tezukuri.weights.sentences import LAYOUT, Vectors, read_vectors, write_vectors

PROMPTS = {"query": "駅から: ", "document": "部屋: "}
ODD = [*TEXTS, "", "😀ｺｰﾋｰ\n㍿", "駅から近い。" * 40]  # the last is cut
MEAN, FIRST = Vectors(prompts=PROMPTS, prompt="query"), Vectors("first", False, max_length=20)


def theirs(folder, texts=ODD, **options) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts, **options)


def ours(folder, texts=ODD, **options) -> np.ndarray:
    return tezukuri.Encoder.load(folder, device="cpu", precision="fp32").encode(texts, **options)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint(folder, "BertModel")
    return folder


@pytest.fixture
def saved(tiny, tmp_path):
    """A folder with vectors, to be edited."""
    folder = shutil.copytree(tiny, tmp_path / "saved")
    write_vectors(folder, MEAN)
    return folder


def edit(folder, name, **changes) -> None:
    file = folder / name
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | changes), encoding="utf-8")


@pytest.mark.parametrize("kind", ["BertModel", "XLMRobertaModel", "LukeModel"])
def test_sentence_transformers_reads_what_is_saved_here(tmp_path, kind):
    make = checkpoint if kind == "BertModel" else roberta_checkpoint
    make(tmp_path / "model", kind)
    loaded = load_with_report(tmp_path / "model")
    for vectors in (MEAN, FIRST, Vectors("last", normalise=False)):
        save(loaded.model, loaded.tokenizer, tmp_path / "saved", vectors=vectors)
        assert read_vectors(tmp_path / "saved") == vectors
        np.testing.assert_allclose(ours(tmp_path / "saved"), theirs(tmp_path / "saved"), rtol=1e-5, atol=1e-5)


def test_prompts_are_theirs(saved, caplog):
    for ask, name in ({}, None), ({"prompt_name": "document"}, "document"), ({"prompt": ""}, ""):
        np.testing.assert_allclose(ours(saved, prompt=name), theirs(saved, **ask), rtol=1e-5, atol=1e-5)
    assert np.abs(ours(saved) - ours(saved, prompt="")).max() > 0.01
    assert "texts: 14.3% (1 of 7) cut to 64 tokens" in caplog.text


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_what_sentence_transformers_saves_is_read(tiny, tmp_path, mode):
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    parts = [Transformer(str(tiny)), Pooling(32, mode), *([Normalize()] if mode == "mean" else [])]
    model = SentenceTransformer(modules=parts, prompts={"query": "駅: "}, default_prompt_name="query", device="cpu")
    model.max_seq_length = 30
    model.save(str(tmp_path / "saved"), create_model_card=False)
    found = read_vectors(tmp_path / "saved")
    assert found.normalise == (mode == "mean") and found.prompts == {"query": "駅: ", "document": ""}
    np.testing.assert_allclose(ours(tmp_path / "saved"), model.encode(ODD), rtol=1e-5, atol=1e-5)


def test_a_bare_bert_is_read_as_sentence_transformers_reads_it(tiny, caplog):
    assert read_vectors(tiny) is None
    np.testing.assert_allclose(ours(tiny), theirs(tiny), rtol=1e-5, atol=1e-5)
    assert "no modules.json): the mean of all tokens, of any length, without a prompt" in caplog.text


def test_saving_without_vectors_writes_none_of_the_files(tiny, tmp_path):
    save(*tezukuri.load(tiny), tmp_path / "plain")
    assert not any((tmp_path / "plain" / name).exists() for name in LAYOUT)
    save(*tezukuri.load(tiny), tmp_path / "plain", vectors=FIRST)
    assert read_vectors(tmp_path / "plain") == FIRST
    save(*tezukuri.load(tiny), tmp_path / "plain")  # in its place
    assert read_vectors(tmp_path / "plain") is None


# --- files of other versions ------------------------------------------------------------------------------------

VERSION_2 = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 40, "do_lower_case": False},
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0", "pytorch": "1.9.0"}},
}  # fmt: skip


def test_files_of_versions_2_to_5_are_read(tiny, tmp_path, caplog):
    folder = shutil.copytree(tiny, tmp_path / "saved")
    (folder / "1_Pooling").mkdir()
    for name, content in VERSION_2.items():
        (folder / name).write_text(json.dumps(content))
    assert read_vectors(folder) == Vectors("first", False, max_length=40)
    np.testing.assert_allclose(ours(folder), theirs(folder), rtol=1e-5, atol=1e-5)
    added = {"pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": False, "include_prompt": True}
    edit(folder, "1_Pooling/config.json", **added)
    more = {"prompts": {"q": "駅"}, "default_prompt_name": None, "similarity_fn_name": "dot"}
    edit(folder, "config_sentence_transformers.json", **more)
    (folder / "sentence_bert_config.json").rename(folder / "sentence_camembert_config.json")
    edit(folder, "sentence_camembert_config.json", max_seq_length=4)  # as version 0 names it
    assert read_vectors(folder).max_length == 4
    (folder / "sentence_camembert_config.json").unlink()
    assert read_vectors(folder) == Vectors("first", False, {"q": "駅"})
    assert "vectors were learned to be compared by dot; here it is by cosine" in caplog.text
    edit(folder, "config_sentence_transformers.json", similarity_fn_name=None, prompts=None)  # as version 3 may
    assert read_vectors(folder) == Vectors("first", False)
    for key in VERSION_2["1_Pooling/config.json"]:
        edit(folder, "1_Pooling/config.json", **{key: False})
    assert read_vectors(folder).pooling == "mean"  # where nothing is asked for


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "mode_mean_tokens and pooling_mode_max_tokens"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "is mean, cls, lasttoken alone"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, "the pooling is mean and cls"),
        ("1_Pooling/config.json", {"pooling_mode": 3}, "the pooling is 3"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt is false, where only true is"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, '_name is "token_embeddings"'),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case is true"),
        ("sentence_bert_config.json", {"max_seq_length": "64"}, "the most tokens of a text are '64'"),
        ("sentence_bert_config.json", {"query_length": 32}, "query_length is 32, where only nothing is computed here"),
        ("config_sentence_transformers.json", {"truncate_dim": 8}, "truncate_dim is 8"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, 'model_type is "SparseEncoder"'),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "no prompt 'x': the model's are 'query', "),
        ("config_sentence_transformers.json", {"prompts": {"query": 1}}, "the prompt 'query' is 1; it must be a text"),
        ("config_sentence_transformers.json", {"prompts": ["query: "]}, "config_sentence_transformers.json"),
    ],
)  # fmt: skip
def test_what_is_not_computed_here_is_refused_by_name(saved, name, changes, message):
    (saved / "2_Normalize").mkdir()
    edit(saved, name, **changes)
    with pytest.raises(ValueError) as error:
        tezukuri.Encoder.load(saved)
    assert message in str(error.value) and name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ('[{"idx": 0, ', "modules.json is not JSON"),
        ('{"a": 1}', "holds no list of modules"),
        ("[1, 2]", "holds no list of modules"),
        ("[]", "one of these lacks"),
        (("", "../.."), "of a Pooling in \"1_Pooling\" there is sentence_transformers.models.Pooling in \"../..\""),
        (("evil.module.Transformer", ""), "there is evil.module.Transformer"),
        (("sentence_transformers_evil.models.Transformer", ""), "there is sentence_transformers_evil.models"),
        (("sentence_transformers.models.CLIPModel", ""), "there is sentence_transformers.models.CLIPModel"),
        ("Dense", "beyond these there is sentence_transformers.models.Dense"),
    ],
)  # fmt: skip
def test_other_modules_are_refused_and_never_imported(saved, monkeypatch, tmp_path, modules, message):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    listed = json.loads((saved / "modules.json").read_text())
    if modules == "Dense":
        listed += [{"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
    elif isinstance(modules, tuple):
        kind, path = modules
        listed[1 if path else 0] |= {"path": path} | ({"type": kind} if kind else {})
    (saved / "modules.json").write_text(modules if modules[:1] in ("[", "{") else json.dumps(listed))
    with pytest.raises(ValueError) as error:
        tezukuri.Encoder.load(saved)
    assert message in str(error.value) and "\n" not in str(error.value) and "evil.module" not in sys.modules
    tezukuri.load(saved)  # whose vectors nobody asks for


def test_a_pooling_that_is_lost_is_told(saved):
    (saved / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"names a pooling, but there is no 1_Pooling/config\.json: fetch it again"):
        read_vectors(saved)
