"""The files of applied programs, read while other processes change them."""

from pathlib import Path

from mlops_sdk.platform.program import Program
from mlops_sdk.platform.supervisor_files import SupervisorFiles


def test_a_program_that_is_removed_while_all_are_read_is_none(tmp_path: Path) -> None:
    files = SupervisorFiles(tmp_path)
    kept = Program(name="kept", command=("sleep", "1"), directory=Path("/"))
    files.write_config()
    files.save("kept", files.document(kept))
    # What the folder still listed when the file itself was gone.
    (tmp_path / "supervisor" / "programs" / "gone.json").symlink_to(tmp_path / "nowhere")
    assert list(files.applied()) == ["kept"]
