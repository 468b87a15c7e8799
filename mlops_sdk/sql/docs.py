"""The documentation of a dbt project as one HTML page, and a server for it on this machine.

Made from the files alone: no database is asked, so it names only columns that are written down. It runs no model.
"""

import http.server
import shutil
from functools import partial
from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.sql.project import read_project
from mlops_sdk.sql.run import NOWHERE, dbt, dbt_versions, ended, workspace
from mlops_sdk.sql.writing import writing

LOOPBACK = "127.0.0.1"
_GENERATE = ("docs", "generate", "--static", "--empty-catalog", "--no-compile")


def write_docs(project: Path, folder: Path) -> Path:
    """Write `index.html` and `manifest.json` into `folder`; the page's path. Raises InputError."""
    read_project(project)
    dbt_versions()
    if folder.exists() and not folder.is_dir():  # said before dbt works for seconds
        raise InputError("it is a file", where=str(folder), remedy="name another: --out FOLDER")
    with workspace(project, build=False) as copy:
        for command in (("parse",), _GENERATE):  # the second wants what the first writes
            lines, code = dbt(copy, NOWHERE, command, {}, None)
            if code != 0:
                raise ended(project, command, lines)
        with writing(folder, "--out FOLDER"):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / "target" / "static_index.html", folder / "index.html")
            shutil.copyfile(copy / "target" / "manifest.json", folder / "manifest.json")
    return folder / "index.html"


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of the folder's files, on 127.0.0.1 alone; port 0 is any free one. Raises InputError if it is taken."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be listened on: {error.strerror}", remedy="choose another: --port N"
        ) from error
