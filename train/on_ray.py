"""Runs on a Ray cluster: a task for each, with a GPU where there are any; its files come back when it ends.

Files that options name must lie at the same place on all machines, and this package must be installed there. A run
whose machine is lost begins anew on another one.
"""

import io
import os
import re
import signal
import socket
import tarfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import IO, Any

from ..weights.files import first_line
from .places import Process

AGAIN = 3  # times that a run is made again whose worker is lost, and as many where Ray ended it for want of memory


class OnRay:
    """The machines of a cluster; on those without GPUs `jobs` runs at a time, which share the cores.

    Args:
        command: the function that runs a command of this package, from its name and its options.
    """

    slots = 500  # Ray has the queue; each keeps a file open

    def __init__(self, address: str, jobs: int, command: Callable[[list[str]], int]) -> None:
        os.environ.setdefault("RAY_task_oom_retries", str(AGAIN))  # Ray's own is without end, and it reads this once
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("--ray needs Ray, which is not installed: pip install 'tezukuri[ray]'") from error
        before = signal.getsignal(signal.SIGTERM)
        try:
            if found := re.search(r"([\w.-]+):(\d+)$", address):  # Ray itself would try for a quarter of an hour
                socket.create_connection((found[1], int(found[2])), timeout=10).close()
            ray.init(address, log_to_driver=False, logging_level="error")
        except (OSError, OverflowError, ValueError, RuntimeError) as error:
            raise ValueError(f"no Ray cluster at {address!r}: {first_line(error)}") from error
        if signal.getsignal(signal.SIGTERM) != before:  # Ray has one of its own, which does not let runs end in order
            signal.signal(signal.SIGTERM, before)
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        gpus = sum(machine.get("GPU", 0) for machine in machines)
        cores = 1 if gpus else max(1, int(min((machine["CPU"] for machine in machines), default=1)) // jobs)
        share = "1 GPU" if gpus else f"{cores} core{'s' * (cores > 1)}"
        self.told = f"{len(machines)} machines of a Ray cluster, {share} for each run"
        options = {"num_cpus": cores, "num_gpus": int(gpus > 0), "max_retries": AGAIN, "max_calls": 1}
        self.ray, self.command, self.work = ray, command, ray.remote(**options)(work)

    def start(self, arguments: Sequence[str], folder: Path, output: IO[str]) -> Process:
        resumed = packed(folder) if arguments[0] == "--resume" else b""
        place = Path(arguments[-1]).relative_to(folder).as_posix()
        told = [*arguments[:-1], place], str(Path.cwd())
        return Task(self.ray, self.work.remote(self.command, *told, resumed), folder, os.dup(output.fileno()))


def work(command: Callable[[list[str]], int], arguments: list[str], cwd: str, resumed: bytes) -> tuple[int, str, bytes]:
    """Make a run on a worker: its exit status, what it said, and its files, among which the last argument is."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")
    with TemporaryDirectory(prefix="tezukuri-") as folder:
        unpack(resumed, Path(folder))
        with redirect_stdout(said), redirect_stderr(said):
            try:
                status = command(["finetune", *arguments[:-1], str(Path(folder) / arguments[-1])])
            except (Exception, SystemExit):
                traceback.print_exc()
                status = 1
        said.flush()
        return status, said.buffer.getvalue().decode(errors="replace"), packed(Path(folder))


class Task:
    """A task at work, as a process."""

    def __init__(self, ray: Any, task: Any, folder: Path, output: int) -> None:
        self.ray, self.task, self.folder = ray, task, folder
        self.returncode: int | None = None
        self.output = os.fdopen(output, "a", encoding="utf-8")  # with its lock

    def poll(self) -> int | None:
        if self.returncode is None and self.ray.wait([self.task], timeout=0)[0]:
            with self.output:
                try:
                    self.returncode, said, files = self.ray.get(self.task)
                    self.output.write(said)
                    unpack(files, self.folder)
                except self.ray.exceptions.RayError as error:
                    self.output.write(f"{type(error).__name__}: {first_line(error)}\n")
                    self.returncode = 1
        return self.returncode

    def terminate(self) -> None:
        self.ray.cancel(self.task)

    def wait(self) -> None:
        """At most a minute; a run that kept its checkpoint in time may bring it."""
        self.ray.wait([self.task], timeout=60)
        self.poll()


def packed(folder: Path) -> bytes:
    """The folders in a folder, as an archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path in folder.iterdir():
            if path.is_dir():
                archive.add(path, path.name)
    return file.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Put the folders in an archive into a folder, each whole, and in the place of one of that name."""
    if not archive:
        return
    with TemporaryDirectory(prefix=".", dir=folder) as aside, tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(aside, filter="data")
        for path in Path(aside).iterdir():
            rmtree(folder / path.name, ignore_errors=True)
            path.rename(folder / path.name)
