"""The console command `tezukuri <script> …`, which is also what `python scripts/<script>.py …` runs."""

import ctypes
import importlib
import io
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

SCRIPTS = {
    "finetune": "train a classifier on labelled texts",
    "compare": "train in several ways, and tell which differ",
    "evaluate": "judge a ready classifier on labelled texts",
    "predict": "label texts with a classifier",
    "pretrain": "train a BERT to guess masked words",
    "build_vocab": "make a WordPiece vocabulary from texts",
    "inside": "show the walk of a sentence through a model",
    "failures": "show all mistakes of a run, and what stands out, on one page",
    "probe": "try a classifier on texts made from templates",
    "check_data": "look through labelled texts before training",
    "verify": "check a downloaded model against its published answers",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one script; what went wrong comes as one line (with TEZUKURI_TRACEBACK=1 in full), 1 as the exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    write_utf8()
    keep_freed_memory()
    if name not in SCRIPTS:
        print("usage: tezukuri SCRIPT …    (tezukuri SCRIPT --help tells more)\n")
        print("\n".join(f"  {script:<13}{what}" for script, what in SCRIPTS.items()))
        return 0 if name in ("-h", "--help") else 2
    try:
        with one_of_several():
            return importlib.import_module(f"tezukuri.scripts.{name}").main(rest)
    except BrokenPipeError:  # who reads the output has seen enough (… | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        if type(error) is RuntimeError or os.environ.get("TEZUKURI_TRACEBACK"):
            raise  # torch's own errors are RuntimeErrors: their place in the code tells more than their message
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130


@contextmanager
def one_of_several() -> Iterator[None]:
    """Join the processes that torchrun started, where it did; only the first of them prints, but for errors."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    from tezukuri.model import ranks

    ranks.start()
    try:
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere if ranks.rank() else sys.stdout),
        ):
            yield
    finally:
        ranks.stop()


def write_utf8() -> None:
    """Into files and pipes write UTF-8 whatever the system's own encoding is; on a terminal, what it can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, where the system's C library is glibc.

    By default it gives large blocks back to the kernel at once; the next step of training asks for the same gradients
    again, and gets them page by page, each cleared first: a good part of the time of a step (docs/benchmarks.md).
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mmap_threshold, trim_threshold = -3, -1  # malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25):  # older ones take 32 MB at most
            mallopt(trim_threshold, (1 << 31) - 1)


def command_line() -> str:
    """How to call `tezukuri` from here: by its name where a shell finds it, else by its path."""
    if shutil.which("tezukuri"):
        return "tezukuri"
    path = Path(sys.executable).with_name("tezukuri")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def run_file(file: str) -> None:
    """Run the script in `file`, for its `if __name__ == "__main__"`."""
    sys.exit(main([Path(file).stem, *sys.argv[1:]]))
