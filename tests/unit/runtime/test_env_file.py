"""`.env` files."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.platform.launch import read_env_file
from mlops_sdk.runtime import env_file

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=40)
AWKWARD = {
    "QUOTES": 'it\'s "quoted" \\ $HOME `ls` #no comment',
    "PERCENT": "100%s ;x",
    "SPACES": "  a  ",
    "EMPTY": "",
    "JSON": '{"a": [1, "é"]}',
    "EQUALS": "a=b=c",
    "SEPARATORS": "a\x0b\x0c\x1c\x85\u2028b",
}


@settings(max_examples=50)
@given(st.dictionaries(NAMES, VALUES))
def test_any_values_are_read_as_they_were_written(values: dict[str, str]) -> None:
    assert env_file.parse(env_file.format(values)) == values


def test_a_shell_and_the_launcher_read_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    env_file.write(path, AWKWARD)
    shell = subprocess.run(
        ["sh", "-c", 'set -a; . "$1"; env -0', "sh", str(path)],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line)
    assert {name: seen[name] for name in AWKWARD} == AWKWARD
    assert read_env_file(path) == AWKWARD == env_file.read(path)


def test_the_file_is_for_its_owner_alone_and_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "env" / "x.env"
    env_file.write(path, {"A": "1"})
    path.chmod(0o644)
    env_file.write(path, {"A": "2"})
    assert path.read_text(encoding="utf-8") == "A=2\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_comments_and_empty_lines_are_skipped() -> None:
    assert env_file.parse("# a\n\n A=1 \nB=\n") == {"A": "1", "B": ""}


@pytest.mark.parametrize("line", ["s3cret", "1A=s3cret", "A='s3cret", "A=s3cret s3cret", "=s3cret"])
def test_a_bad_line_is_named_by_its_number_and_not_shown(line: str) -> None:
    with pytest.raises(InputError, match=r"x\.env:2") as caught:
        env_file.parse(f"B=1\n{line}\n", where="x.env")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("values", [{"A": "s3cret\nx"}, {"A": "s3cret\0"}, {"A B": "s3cret"}, {"": "s3cret"}])
def test_what_no_line_can_hold_is_refused_and_not_shown(values: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        env_file.format(values)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no such \.env file"):
        env_file.read(tmp_path / "x.env")
