"""Programs, each in a process of its own that begins with torch imported, since that takes longer than most of them.

The processes are forked from one that has imported `WARM` and done nothing else; where there is no fork (on Windows),
each imports all by itself.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

WARM = ["torch", "tezukuri.weights.load", "tezukuri.scripts.predict", "tezukuri.scripts.verify", "warm_process"]
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    CONTEXT.set_forkserver_preload(WARM)


def start(program: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> BaseProcess:
    """Start a program, as `python -c` does, with its output going to files `stdout` and `stderr` of the folder."""
    process = CONTEXT.Process(target=become, args=(program, list(arguments), dict(environment), folder))
    process.start()
    return process


def run(program: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float = 120):
    """Run one to its end: its `returncode`, and its `stdout` and `stderr` as texts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start(program, arguments, environment, folder)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = {file: (folder / file).read_text(encoding="utf-8") for file in ("stdout", "stderr")}
        return SimpleNamespace(returncode=process.exitcode, **said)


def become(program: str, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    assert "huggingface_hub" not in sys.modules  # it reads its settings from the environment when it is imported
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream.fileno())
        os.close(file)
        stream.reconfigure(encoding="utf-8")
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
