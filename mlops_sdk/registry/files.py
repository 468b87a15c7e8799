"""One file, by its URI: a path, `file://`, `s3://` (also MinIO), `gs://` and whatever else fsspec has a driver for.

Who may read what is for the caller to say. Credentials and addresses of stores are what their drivers take from the
environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, ...); none is in a URI.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, UnreachableError

LOCAL = ("", "file", "local")
_S3, _GCS = ("s3", "s3a"), ("gs", "gcs")
_REFUSED = (401, 403)


def check_driver(uri: str) -> None:
    """Raises InputError if nothing here can read `uri`: its driver is not installed, or there is none."""
    import fsspec

    kind = urlsplit(uri).scheme
    extra = "s3" if kind in _S3 else "gcs" if kind in _GCS else ""
    try:
        fsspec.get_filesystem_class(kind or "file")
    except ImportError as error:
        remedy = f"`pip install 'mlops-sdk[{extra}]'`" if extra else str(error)
        raise InputError(
            f"{kind}:// needs a driver that is not installed", where=uri, remedy=remedy
        ) from error
    except ValueError as error:
        raise InputError(f"{kind}:// is no kind of store that fsspec knows", where=uri) from error


def read_uri(uri: str, *, most_bytes: int | None = None) -> bytes:
    """The bytes of one file.

    Raises NotFoundError where the file or its bucket is not there, AuthError where the store refuses, UnreachableError
    where it does not answer, InputError for a store without a driver and for a file of more than `most_bytes`.
    """
    with _told(uri) as (files, path):
        if most_bytes is not None and (files.size(path) or 0) > most_bytes:
            raise InputError(f"the file is longer than {most_bytes:,} bytes", where=uri)
        data: bytes = files.cat_file(path)
        return data


def write_uri(uri: str, data: bytes) -> None:
    """Write one file, whose local folder is made. Raises as `read_uri`."""
    with _told(uri) as (files, path):
        if urlsplit(uri).scheme in LOCAL:
            files.makedirs(files._parent(path), exist_ok=True)
        files.pipe_file(path, data)


@contextmanager
def _told(uri: str) -> Iterator[tuple[Any, str]]:
    """The file system of `uri` and the path in it; what the store says as one of our errors."""
    import fsspec

    check_driver(uri)
    try:
        yield fsspec.core.url_to_fs(uri)
    except FileNotFoundError as error:
        raise _missing(uri) from error
    except _faults(uri) as error:
        raise _error(uri, error) from error


def _error(uri: str, error: Exception) -> MlopsError:
    """What a store's failure means. Its own words are for who runs the server: they may hold addresses."""
    where = f"{uri} ({type(error).__name__}: {error})"
    local = urlsplit(uri).scheme in LOCAL
    code = getattr(error, "code", None)
    refused = isinstance(error, PermissionError) or str(error).startswith("Forbidden") or code in _REFUSED
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return AuthError(
            "the store needs credentials, and none are set", where=where, remedy=_credentials(uri)
        )
    if refused and local:
        return AuthError("this account may not read or write the file", where=where)
    if refused or type(error).__name__ == "RefreshError":
        return AuthError("the store refused the credentials", where=where, remedy=_credentials(uri))
    if isinstance(error, IsADirectoryError):
        return InputError("the URI names a folder", where=uri)
    return UnreachableError(f"the store failed ({type(error).__name__})", where=where)


def _missing(uri: str) -> NotFoundError:
    """A bucket that is missing is another fault than a file that is."""
    import fsspec

    parts = urlsplit(uri)
    if parts.scheme in (*_S3, *_GCS):
        files, _ = fsspec.core.url_to_fs(uri)
        files.invalidate_cache()
        try:
            there = files.exists(parts.netloc)
        except _faults(uri):
            there = True  # who may not look at the bucket is told of the file
        if not there:
            remedy = "make the bucket, or correct its name"
            return NotFoundError(f"there is no bucket {parts.netloc}", where=uri, remedy=remedy)
    return NotFoundError("the file is not there", where=uri)


def _faults(uri: str) -> tuple[type[Exception], ...]:
    """What a driver raises when its store does not do as told, also what is no OSError."""
    kind = urlsplit(uri).scheme
    if kind in _S3:
        from botocore.exceptions import BotoCoreError, ClientError

        return (OSError, ValueError, BotoCoreError, ClientError)
    if kind in _GCS:
        from aiohttp import ClientError as ConnectionFault
        from gcsfs.retry import HttpError
        from google.auth.exceptions import GoogleAuthError

        return (OSError, ValueError, HttpError, GoogleAuthError, ConnectionFault)
    return (OSError, ValueError)


def _credentials(uri: str) -> str:
    if urlsplit(uri).scheme in _S3:
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile) where the server runs"
    if urlsplit(uri).scheme in _GCS:
        return "set GOOGLE_APPLICATION_CREDENTIALS, or use an account of the machine, where the server runs"
    return "set the driver's credentials where the server runs"
