"""The wheel and the sdist: built, installed where nothing of the clone is, and used there."""

from __future__ import annotations

import ensurepip
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("bot", "adapters", "mcp_server")
# What is built from: neither tests nor documents are needed.
SOURCES = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, target: Path) -> Path:
    """Return the package that the project's own build backend makes; pip calls the same function."""
    target.mkdir(exist_ok=True)
    said = execute([sys.executable, "-c", BUILD, f"build_{kind}", str(target)], folder=source)
    return target / said.splitlines()[-1]


def execute(command: Sequence[str], *, folder: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_"))}
    ran = subprocess.run(command, cwd=folder, env={**clean, **environment}, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("packages")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, source / name)
    sdist = build("sdist", source, folder / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, build("wheel", unpacked, folder / "dist")


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(packages: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(packages[1]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licensed = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    here = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert packed == {path.as_posix() for path in here if "__pycache__" not in path.parts}
    assert licensed


def test_the_wheel_installs_and_answers_outside_of_the_clone(packages: tuple[Path, Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    execute([sys.executable, "-m", "venv", "--without-pip", str(bare)], folder=tmp_path)
    python, toolbridge = bare / "bin" / "python", bare / "bin" / "toolbridge"
    # A wheel of pip, which runs without being installed; Debian keeps it in a folder of its own.
    folders = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
    pip = next(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))
    install = ["pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", str(packages[1])]
    execute([str(python), "-m", *install], folder=tmp_path, PYTHONPATH=str(pip))
    (site,) = (bare / "lib").glob("python*/site-packages")
    libraries = [path for path in sys.path if path.endswith("site-packages")]  # as installed: what is on no index here
    (site / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    home = {"TOOLBRIDGE_HOME": str(tmp_path / "home")}
    where = execute([str(python), "-c", "import bot; print(bot.__file__)"], folder=tmp_path)
    assert where.startswith(str(site))
    assert execute([str(toolbridge), "--version"], folder=tmp_path, **home) == "toolbridge 0.1.0\n"
    question = "Calculate 15 * 8 and save the result to a file called calculation.txt"
    answer = execute([str(toolbridge), "chat", "--model", "rehearsal", "-m", question], folder=tmp_path, **home)
    assert "120" in answer
    assert [file.name for file in tmp_path.glob("home/workspaces/*/*")] == ["calculation.txt"]
