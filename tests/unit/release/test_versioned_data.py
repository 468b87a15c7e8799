"""What a .dvc file says of its data."""

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.release.versioned_data import LockedData, parse_dvc_file

FILE = "outs:\n- md5: 3b0332e02daabf31651a5a0d81ba830a\n  size: 21\n  hash: md5\n  path: x.csv\n"
FOLDER = (
    "outs:\n- md5: 562ee692a592790b08e880eff9046f72.dir\n  size: 4\n  nfiles: 2\n  hash: md5\n  path: d\n"
)


def test_a_file_and_a_folder_are_read() -> None:
    file, folder = parse_dvc_file(FILE, "x.csv.dvc"), parse_dvc_file(FOLDER, "d.dvc")
    assert file == LockedData(md5="3b0332e02daabf31651a5a0d81ba830a", size=21)
    assert (folder.files, folder.is_folder, folder.words) == (2, True, "2 files, 4 bytes")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs: []\n",
        "- a\n",
        "outs: [\n",
        FILE + FILE.removeprefix("outs:\n"),
        FILE.replace("  size: 21\n", ""),
        FILE.replace("21", "-1"),
        FILE.replace("3b03", "../../"),
    ],
)
def test_what_is_no_version_of_one_path_is_refused_with_what_makes_it(text: str) -> None:
    with pytest.raises(InputError, match=r"x.csv.dvc: not a DVC file(.|\n)*mlops data add"):
        parse_dvc_file(text, "x.csv.dvc")


def test_a_hash_that_is_not_of_the_bytes_is_refused() -> None:
    with pytest.raises(InputError, match=r"before version 3(.|\n)*dvc cache migrate"):
        parse_dvc_file(FILE.replace("  hash: md5\n", ""), "x.csv.dvc")
