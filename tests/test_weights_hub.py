"""Fetching checkpoints with the real huggingface_hub client from a stand-in hub: what works, and what failures say.

Each load runs in a process of its own, as a user's would, since the client reads its settings when it is imported.
"""

import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import warm_process
from hub_server import commit_of, hub
from tiny_checkpoint import TOKENIZER, checkpoint, files_of, oracle
from unigrams import FAST, folder_of, json_model

from tezukuri.weights.sentences import LAYOUT, MODULES, OLDER, Vectors, write_vectors

V3 = "tohoku-nlp/bert-base-japanese-v3"
INDEX = "model.safetensors.index.json"
CLIENT = """
import sys, time
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 4096  # so that these small files come in parts, as large ones do
time.sleep = lambda seconds: None  # the client waits longer and longer between its attempts
"""
PROGRAM = (
    CLIENT
    + """
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_with_report
for name, revision in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        loaded = load_with_report(name, "classify", ["a", "b"], revision=revision or None)
    except CheckpointError as error:
        print("refused:", error)
    else:
        print(loaded.report)
        print("first weight", float(loaded.model.bert.embeddings.word.weight[0, 0]))
"""
)
COMMANDS = (
    CLIENT
    + """
from tezukuri.scripts.command import main
for name, revision in zip(sys.argv[1::2], sys.argv[2::2]):
    print(main(["predict", "text", "--model", name, *(["--revision", revision] if revision else [])]))
"""
)
VECTORS = """
import sys, tezukuri
from tezukuri.weights.load import load_with_report
for name in sys.argv[1:]:
    print(tezukuri.Encoder.load(name).vectors)
print(load_with_report(name, "classify", ["a", "b"]).report.notes)
"""


@pytest.fixture(scope="module")
def safe(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("safe")
    checkpoint(folder, "BertForPreTraining")
    return files_of(folder)


@pytest.fixture(scope="module")
def pickled(safe, tmp_path_factory) -> dict[str, bytes]:
    """The same checkpoint with a pickle in the place of the safetensors."""
    from safetensors.torch import load

    folder = tmp_path_factory.mktemp("pickled")
    torch.save(load(safe["model.safetensors"]), folder / "pytorch_model.bin")
    return {name: content for name, content in safe.items() if name != "model.safetensors"} | files_of(folder)


def environment(url: str, cache: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    quick = {"HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2", "HF_HUB_DISABLE_XET": "1"}
    return kept | quick | {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"} | more


def load(url: str, cache: Path, *names: str, **more: str) -> str:
    """What a process prints that loads these names and revisions, one after the other (by default V3)."""
    return run(PROGRAM, url, cache, *(names or (V3, "")), **more).stdout


def errors(url: str, cache: Path, *names: str, **more: str) -> list[str]:
    """What `tezukuri predict` says of these names and revisions, all of which it must refuse, a sentence for each."""
    result = run(COMMANDS, url, cache, *names, **more)
    assert result.stdout.split() == ["1"] * (len(names) // 2) and "Traceback" not in result.stderr
    return [line.split("error: ", 1)[1] for line in result.stderr.splitlines() if line.startswith("predict: error: ")]


def run(program: str, url: str, cache: Path, *names: str, **more: str):
    result = warm_process.run(program, names, environment(url, cache, **more))
    assert result.returncode == 0, result.stderr
    return result


def test_safetensors_come_from_the_revision_that_has_them_and_pickles_from_main_with_a_notice(safe, pickled, tmp_path):
    with hub({V3: {"main": pickled, "refs/pr/2": safe}}) as server:
        printed = load(server.url, tmp_path, V3, "", V3, "main", V3, commit_of("refs/pr/2"))
        asked = {path.rsplit("/", 1)[1] for _, path, _ in server.requests}
        assert {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"} <= asked
        assert server.downloads().count("model.safetensors") == server.downloads().count("pytorch_model.bin") == 1
    by_default, main, pinned, end = printed.split("first weight ")
    assert f"{V3} @ refs/pr/2 ({commit_of('refs/pr/2')[:12]})" in by_default and "note" not in by_default
    assert "no safetensors there: read pytorch_model.bin, a pickle, restricted to tensors" in main
    assert f"{V3} @ {commit_of('refs/pr/2')}\n" in pinned
    assert main.splitlines()[0] == pinned.splitlines()[0] == end.strip()  # the same number each time


def test_a_second_load_downloads_nothing_and_offline_needs_nobody(safe, tmp_path):
    with hub({V3: {"refs/pr/2": safe}}) as server:
        first = load(server.url, tmp_path)
        downloads = list(server.downloads())
        assert "model.safetensors" in downloads and "first weight" in first
        before = len(server.requests)
        assert load(server.url, tmp_path) == first
        assert server.downloads() == downloads
        assert len(server.requests) - before <= 1  # the look at what the branch points to
        asked = len(server.requests)
        assert load(server.url, tmp_path, HF_HUB_OFFLINE="1") == first
        assert len(server.requests) == asked
        url = server.url
    assert load(url, tmp_path) == first  # the server is gone; what is cached serves
    (vocabulary,) = tmp_path.rglob("vocab.txt")
    vocabulary.unlink()
    (said,) = errors(url, tmp_path, V3, "", HF_HUB_OFFLINE="1")
    assert "has no vocab.txt" in said and "unset HF_HUB_OFFLINE to fetch what it lacks" in said


def test_the_few_files_that_tell_how_vectors_are_made_are_fetched_for_vectors_alone(safe, tmp_path):
    for name, content in safe.items():
        (tmp_path / name).write_bytes(content)
    write_vectors(tmp_path, vectors := Vectors("first", prompts={"query": "q: "}))
    layout = {name: (tmp_path / name).read_bytes() for name in LAYOUT if (tmp_path / name).is_file()}
    with hub({"a/vectors": {"main": safe | layout}, "a/bare": {"main": safe}}) as server:
        names = ("a/vectors", "a/bare")
        said = run(VECTORS, server.url, tmp_path / "cache", *names).stdout
        assert said == f"{vectors}\n{Vectors(normalise=False)}\n[]\n"
        paths = [path.removeprefix("/").split("/resolve/") for _, path, _ in server.requests]
        asked = {name: {rest.split("/", 1)[1] for repository, rest in paths if repository == name} for name in names}
        assert set(LAYOUT) & asked["a/vectors"] == set(LAYOUT) - set(OLDER), "no other name of what is there"
        assert set(LAYOUT) & asked["a/bare"] == {MODULES}
        before = len(server.requests)
        assert run(VECTORS, server.url, tmp_path / "cache", *names, HF_HUB_OFFLINE="1").stdout == said
        assert len(server.requests) == before


def test_a_tokenizer_that_may_lie_under_several_names_is_fetched_under_the_one_that_is_there(tmp_path):
    folder = tmp_path / "pieces"
    oracle("BertModel", vocab_size=1600).save_pretrained(folder)
    files = files_of(folder_of(folder, "tokenizer.json", json_model().encode(), FAST))
    nameless = {name: token for name, token in FAST.items() if name != "tokenizer_class"}
    models = {
        "a/pieces": files,
        "a/nameless": files | {"tokenizer_config.json": json.dumps(nameless).encode()},
        "a/none": {name: content for name, content in files.items() if name != "tokenizer.json"},
    }
    with hub({name: {"main": of} for name, of in models.items()}) as server:
        said = load(server.url, tmp_path / "cache", *(word for name in models for word in (name, "")))
        assert server.downloads().count("tokenizer.json") == 2 and "vocab.txt" not in server.downloads()
    assert said.count("first weight") == 2 and "names no tokenizer_class" in said
    assert "refused: the repository a/none has no tokenizer.json or sentencepiece.bpe.model or spiece.model or" in said


def test_offline_main_serves_where_the_cache_lacks_the_pinned_revision(safe, tmp_path):
    with hub({V3: {"main": safe}}) as server:
        url = server.url
        load(url, tmp_path, V3, "main")
    for offline in ({"HF_HUB_OFFLINE": "1"}, {}):
        said = load(url, tmp_path, **offline)
        assert f"{V3} @ main ({commit_of('main')[:12]})" in said and "first weight" in said
        assert "note: the cache lacks refs/pr/2 and the hub cannot be reached: read main, which the cache has" in said
    asked = load(url, tmp_path, V3, "refs/pr/2", HF_HUB_OFFLINE="1")
    assert "refused: config.json of" in asked  # a revision that was asked for is that one or none


def test_offline_a_file_that_models_may_lack_is_done_without_and_told(safe, tmp_path):
    """As in a cache that another program filled."""
    with hub({V3: {"refs/pr/2": safe}}) as server:
        url = server.url
        first = load(url, tmp_path)
    (unknown,) = tmp_path.rglob(".no_exist")
    absent = sorted(path.name for path in unknown.rglob("*") if path.is_file())
    assert {"added_tokens.json", "special_tokens_map.json"} <= set(absent)
    for file in unknown.rglob("*.json"):
        file.unlink()
    note = "special_tokens_map.json, added_tokens.json not in the cache and the hub cannot be reached: read as if"
    for offline in ({"HF_HUB_OFFLINE": "1"}, {}):
        said = load(url, tmp_path, **offline)
        assert note in said and said.splitlines()[-1] == first.splitlines()[-1]


def test_a_ref_that_ends_with_a_line_break_is_read(safe, tmp_path):
    with hub({"a/base": {"main": safe}}) as server:
        url = server.url
        first = load(url, tmp_path, "a/base", "")
    (ref,) = (path for path in tmp_path.rglob("refs/main"))
    assert ref.read_text() == commit_of("main")
    for end in ("\n", "\r\n"):
        ref.write_text(commit_of("main") + end)
        for offline in ({"HF_HUB_OFFLINE": "1"}, {}):
            assert load(url, tmp_path, "a/base", "", **offline) == first


def test_a_dropped_connection_is_taken_up_again_within_the_call(safe, tmp_path):
    with hub({V3: {"refs/pr/2": safe}}) as server:
        server.cut_once.add("model.safetensors")
        assert "first weight" in load(server.url, tmp_path)
        ranges = [asked for method, path, asked in server.requests if method == "GET" and "safetensors" in path]
        assert ranges[0] is None and ranges[1].startswith("bytes=") and int(ranges[1][6:].split("-")[0]) > 0


def test_a_killed_download_leaves_no_half_file_that_is_used(safe, tmp_path):
    with hub({V3: {"refs/pr/2": safe}}) as server:
        server.stall.add("model.safetensors")
        more = {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}
        child = warm_process.start(PROGRAM, (V3, ""), environment(server.url, tmp_path, **more), tmp_path)
        assert server.stalled.wait(60)
        time.sleep(0.5)  # let the half that was sent reach the disk
        child.kill()
        child.join()
        assert not list(tmp_path.rglob("model.safetensors"))
        offline = load(server.url, tmp_path, HF_HUB_OFFLINE="1")
        assert f"refused: {V3} @ refs/pr/2" in offline and "unset HF_HUB_OFFLINE to fetch what it lacks" in offline
        server.stall.clear()
        server.released.set()
        assert "first weight" in load(server.url, tmp_path)
        (stored,) = tmp_path.rglob("model.safetensors")
        assert stored.read_bytes() == safe["model.safetensors"]


def test_each_failure_is_one_sentence_that_says_what_to_do(safe, tmp_path):
    bare = {name: content for name, content in safe.items() if name != "model.safetensors"}
    no_vocabulary = {name: content for name, content in safe.items() if name != "vocab.txt"}
    models = {"a/bare": bare, "a/none": no_vocabulary, "a/base": safe, "a/index": bare | {INDEX: b"{}"}}
    with hub({name: {"main": files} for name, files in models.items()}) as server:
        server.refusals = {
            "a/gated": (403, "GatedRepo"),
            "a/closed": (401, "GatedRepo"),
            "a/private": (401, "RepoNotFound"),
            "a/expired": (401, ""),
            "a/busy": (503, ""),
        }
        cases = (
            ("a/missing", "", "there is no model 'a/missing', neither as a folder here nor on http://127.0.0.1"),
            ("a/bare", "", "a/bare @ main"),
            ("a/bare", "", "has no weights that can be read here (model.safetensors"),
            ("a/bare", "v9", "a/bare has no revision 'v9': give a branch, a tag or a commit"),
            ("a/none", "", "the repository a/none has no vocab.txt"),
            ("a/index", "", f"{INDEX} lists no shards (it has no weight_map): fetch it again"),
            ("a/base", "", "a/base @ main"),
            ("a/base", "", "has no classifier for sentences: fine-tune it first (tezukuri finetune)"),
            ("a/gated", "", "a/gated is gated: accept its terms on its page and set HF_TOKEN"),
            ("a/closed", "", "a/closed is gated: accept its terms on its page and set HF_TOKEN"),
            ("a/private", "", "there is no model 'a/private'"),
            ("a/private", "", "check the spelling; a private one needs HF_TOKEN"),
            ("a/expired", "", f"{server.url} refuses config.json of a/expired (Client error '401 Unauthorized'"),
            ("a/expired", "", "check or unset HF_TOKEN"),
            ("a/busy", "", f"{server.url} cannot be reached (Server error '503 Service Unavailable'"),
            ("not an id!", "", "is neither a folder here nor a hub id (owner/name)"),
        )
        names = [word for name, revision, _ in cases for word in (name, revision)]
        for said, (_, _, sentence) in zip(errors(server.url, tmp_path, *names), cases, strict=True):
            assert sentence in said


def test_a_connection_that_never_holds_is_one_sentence_too(safe, tmp_path):
    with hub({V3: {"refs/pr/2": safe}}) as server:
        server.silent.add("model.safetensors")
        (said,) = errors(server.url, tmp_path, V3, "")
        assert said.startswith(f"fetching model.safetensors of {V3} failed (") and said.endswith("): try again")
    assert not list(tmp_path.rglob("model.safetensors"))


def test_a_server_that_is_no_hub_is_told(tmp_path):
    class Page(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (said,) = errors(f"http://127.0.0.1:{server.server_port}", tmp_path, V3, "")
        server.shutdown()
    assert "missing the 'X-Repo-Commit' header" in said


def test_without_a_network_the_sentence_names_the_way_out(tmp_path):
    way_out = ": connect and try again, or give a local folder"
    assert errors("http://127.0.0.1:9", tmp_path, V3, "", HF_HUB_OFFLINE="1") == [
        f"config.json of {V3} is not in the cache and HF_HUB_OFFLINE is set{way_out}"
    ]
    (down,) = errors("http://127.0.0.1:9", tmp_path, V3, "")
    assert down.startswith(f"config.json of {V3} is not in the cache and http://127.0.0.1:9 cannot be reached (")
    assert down.endswith(way_out)


def test_a_hub_that_does_not_answer_is_given_up_at_once(tmp_path):
    """The client alone would try six times, the last five for a minute each."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        begun = time.monotonic()
        (said,) = errors(f"http://127.0.0.1:{deaf.getsockname()[1]}", tmp_path, V3, "", HF_HUB_ETAG_TIMEOUT="1")
    assert "cannot be reached (timed out)" in said and time.monotonic() - begun < 50


def test_a_sharded_checkpoint_is_fetched_whole(tmp_path):
    folder = tmp_path / "sharded"
    oracle("BertForMaskedLM").save_pretrained(folder, max_shard_size="20KB")
    TOKENIZER.save(folder)
    files = files_of(folder)
    shards = [name for name in files if name.startswith("model-")]
    assert len(shards) > 2 and "model.safetensors" not in files
    lacking = {name: content for name, content in files.items() if name != shards[1]}
    with hub({"a/sharded": {"main": files}, "a/lacking": {"main": lacking}}) as server:
        whole, _, other = load(server.url, tmp_path / "cache", "a/sharded", "", "a/lacking", "").partition(
            "first weight"
        )
        assert "loaded 37 tensors from a/sharded" in whole and set(shards) <= set(server.downloads())
        assert f"refused: a/lacking @ main ({commit_of('main')[:12]}): {INDEX} lists {shards[1]}, not there" in other
