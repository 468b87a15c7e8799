"""A clone of this checkout to try whole platforms in: work tree, `.venv` and engine in a folder of its own.

Tests and benches use it. It must not start anything: `mlops up` in the clone does.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What an outer session may have set must not reach the clone's commands.
_KEPT_OUT = (
    "MLOPS_", "PULUMI_", "PREFECT_", "MLFLOW_", "PYTEST_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV",
)  # fmt: skip


def clean_environ(**extra: str) -> dict[str, str]:
    """Return this process's environment for a command of a clone, and `extra`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_OUT)} | extra


def git(folder: Path, *arguments: str) -> str:
    """Run git in a clone, as somebody; return its output."""
    who = ["-c", "user.name=A Tester", "-c", "user.email=tester@localhost"]
    return _run(["git", *who, *arguments], folder).strip()


def clone_checkout(root: Path) -> None:
    """Clone this checkout to `root`, uncommitted changes included, and make its `.venv` and engine."""
    _run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(root)], ROOT)
    listed = ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"]
    # Locks that a demo made here name models of this checkout's own environment.
    for name in (name for name in _run(listed, ROOT).split("\0") if name and not name.endswith(".lock.yaml")):
        source, target = ROOT / name, root / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)
    git(root, "checkout", "--quiet", "-B", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "The work tree that is tried")
    _lend_environment(root)
    subprocess.run(
        ["make", "setup"], cwd=root, env=clean_environ(), check=True, capture_output=True, timeout=900
    )


def _lend_environment(root: Path) -> None:
    """Give the clone this checkout's dependency environment by hard links, if `make setup` made it.

    Making it anew and compiling its modules again takes a minute of processor; how it is made has tests of its
    own. What names the folder is written anew; all else is the same in each of them.
    """
    made = (ROOT / ".venv").resolve()
    mark = made / ".mlops-complete.json"
    if not mark.exists():
        return
    lent = root / ".venvs" / made.name
    # Other tests compile modules meanwhile: their unfinished files have one more suffix.
    unfinished = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(made, lent, symlinks=True, copy_function=os.link, ignore=unfinished)
    named = [path for path in (lent / "bin").iterdir() if path.is_file() and not path.is_symlink()]
    named += [lent / mark.name, *lent.glob("lib/*/site-packages/mlops-project.pth")]
    for path in named:
        content = path.read_bytes()
        if str(ROOT).encode() in content and b"\0" not in content:
            mode = path.stat().st_mode
            path.unlink()  # the other name of this file stays as it is
            path.write_bytes(content.replace(str(ROOT).encode(), str(root).encode()))
            path.chmod(mode)


def _run(command: Sequence[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
