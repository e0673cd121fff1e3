"""What belongs to the checkout: its files, and which of them are the package's modules."""

import os
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_PACKAGED = {".ci", "benchmarks", "docs", "tests"}


def files() -> list[Path]:
    """The checkout's files, relative to its root, without what was made or set up in it (git is not asked)."""
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if belongs(here / name)]
        found += [(here / name).relative_to(ROOT) for name in names if name != ".git"]  # a file in a worktree
    return sorted(found)


def belongs(folder: Path) -> bool:
    name = folder.name
    made = name in ("build", "outputs", "__pycache__") or name.endswith(".egg-info") or (folder / "pyvenv.cfg").exists()
    return not made and (name == ".ci" or not name.startswith("."))


def package_files() -> list[Path]:
    """The files that a wheel holds: the root's two, and everything in the package's folders."""
    own = [path for path in files() if len(path.parts) > 1 and path.parts[0] not in NOT_PACKAGED]
    return [Path("__init__.py"), Path("py.typed"), *own]


def modules() -> dict[str, Path]:
    """Module name → file. Folders without `__init__.py` hide from pkgutil, hence from the files."""
    names = {path: ".".join(("tezukuri", *path.with_suffix("").parts)) for path in package_files()}
    return {name.removesuffix(".__init__"): path for path, name in names.items() if path.suffix == ".py"}


def setup_cfg() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config
