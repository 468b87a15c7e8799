"""The launcher reads .env files and says what is wrong with them, without telling a value."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.platform.launch import read_env_file
from mlops_sdk.runtime import env_file


def test_an_env_file_is_read_with_comments_and_a_shells_quotes(tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text(
        '# comment\n\nA=1\nB=\'two words\'\nC="say \\"y\\" # %"\nD=\'as "it" stands\\n\'\nE=\nF=a=b\n'
    )
    assert read_env_file(file) == {
        "A": "1",
        "B": "two words",
        "C": 'say "y" # %',
        "D": 'as "it" stands\\n',
        "E": "",
        "F": "a=b",
    }


@given(
    st.dictionaries(
        st.from_regex("[A-Z_]{1,8}", fullmatch=True),
        st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=("Cs",))),
    )
)
def test_what_the_runtime_writes_reads_back(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.env"
        file.write_text(env_file.format(values), encoding="utf-8")
        assert read_env_file(file) == values


@pytest.mark.parametrize("line", ["no separator here", "=value", 'KEY="unfinished\\"'])
def test_a_bad_line_is_named_without_its_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    file = tmp_path / "a.env"
    file.write_text(f"GOOD=1\n{line}\n")
    with pytest.raises(SystemExit) as ended:
        read_env_file(file)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"{file}:2" in said
    assert "unfinished" not in said


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_env_file(tmp_path / "absent.env")
    assert "absent.env" in capsys.readouterr().err
