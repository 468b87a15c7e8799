"""Files in object stores: what is written comes back, and each way to fail is told apart."""

import socket
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import botocore.session
import httpx
import pytest

from mlops_sdk.errors import AuthError, InputError, NotFoundError, UnreachableError
from mlops_sdk.registry.files import check_driver, read_uri, write_uri
from mlops_sdk.serving.server.command import template_document
from tests.support.stores import Store, environment

pytestmark = [
    pytest.mark.google,  # its driver too registers google.rpc.Status
    pytest.mark.xdist_group("stores"),  # one server of each kind is enough
]
SECRET = "a-secret-of-the-tests"


@pytest.fixture(params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def test_what_is_written_comes_back(store: Store) -> None:
    data = bytes(range(256)) * 40
    write_uri(f"{store.uri}/iris/a b/sample.parquet", data)
    assert read_uri(f"{store.uri}/iris/a b/sample.parquet") == data
    write_uri(f"{store.uri}/iris/a b/sample.parquet", b"other")
    assert read_uri(f"{store.uri}/iris/a b/sample.parquet") == b"other"


def test_a_file_that_is_missing_is_another_fault_than_a_bucket_that_is(store: Store) -> None:
    with pytest.raises(NotFoundError, match="the file is not there"):
        read_uri(f"{store.uri}/nothing.csv")
    nowhere = store.uri.replace("samples", "nowhere")
    with pytest.raises(NotFoundError, match="there is no bucket nowhere"):
        read_uri(f"{nowhere}/nothing.csv")
    with pytest.raises(NotFoundError, match="there is no bucket nowhere"):
        write_uri(f"{nowhere}/nothing.csv", b"x")


def test_a_file_that_is_too_long_is_not_fetched(store: Store) -> None:
    write_uri(f"{store.uri}/long.csv", b"x" * 1_000)
    with pytest.raises(InputError, match="longer than 999 bytes"):
        read_uri(f"{store.uri}/long.csv", most_bytes=999)
    assert len(read_uri(f"{store.uri}/long.csv", most_bytes=1_000)) == 1_000


def test_s3_that_refuses_the_credentials_is_told_apart_and_no_secret_is_told(s3: Store) -> None:
    iam = botocore.session.get_session().create_client("iam", endpoint_url=s3.address)
    iam.create_user(UserName="reader")
    allowed = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    )
    iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=allowed)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    right = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    httpx.post(f"{s3.address}/moto-api/reset-auth", content="0").raise_for_status()  # from now on it looks
    try:
        with environment(right):
            write_uri(f"{s3.uri}/kept.csv", b"x")
            assert read_uri(f"{s3.uri}/kept.csv") == b"x"
        for wrong in ({"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": SECRET}):
            with environment({**right, **wrong}):
                for attempt in (
                    lambda: read_uri(f"{s3.uri}/kept.csv"),
                    lambda: write_uri(f"{s3.uri}/x", b"x"),
                ):
                    with pytest.raises(AuthError, match="the store refused the credentials") as refused:
                        attempt()
                    assert SECRET not in str(refused.value)
                    assert "AWS_SECRET_ACCESS_KEY" in refused.value.remedy
    finally:
        httpx.post(f"{s3.address}/moto-api/reset-auth", content="inf").raise_for_status()


def test_s3_without_credentials_says_which_variables_to_set(s3: Store) -> None:
    none = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "HOME": "/nonexistent"}
    with environment(none), pytest.raises(AuthError, match="needs credentials, and none are set"):
        write_uri(f"{s3.uri}/x", b"x")


@pytest.fixture
def refusing() -> Iterator[list[int]]:
    """A store that answers each request with the code that stands in the list, until it is another."""
    code = [403]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"error": {"code": %d, "message": "no"}}' % code[0]
            self.send_response(code[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Tests print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with environment({"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_address[1]}"}):
        yield code
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("code", [401, 403])
def test_google_that_refuses_the_credentials_is_told_apart(
    gcs: Store, refusing: list[int], code: int
) -> None:
    refusing[0] = code
    for attempt in (lambda: read_uri(f"{gcs.uri}/x.csv"), lambda: write_uri(f"{gcs.uri}/x.csv", b"x")):
        with pytest.raises(AuthError, match="the store refused the credentials"):
            attempt()


def test_s3_that_is_away_is_unreachable_and_its_address_is_for_the_log_alone(s3: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        variables = {"AWS_ENDPOINT_URL": address, "AWS_MAX_ATTEMPTS": "1"}
        with environment(variables), pytest.raises(UnreachableError) as away:
            read_uri(f"{s3.uri}/x.csv")
    assert "127.0.0.1" not in away.value.what


def test_a_driver_that_is_not_installed_is_named_before_the_server_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, kind, extra in (("s3fs", "s3", "s3"), ("gcsfs", "gs", "gcs")):
        monkeypatch.setitem(sys.modules, module, None)  # what an import of a missing package does
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, kind, raising=False)
        for document in ({"sample_store": f"{kind}://bucket/x"}, {"data_roots": (f"{kind}://bucket",)}):
            with pytest.raises(InputError, match="a driver that is not installed") as missing:
                template_document(document)
            assert missing.value.remedy == f"`pip install 'mlops-sdk[{extra}]'`"
        with pytest.raises(InputError, match="a driver that is not installed"):
            read_uri(f"{kind}://bucket/x")
    with pytest.raises(InputError, match="no kind of store"):
        check_driver("zork://x/y")
