"""What a client does that means no good: the server answers 4xx or hangs up, and goes on."""

import asyncio
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlops_sdk.errors import InputError
from mlops_sdk.serving.hot import protocol
from mlops_sdk.serving.loading.preparing import Prepared
from tests.support.serving import (
    ADMIN,
    Served,
    column_signature,
    prepare_folder,
    serving,
    settings_of,
    write_model,
)

ROW = {"data": [[5.1, 3.5, 1.4, 0.2]]}


@pytest.fixture(autouse=True)
def it_goes_on(served: Served) -> Iterator[None]:
    yield
    with served.client() as client:
        assert client.post("/predict", json=ROW).json() == {"predictions": [0], "model_used": "current"}


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=20)


def until_closed(stream: socket.socket) -> bytes:
    found = b""
    try:
        while part := stream.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", "text/json"],
)
@pytest.mark.parametrize(
    "body", [b'{"probability": NaN}', b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200]
)
def test_no_content_type_leads_past_the_checks_of_a_body(served: Served, kind: str, body: bytes) -> None:
    with served.client() as client:
        headers = {**ADMIN, "Content-Type": kind}
        answer = client.post("/set-canary-probability", content=body, headers=headers)
        assert answer.status_code == 400
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"data":' * 5_000,
        b'{"data": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}",
        b'{"data": [[1e999]]}',
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/iris/infer"])
def test_json_that_is_nested_without_end_is_refused(served: Served, path: str, body: bytes) -> None:
    with served.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999999999",
        b"Transfer-Encoding: identity, nonsense",
        b"X: a\x00b",
        b"X\x01: a",
        b" folded: yes",
    ],
)
def test_a_head_that_two_servers_could_read_in_two_ways_is_refused(served: Served, head: bytes) -> None:
    with connected(served) as stream:
        stream.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n0\r\n\r\n")
        stream.shutdown(socket.SHUT_WR)
        answer = until_closed(stream)
    assert answer == b"" or answer.split()[1] in (b"400", b"413", b"415", b"422"), answer


@pytest.mark.parametrize("endless", [b"X-%d: y\r\n", b"y" * 1_000], ids=["headers", "one header"])
def test_headers_without_end_are_cut_off(served: Served, endless: bytes) -> None:
    with connected(served) as stream:
        stream.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX: ")
        with pytest.raises(OSError):
            for number in range(2_000_000):
                stream.sendall(endless % number if b"%" in endless else endless)
            pytest.fail("the server read them all")


def test_many_headers_in_one_piece_are_no_fault(served: Served) -> None:
    with served.client() as client:
        headers = {f"X-{number}": "y" * 100 for number in range(200)}
        assert client.post("/predict", json=ROW, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"]
)
def test_a_request_that_never_comes_is_not_waited_for(
    iris: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN_S", 0.3)
    with serving(settings_of(tmp_path), iris) as served, connected(served) as stream:
        stream.sendall(sent)
        assert until_closed(stream) == b""


def test_a_request_that_takes_its_time_within_the_limit_is_answered_and_so_is_the_next(
    iris: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN_S", 0.4)
    body = json.dumps(ROW).encode()
    whole = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):  # together longer than one request may take
            writer.write(whole[:40])
            await asyncio.sleep(0.15)
            writer.write(whole[40:])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split()[1]))
        writer.close()

    with serving(settings_of(tmp_path), iris) as served:
        asyncio.run(ask(served.port))


def test_a_request_that_begins_behind_a_long_one_is_not_taken_for_a_long_head(
    iris: Prepared, tmp_path: Path
) -> None:
    body = json.dumps(ROW).encode().ljust(200_000)

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        whole = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        for sent in (whole + whole[:40], whole[40:]):
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split()[1]))
        writer.close()

    with serving(settings_of(tmp_path), iris) as served:
        for _ in range(20):
            asyncio.run(ask(served.port))


def infer(served: Served, document: dict[str, Any], tail: bytes, model: str = "iris") -> httpx.Response:
    header = json.dumps(document).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(header)),
        "Content-Type": "application/octet-stream",
    }
    with served.client() as client:
        return client.post(f"/v2/models/{model}/infer", content=header + tail, headers=headers)


def tensor(size: Any, shape: Any = (1, 4), datatype: str = "FP64", name: str = "x") -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": name, "shape": list(shape), "datatype": datatype, "parameters": parameters}


FOUR = np.array([5.1, 3.5, 1.4, 0.2]).tobytes()


@pytest.mark.parametrize("size", [-1, 0, 31, 33, 2**40, 10**30, True, 32.0, "32", None, [32]])
def test_a_length_of_a_binary_tensor_that_lies_is_refused(served: Served, size: Any) -> None:
    assert infer(served, {"inputs": [tensor(size)]}, FOUR).status_code in (400, 422)


@pytest.mark.parametrize(
    "shape", [(2, 4), (0, 4), (1, 0), (-1, 4), (2**30, 4), (4,), (), (1, 4, 1), (1.0, 4), (True, 4)]
)
def test_a_shape_that_its_bytes_do_not_fill_is_refused(served: Served, shape: Any) -> None:
    assert infer(served, {"inputs": [tensor(32, shape)]}, FOUR).status_code == 422


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_in_binary_too(served: Served, value: float) -> None:
    answer = infer(served, {"inputs": [tensor(32)]}, np.array([5.1, value, 1.4, 0.2]).tobytes())
    assert answer.status_code == 422


def test_bytes_that_no_tensor_owns_are_refused(served: Served, iris: Prepared, tmp_path: Path) -> None:
    assert infer(served, {"inputs": [tensor(32)]}, FOUR + b"x").status_code == 400
    rows, answers = load_iris(return_X_y=True)
    names = ["a", "b", "c", "d"]
    signature = column_signature(**dict.fromkeys(names, "double"))
    model = LogisticRegression(max_iter=300).fit(rows, answers)
    prepared = prepare_folder(write_model(tmp_path / "named", model, signature), name="named")
    inputs = [tensor(8, (1,), name=name) for name in names]
    with serving(settings_of(tmp_path), prepared) as of_columns:
        assert infer(of_columns, {"inputs": inputs}, FOUR, "named").json()["outputs"][0]["data"] == [0]
        assert infer(of_columns, {"inputs": inputs}, FOUR + b"x", "named").status_code == 400
        assert infer(of_columns, {"inputs": inputs * 2}, FOUR * 2, "named").status_code == 422


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x02", struct.pack("<I", 2) + b"\xff\xfe", b"", struct.pack("<I", 9) + b"ab"],
)
def test_texts_whose_lengths_lie_are_refused(served: Served, data: bytes) -> None:
    answer = infer(served, {"inputs": [tensor(len(data), (1, 4), "BYTES")]}, data)
    assert answer.status_code in (400, 422)
    from mlops_sdk.serving.hot.tensors import text_values

    assert text_values(memoryview(data)) in (None, [])


def test_a_model_without_a_signature_is_refused_with_a_remedy_before_it_serves(tmp_path: Path) -> None:
    rows, answers = load_iris(return_X_y=True)
    folder = write_model(tmp_path / "bare", LogisticRegression(max_iter=300).fit(rows, answers), None)
    try:
        prepared = prepare_folder(folder)
    except InputError as refused:
        assert refused.remedy
    else:  # what scikit-learn itself knows of its inputs
        with serving(settings_of(tmp_path), prepared) as served, served.client() as client:
            assert client.post("/predict", json=ROW).json()["predictions"] == [0]
            assert client.post("/predict", json={"data": [[1, 2, 3]]}).status_code == 422
            assert client.post("/predict", json={"data": [["a", 2, 3, 4]]}).status_code == 422
