"""The console command `tezukuri <script> …`, which is also what `python scripts/<script>.py …` runs."""

import argparse
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

from tezukuri.train.signals import as_interrupts

SCRIPTS = {
    "finetune": "train a classifier on labelled texts",
    "compare": "train in several ways, and compare the results",
    "sweep": "train several models, and compare the results",
    "aggregate": "put runs into one table, and say which models differ",
    "adapt": "adapt sentence vectors to a domain, and see what changed",
    "evaluate": "judge a trained classifier on labelled texts",
    "predict": "label texts with a classifier",
    "embed": "make sentence vectors of texts",
    "search": "find the texts that are most like a query",
    "pretrain": "train a BERT to guess masked words",
    "build_vocab": "make a vocabulary of WordPiece or of unigram pieces",
    "encode": "tokenize texts once, for pretraining on a GPU",
    "inside": "show every computation of a model on a sentence",
    "failures": "show all mistakes of a run on one page",
    "probe": "try a classifier on texts made from templates",
    "look": "look at labelled texts on a page: lengths, labels, unknown tokens",
    "quiz": "guess the labels of the most confident errors of a run",
    "data": "list the data sets that have a name",
    "check_data": "check labelled texts before training",
    "prepare": "write a data set as the files of its tutorial",
    "verify": "check a downloaded model against its published answers",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one script. An error is one line (in full with TEZUKURI_TRACEBACK=1), and the exit status 1, or that of the
    error's kind."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    write_utf8()
    keep_freed_memory()
    if name not in SCRIPTS:
        print("usage: tezukuri SCRIPT …    (tezukuri SCRIPT --help for more)\n")
        print("\n".join(f"  {script:<13}{what}" for script, what in SCRIPTS.items()))
        return 0 if name in ("-h", "--help") else 2
    try:
        with as_interrupts(), one_of_several():
            return importlib.import_module(f"tezukuri.scripts.{name}").main(rest)
    except BrokenPipeError:  # the reader of the output has stopped (… | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        if type(error) is RuntimeError or os.environ.get("TEZUKURI_TRACEBACK"):
            raise  # torch's own errors need their traceback
        print(f"{name}: error: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130


@contextmanager
def one_of_several() -> Iterator[None]:
    """Join the processes that torchrun started, if any; only the first prints, but for errors."""
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
    """Write UTF-8 into files and pipes, whatever the system's encoding is; on a terminal, what it can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def keep_freed_memory() -> None:
    """Keep freed memory in the process, where the C library is glibc.

    By default it gives large blocks back to the kernel at once, and gets them again, page by page and cleared, at the
    next step of training, which takes a good part of its time (docs/benchmarks.md).
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mmap_threshold, trim_threshold = -3, -1  # malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25):  # older versions take 32 MB at most
            mallopt(trim_threshold, (1 << 31) - 1)


def parser_of(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of a script, described by the first line of its docstring."""
    return argparse.ArgumentParser(prog=name, description=(doc or "").split("\n")[0], allow_abbrev=False)


def command_line() -> str:
    """How to call `tezukuri` from here: by its name where a shell finds it, else by its path."""
    if shutil.which("tezukuri"):
        return "tezukuri"
    path = Path(sys.executable).with_name("tezukuri")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def run_file(file: str) -> None:
    """Run the script in `file`, for its `if __name__ == "__main__"`."""
    sys.exit(main([Path(file).stem, *sys.argv[1:]]))
