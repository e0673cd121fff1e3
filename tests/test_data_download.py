"""Downloads, against a real server on this computer."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tezukuri.data import jrte
from tezukuri.data.dataset import DataError
from tezukuri.data.download import cache_folder, download
from tezukuri.data.load import READERS, load

CONTENT = 'a1\t1\t駅から近い。\t{"1": 3}\ttrain\n'.encode() * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/without-length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/cut":
            self.wfile.write(CONTENT[:5000])
        elif self.path == "/changed":
            self.wfile.write(CONTENT[:-1] + b"!")
        elif self.path == "/without-length":
            self.wfile.write(CONTENT[:5000])
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server: str, tmp_path: Path) -> None:
    file = tmp_path / "new" / "pn.tsv"
    for _ in range(2):
        assert download(f"{server}/pn.tsv", file, SHA256) == file
        assert file.read_bytes() == CONTENT
    assert Handler.requests == ["/pn.tsv"]
    assert list(file.parent.iterdir()) == [file]


def test_a_cached_file_with_another_hash_is_fetched_again(server: str, tmp_path: Path) -> None:
    file = tmp_path / "pn.tsv"
    file.write_bytes(CONTENT[:100])
    assert download(f"{server}/pn.tsv", file, SHA256).read_bytes() == CONTENT
    assert Handler.requests == ["/pn.tsv"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("changed", "sent another file than expected"),
        ("without-length", "sent another file than expected"),
        ("cut", "IncompleteRead"),
        ("missing", "HTTP Error 404"),
    ],
)
def test_a_bad_answer_is_an_error_and_leaves_nothing(server: str, tmp_path: Path, page: str, reason: str) -> None:
    old = tmp_path / "pn.tsv"
    old.write_bytes(b"old")
    with pytest.raises(DataError, match=reason) as raised:
        download(f"{server}/{page}", old, SHA256)
    assert f"{server}/{page}" in str(raised.value)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_load_fetches_jrte_into_the_cache(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEZUKURI_CACHE", str(tmp_path))
    row = 'a1\t1\t駅から近い。\t{"1": 3}\ttrain\n'.encode()
    there = READERS["jrte"]._replace(fetch=lambda: jrte.fetch(f"{server}/pn.tsv", SHA256))
    monkeypatch.setitem(READERS, "jrte", there)
    corpus = load("jrte", bad_rows="skip")  # the ids are all the same
    assert len(corpus.examples) == 1 and len(corpus.bad_rows) == 999
    assert (tmp_path / "jrte" / "pn.tsv").read_bytes() == row * 1000


def test_without_a_server_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TEZUKURI_CACHE", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        url = f"http://127.0.0.1:{httpd.server_port}/pn.tsv"  # nobody listens there when the server is closed
    with pytest.raises(DataError) as raised:
        jrte.fetch(url)
    message = str(raised.value)
    assert url in message and "refused" in message
    assert "--data-path FILE" in message and "github.com/megagonlabs/jrte-corpus" in message
    assert "CC BY-NC-SA 4.0" in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_the_address_is_that_of_one_commit() -> None:
    assert jrte.URL == (
        "https://raw.githubusercontent.com/megagonlabs/jrte-corpus/fa164496fccfa393cd400cd86b96efeea62d69d2/data/pn.tsv"
    )
    assert jrte.SHA256 == "7c3ab858d2b4e72563718d80bebc5fd75daf59c91993e712be45f2014c664c1f"


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TEZUKURI_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == tmp_path / ".cache" / "tezukuri"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/tezukuri")
    monkeypatch.setenv("TEZUKURI_CACHE", "/own")
    assert cache_folder() == Path("/own")
