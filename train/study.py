"""A study: a grid of runs (models, methods, rates, seeds, folds), each of which is made on its own, and its files.

What is finished is never made again, and what was cut goes on or begins anew. A run that fails leaves its reason in
`failed.csv`, the others go on, and the next start tries it again.
"""

import csv
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..data.dataset import Dataset
from ..eval.runs import read_log, write_csv, write_json, write_whole
from ..eval.study.study import BASELINE
from ..eval.tasks.table import TASKS, kind_of_labels, split_name
from ..weights.files import read_json, sha256_of
from ..weights.find import SHIPPED, find
from ..weights.sentences import NORMALIZE, POOLING
from .checkpoint import FILE as CHECKPOINT
from .checkpoint import BeginAnewError
from .models import parted
from .places import Place, Process
from .plan import Plan
from .regularizers.shelf import regularizers_of
from .regularizers.trust import changed_code, hashes_of

if sys.platform != "win32":
    import fcntl

# Options of a run that the study sets itself → those of the study's own; and what no method may change, so that the
# texts are the same.
OWN = {
    "--seed": "--seeds", "--lr": "--lrs", "--output-dir": "--study", "--fold": "", "--save-model": "",
    "--judge-train": "", "--checkpoint": "", "--no-checkpoint": "", "--report": "",
}  # fmt: skip
OF_MODELS = {"--model": "--models", "--revision": "--models"}  # where the study has models
SAME = (
    "data", "data_path", "text_column", "label_column", "pair_column", "choice_columns", "split_column", "id_column",
    "encoding", "classes", "merge_labels", "split_seed", "dev_split", "bad_rows", "task",
)  # fmt: skip
READ = (".safetensors", ".bin", ".json", ".txt", ".model")  # what may be read of a model's folder
LOOK_EVERY = 60.0  # seconds between two looks at the data
PLAIN = "default"  # the method that is none: finetune, with the regularizers of its recipe
CELL = "cell.json"  # in the folder of a cell: which it is
FAILED = "failed.txt"  # in the folder of a cell: why its run failed
ERROR = re.compile(r"\w+: error: |[\w.]*(Error|Exception)\b")


class Cell(NamedTuple):
    """One run of the grid."""

    method: str
    lr: float | None  # None: finetune's default
    seed: int
    fold: int = 0  # 0: none
    model: str = ""  # as models.py gives it; empty: that of finetune's options

    @property
    def folder(self) -> str:
        model = re.sub(r"[^\w.=,@ -]", "_", re.sub(r"^[./]", "_", self.model).replace("/", "--"))
        method = re.sub(r"[^\w.=,-]+", "_", self.method.replace("--", "")).strip("_")
        rate, fold = "" if self.lr is None else f"-lr={self.lr:g}", f"fold-{self.fold}-" if self.fold else ""
        return f"{model}{'/' if model else ''}{method}{rate}/{fold}seed-{self.seed}"

    @property
    def row(self) -> dict[str, Any]:
        """Its columns in tables."""
        row = {"model": self.model, "method": self.method, "lr": self.lr, "fold": self.fold, "seed": self.seed}
        return {name: value for name, value in row.items() if name != "fold" or value}


@dataclass(frozen=True)
class Study:
    """The options of a study."""

    methods: Sequence[str]  # regularizers, joined by " + ", or options of finetune ("--epochs 8"), BASELINE, or PLAIN
    finetune: Sequence[str]  # options of all runs
    plan_of: Callable[[Sequence[str]], Plan]  # options → a plan
    place: Place
    folder: Path
    models: Sequence[str] = ()  # as models.py gives them; none: that of finetune's options
    lrs: Sequence[float] = ()
    seeds: int = 5
    folds: int = 0
    only: tuple[int, int] = (1, 1)  # the first of so many parts of the grid
    judge_train: bool = False
    pairs_of: int = 0  # of a comparison: then also the pairs of so many best methods
    soup: bool = False  # keep all models


def begin(study: Study, methods: Sequence[str]) -> None:
    """Make the study's folder; ValueError where one is there that was begun with other options, data, files or code, or
    for what no run could do."""
    data = check(study, methods)
    if study.folder.exists() and not study.folder.is_dir():
        raise ValueError(f"{study.folder} is a file: choose another --study")
    common: dict[str, Any] = {"finetune": list(study.finetune), "soup": study.soup, "folds": study.folds}
    common |= {"judge_train": study.judge_train, **data.hashes}
    file, files = study.folder / "study.json", hashes_of_files(study, methods)
    study.folder.mkdir(parents=True, exist_ok=True)
    # What older studies do not tell is taken to be the same.
    before = common | {"files": {}} | ({"folds": 0} | read_json(file) if file.is_file() else {})
    before["sha256"] = before.pop("data", before["sha256"])
    before.pop("models", None)  # hashes of other files
    known: dict[str, str] = before.pop("files")
    if before | data.hashes != common:
        who = "compare" if before["judge_train"] else "sweep"
        others = ["--soup"] * before["soup"] + [f"{before['folds']} folds"] * bool(before["folds"])
        started = " and ".join([repr(shlex.join(before["finetune"])), *others])
        raise ValueError(f"the runs in {study.folder} were started by {who} with {started}: choose another --study")
    refuse_other_data(study, data, before)
    if changed := [name for name in files if known.get(name, files[name]) != files[name]]:
        what = f"{changed[0]} changed since runs in {study.folder} began with it"
        raise ValueError(f"{what}: choose another --study, or put it back")
    for cell in cells(study, methods):
        run, plan = finished_run(study, cell), study.plan_of(arguments_of(study, cell.method, cell.model))
        learned = read_json(run / "config.json").get("code") if run else None  # wherever the file lay
        now = hashes_of(plan.settings().regularizers) if learned else {}
        if changed := [file for file, own in now.items() if own not in (learned or {}).values()]:
            what = f"{changed[0]} changed since {run} learned with it"
            raise ValueError(f"{what}: choose another --study, put it back, or remove the runs of {cell.method}")
    content = common | {"files": known | files}
    if not file.is_file() or read_json(file) != content:
        write_json(file, content)
    with file.open("a", encoding="utf-8") as opened, suppress(BlockingIOError):
        if not lock(opened):
            print(f"note    no locks in {study.folder}: let no second process make runs of this study at the same time")
    for note in data.notes:
        print(f"data    {note}")


def hashes_of_files(study: Study, methods: Sequence[str]) -> dict[str, str]:
    """The models and vocabularies that lie in folders, and lists of texts to leave out → the SHA-256 of their files."""
    plans = [study.plan_of(arguments_of(study, m, model)) for model in study.models or [""] for m in methods]
    found = {}
    for name in dict.fromkeys(name for plan in plans for name in (plan.model, plan.tokenizer, plan.leave_out) if name):
        path = Path(name).expanduser()
        if name in SHIPPED or not path.exists():
            continue
        folder = find(name, weights=False).folder if path.is_dir() else path.parent
        own = [*folder.iterdir(), folder / POOLING, folder / NORMALIZE]
        files = [file for file in own if file.suffix in READ and file.is_file()] if path.is_dir() else [path]
        told = "".join(f"{file.relative_to(folder)} {sha256_of(file)}\n" for file in sorted(files))
        found[name] = sha256(told.encode()).hexdigest()
    return found


def data_of(study: Study) -> Dataset:
    """The data of the study's runs, of folds the first."""
    return replace(study.plan_of(study.finetune), fold=f"1/{study.folds}" if study.folds else None).read_data()


def refuse_other_data(study: Study, data: Dataset, known: Mapping[str, Any]) -> None:
    """ValueError for data of other hashes than the study began with."""
    if data.differs_from(known):
        what = f"texts, labels, votes or splits of {data.name} changed"
        raise ValueError(f"the data is not what the runs in {study.folder} learn: {what}: choose another --study")


def check(study: Study, methods: Sequence[str]) -> Dataset:
    """The data of the study's runs, of folds the first; ValueError for what no run could do."""
    # Each method: its options, its regularizers, the texts that it leaves out; and each rate.
    if study.folds < 0:
        raise ValueError(f"folds is {study.folds}; it must be 2 or more")
    common = study.plan_of(study.finetune)
    kind_of_labels(common.task)
    data = data_of(study)
    own = OWN | (OF_MODELS if study.models else {})
    for method in ("", *methods):
        told = study.finetune if not method else [word for part in options_in(method) for word in part]
        if flag := next((flag for flag in own if flag in {word.partition("=")[0] for word in told}), None):
            instead = f", and give {own[flag]}" if own[flag] else ""
            raise ValueError(f"{flag} is the study's own: leave it out of {method or 'what follows --'}{instead}")
    same = (*SAME, "leave_out") if study.folds else SAME  # the parts of cross-validation are dealt without these texts
    for method in methods:
        given = study.plan_of(arguments_of(study, method))
        if changed := [name for name in same if getattr(given, name) != getattr(common, name)]:
            flag = f"--{changed[0].replace('_', '-')}"
            raise ValueError(f"{flag} is one for all runs of a study: leave it out of {method}")
        regularizers_of(given.settings().regularizers)
        for lr in study.lrs:
            replace(given, lr=lr).settings()
        if given.leave_out:
            given.read_data()
    # Each run needs a folder of its own, also among those of earlier starts.
    folders: dict[str, Cell] = {}
    for cell in cells(study, methods):
        file = study.folder / cell.folder / CELL
        other = Cell(**read_json(file)) if file.is_file() else folders.setdefault(cell.folder, cell)
        if other != cell:
            one, two = next((a, b) for a, b in zip(cell, other, strict=True) if a != b)
            raise ValueError(f"{one!r} and {two!r} have the same folder, {cell.folder}")
    return data


def arguments_of(study: Study, method: str, model: str = "") -> list[str]:
    """The options of finetune for `fgm + ema` or `--hidden-dropout 0.2`, or both with ` + ` between them.

    Where neither the study nor the method names regularizers, there are none, but for PLAIN.
    """
    arguments = [*study.finetune, *chain.from_iterable(options_in(method))]
    if method != PLAIN and not study.plan_of(arguments).regularizer:
        arguments += ["--regularizer", "none"]
    if model:
        name, revision = parted(model)
        arguments += ["--model", name, *(["--revision", revision] if revision else [])]
    return arguments


def options_in(method: str) -> Iterator[list[str]]:
    """The options of each part of a method."""
    for part in () if method in (BASELINE, PLAIN) else (part.strip() for part in method.split(" + ")):
        if not part.strip("-"):
            raise ValueError(f"the method {method!r} names nothing to try")
        yield shlex.split(part) if part.startswith("-") else ["--regularizer", part]


def cells(study: Study, methods: Sequence[str]) -> list[Cell]:
    """The grid, seed after seed, so that a stopped study has runs of every method."""
    seeds, folds = range(1, study.seeds + 1), range(1, study.folds + 1) if study.folds else (0,)
    rates: list[float | None] = [*study.lrs] or [None]
    return [
        Cell(method, lr, seed, fold, model)
        for seed in seeds for fold in folds for model in study.models or [""] for method in methods for lr in rates
    ]  # fmt: skip


# --- one run ------------------------------------------------------------------------------------------------------


def run_folder(folder: Path) -> Path | None:
    """The run in a cell's folder, if any."""
    return next((config.parent for config in folder.glob("*/*/*/config.json")), None)


def finished_run(study: Study, cell: Cell) -> Path | None:
    """The run of a cell, once its last file but for pictures, which may fail, is there, and its checkpoint is not."""
    last = "train-metrics.json" if study.judge_train else "classification_report.txt"
    run = run_folder(study.folder / cell.folder)
    return run if run and (run / last).is_file() and not (run / CHECKPOINT).is_file() else None


def start(study: Study, cell: Cell) -> Process | None:
    """Start a run, or resume it; None where it is finished.

    The run holds a lock on its `output.txt`, also when this process has ended: BlockingIOError where another has it.
    One whose code is another now begins anew.
    """
    folder = study.folder / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        lock(output)
        if finished_run(study, cell):
            return None
        run = run_folder(folder)
        (folder / FAILED).unlink(missing_ok=True)
        if run and (run / CHECKPOINT).is_file() and not changed_code(run):
            return study.place.start(["--resume", str(run)], folder, output)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        output.truncate(0)
        write_json(folder / CELL, cell._asdict())
        arguments = [*arguments_of(study, cell.method, cell.model), "--seed", str(cell.seed)]
        arguments += [*["--judge-train"] * study.judge_train, "--no-report"]
        arguments += [] if cell.lr is None else ["--lr", str(cell.lr)]
        arguments += ["--fold", f"{cell.fold}/{study.folds}"] if cell.fold else []
        arguments += ["--save-model", "best" if study.soup else "none", "--output-dir", str(folder)]
        return study.place.start(arguments, folder, output)


def lock(file: IO[str]) -> bool:
    """Lock a file, for as long as a process has it open; False where the system or the disk has no locks."""
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        raise
    except OSError:
        pass
    return False


def reason_of(folder: Path) -> str:
    """Why the run of a cell failed; empty where it has not, or is being tried again."""
    try:
        return (folder / FAILED).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def why_failed(code: int | None, output: Path) -> str:
    """In one line."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}" + (", as a system does that is short of memory" if name == "SIGKILL" else "")
    lines = [line.strip() for line in output.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line] or ["it said nothing"]
    return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])


# --- all runs -----------------------------------------------------------------------------------------------------


def run_all(study: Study, methods: Sequence[str], write: Callable[[], None]) -> None:
    """Run what is not finished, of `only` a part of the grid, and `write` tables as runs end."""
    grid = cells(study, methods)
    number, parts = study.only
    own = grid[number - 1 :: parts]
    n, waiting = len(own), [cell for cell in own if not finished_run(study, cell)]
    part = f", the part {number}/{parts} of {len(grid)}" if parts > 1 else ""
    print(f"study   {n} runs{part}, of which {n - len(waiting)} are finished; {study.place.told}", flush=True)
    at_work: dict[Cell, Process] = {}
    begun, made, told = time.monotonic(), 0, False
    looked, known = begun, read_json(study.folder / "study.json")
    try:
        while waiting or at_work:
            # The data may change in the hours that this takes.
            if waiting and len(at_work) < study.place.slots and time.monotonic() - looked > LOOK_EVERY:
                looked, data = time.monotonic(), None
                with suppress(OSError, ValueError):  # which a run tells better
                    data = data_of(study)
                if data:
                    refuse_other_data(study, data, known)
            # Start runs.
            for cell in list(waiting):
                if len(at_work) == study.place.slots:
                    break
                try:
                    process = start(study, cell)
                except BlockingIOError:
                    continue
                waiting.remove(cell)
                if process:
                    at_work[cell] = process
            if waiting and not at_work and not told:
                told, first = True, waiting[0].folder
                print(f"wait    another process makes {len(waiting)} of the runs, such as {first}", flush=True)
            # Note those that have ended.
            for cell, process in list(at_work.items()):
                if process.poll() is not None:
                    del at_work[cell]
                    made += 1
                    said = settle(study, cell, process.returncode)
                    left = (time.monotonic() - begun) / made * (len(waiting) + len(at_work))
                    rest = f"; about {timedelta(seconds=round(left))} left" if left else ""
                    write()
                    write_failed(study, grid)
                    print(f"{said} ({n - len(waiting) - len(at_work)} of {n}{rest})", flush=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on, and keeps what is finished", file=sys.stderr)
        raise
    finally:
        for process in at_work.values():  # they keep checkpoints, to be resumed from
            process.terminate()
        for process in at_work.values():
            process.wait()
    write()
    write_failed(study, grid)


def settle(study: Study, cell: Cell, code: int | None) -> str:
    """What became of a run, for the screen; the reason of a failure also into its folder."""
    folder = study.folder / cell.folder
    if run := finished_run(study, cell):
        row, best = row_of(cell, run), best_of(run)
        scores = [(split, row.get(f"{split}_{best}")) for split in ("dev", "test")]
        told = ", ".join(f"{split} {best} {score:.4f}" for split, score in scores if score is not None)
        return f"finished  {cell.folder}  {told}"
    if code == BeginAnewError.exit_status and (stopped := run_folder(folder)):
        (stopped / CHECKPOINT).unlink(missing_ok=True)  # so that the next start begins it anew
    reason = why_failed(code, folder / "output.txt")
    write_whole(folder / FAILED, f"{reason}\n")
    return f"failed    {cell.folder}  {reason}"


def row_of(cell: Cell, run: Path) -> dict[str, Any]:
    """The row of a finished run in `runs.csv`, with all its scores on dev and test."""
    config = read_json(run / "config.json")
    row = cell.row | {"model": cell.model or config["options"]["model"], "lr": config["settings"]["lr"]}
    for split, file in (("dev", run / "val-metrics.json"), ("test", run / "test-metrics.json")):
        scores = read_json(file) if file.is_file() else {}
        row |= {f"{split}_{name}": score for name, score in scores.items() if isinstance(score, float | None)}
    log = read_log(run)
    return row | {"epochs": len(log) - 1, "seconds": sum(epoch["seconds"] or 0 for epoch in log), "run": str(run)}


def best_of(run: Path) -> str:
    """The score that the epochs of a run are chosen by; similarity without scores of pairs has only the others."""
    usual = TASKS[split_name(read_json(run / "config.json")["options"]["task"])[0]].best
    known = read_json(run / "val-metrics.json")
    return next((name for name in (usual, "mrr", "loss") if name in known), usual)


def failures(study: Study, grid: Sequence[Cell]) -> list[dict[str, Any]]:
    """The rows of `failed.csv`."""
    found = []
    for cell in grid:
        folder = study.folder / cell.folder
        # Another process may have made it again before the first had noted that it failed.
        if (reason := reason_of(folder)) and not finished_run(study, cell):
            found.append({**cell.row, "reason": reason, "log": str(folder / "output.txt")})
    return found


def write_failed(study: Study, grid: Sequence[Cell]) -> None:
    """`failed.csv`, as long as there are runs that failed."""
    if rows := failures(study, grid):
        write_csv(study.folder / "failed.csv", rows)
    else:
        (study.folder / "failed.csv").unlink(missing_ok=True)


def refuse_failed(folder: Path) -> None:
    """Raise ValueError where runs of the study in a folder failed."""
    if (file := folder / "failed.csv").is_file():
        with file.open(encoding="utf-8", newline="") as opened:
            first, *others = csv.DictReader(opened)
        n = f"{len(others) + 1} run{'s' * bool(others)} failed"
        raise ValueError(f"{n} ({first['reason']}): {file}; the same command tries again, and keeps what is finished")
