"""A stand-in for the Hugging Face hub, on this machine: what `huggingface_hub` asks for, and faults on demand.

A repository is a dict of revision → {file name: content}; a revision's commit is the hash of its name.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


class Hub(ThreadingHTTPServer):
    """repositories: id → revision → file → bytes. refusals: id → status, code. requests: (method, path, Range)."""

    daemon_threads = True

    def __init__(self, repositories: dict[str, dict[str, dict[str, bytes]]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.refusals: dict[str, tuple[int, str]] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_once: set[str] = set()  # files whose first download breaks off in the middle
        self.silent: set[str] = set()  # files of which no download ever gives a byte
        self.stall: set[str] = set()  # files whose download stops in the middle and goes no further
        self.stalled = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self) -> list[str]:
        """The files that were fetched, in order."""
        return [path.rsplit("/", 1)[1] for method, path, _ in self.requests if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(self.path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        repository, _, rest = path.removeprefix("/").partition("/resolve/")
        revisions = self.server.repositories.get(repository)
        if repository in self.server.refusals:
            return self.refuse(*self.server.refusals[repository])
        if revisions is None:
            return self.refuse(404, "RepoNotFound")
        named = {name: name for name in revisions} | {commit_of(name): name for name in revisions}
        found = next((name for name in named if rest.startswith(name + "/")), None)
        if found is None:
            return self.refuse(404, "RevisionNotFound")
        name, commit = rest.removeprefix(found + "/"), commit_of(named[found])
        content = revisions[named[found]].get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound", commit)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.send(name, content[start:])
        return None

    def send(self, name: str, content: bytes) -> None:
        half = len(content) // 2
        if name in self.server.cut_once:
            self.server.cut_once.remove(name)
            self.wfile.write(content[:half])
            self.close_connection = True  # before all that was promised
        elif name in self.server.silent:
            self.close_connection = True
        elif name in self.server.stall:
            self.wfile.write(content[:half])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.released.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(content)

    def refuse(self, status: int, code: str, commit: str | None = None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub(repositories: dict[str, dict[str, dict[str, bytes]]]) -> Iterator[Hub]:
    server = Hub(repositories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
