"""SQL in one form, by sqlfmt. It changes spacing and line breaks, never what a file says."""

from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.sql.project import read_project


@dataclass(frozen=True)
class Formatted:
    """Files that are, or were, in another form, and how many there are in all."""

    files: int
    changed: tuple[Path, ...]


def format_project(project: Path, *, check: bool) -> Formatted:
    """Format the models, macros and tests of a project; with `check` only look.

    Raises InputError for SQL that sqlfmt cannot read, and where it is not installed.
    """
    read_project(project)
    try:
        from sqlfmt.api import get_matching_paths, run
        from sqlfmt.mode import Mode
    except ImportError as error:
        raise InputError(
            "sqlfmt is not installed here", remedy="install the extra: pip install 'mlops-sdk[sql]'"
        ) from error
    folders = [project / name for name in ("models", "macros", "tests") if (project / name).is_dir()]
    mode = Mode(check=check, single_process=True, reset_cache=True, quiet=True, no_progressbar=True)
    report = run(get_matching_paths(folders, mode), mode)
    if report.number_errored:
        first = report.errored_results[0]
        raise InputError(
            f"{report.number_errored} of {len(report.results)} files cannot be read: {first.exception}",
            where=str(first.display_path),
            remedy="mend it, then the same command again",
        )
    return Formatted(
        len(report.results), tuple(sorted(result.source_path for result in report.changed_results))
    )
