"""What the hot path takes and refuses, whether a request comes by the short cut or through ASGI."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.serving import Served

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(params=["short cut", "asgi"])
def ask(served: Served, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Posts bytes to a path; `Connection: close` and 100-continue are not for the short cut."""
    with served.client() as client:

        def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
            given = {"Content-Type": "application/json", **(headers or {})}
            if request.param == "asgi":
                given["Connection"] = "close"
            return client.post(path, content=body, headers=given)

        yield post


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"data": [[NaN, 1, 1, 1]]}', 400, "not JSON"),
        (b'{"data": [[Infinity, 1, 1, 1]]}', 400, "not JSON"),
        (b"[" * 5_000, 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[]", 422, "expected an object"),
        (b'{"rows": []}', 422, "expected an object"),
        (b'{"data": [], "more": 1}', 422, "unknown: more"),
        (b'{"data": {}}', 422, "expected a list of rows"),
        (b'{"data": []}', 422, "expected 1 to 10000 rows"),
        (b'{"data": [1, 2]}', 422, "data[0]: expected a list"),
        (b'{"data": [[1, 2, 3]]}', 422, "data[0]: expected 4 values, got 3"),
        (b'{"data": [[1, 2, 3, 4], [1, 2, 3]]}', 422, "data[1]: expected 4 values, got 3"),
        (b'{"data": [[1, 2, "3", 4]]}', 422, "data[0][2]: expected a number, got a string"),
        (b'{"data": [[1, 2, true, 4]]}', 422, "data[0][2]: expected a number, got true or false"),
        (b'{"data": [[1, 2, null, 4]]}', 422, "data[0][2]: expected a number, got null"),
        (b'{"data": [[1, 2, [3], 4]]}', 422, "data[0][2]: expected a number, got a list"),
        (b'{"data": [[1e999, 1, 1, 1]]}', 422, "data[0][0]: not a finite number"),
        (b'{"data": [{"a": 1}]}', 422, "expected a list"),
    ],
)
def test_wrong_bodies_are_refused_with_the_field(ask: Any, body: bytes, status: int, message: str) -> None:
    answer = ask("/predict", body)
    if b"1e999" in body and answer.status_code == 400:
        return  # a parser may refuse what no double holds
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == status


def test_other_content_types_and_compressed_bodies_are_refused(ask: Any) -> None:
    good = json.dumps({"data": [ROW]}).encode()
    assert ask("/predict", good, {"Content-Type": "text/plain"}).status_code == 415
    assert ask("/predict", good, {"Content-Encoding": "gzip"}).status_code == 415


def test_a_wrong_request_fails_no_other_of_its_tick(served: Served) -> None:
    good, bad = (json.dumps({"data": rows}).encode() for rows in ([ROW], [[1, 2, 3, "x"]]))
    sockets = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(8)]
    for number, each in enumerate(sockets):
        body = bad if number == 3 else good
        each.sendall(_request(body))
    answers = [each.recv(65_536) for each in sockets]
    for each in sockets:
        each.close()
    statuses = [answer.split(b" ", 2)[1] for answer in answers]
    assert statuses == [b"422" if number == 3 else b"200" for number in range(8)]


def _request(body: bytes, path: str = "/predict", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _answers(stream: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """So many answers from one connection."""
    reader, found = stream.makefile("rb"), []
    for _ in range(count):
        status = int(reader.readline().split()[1])
        length = 0
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        found.append((status, reader.read(length)))
    return found


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    bodies = [json.dumps({"data": [ROW] * number}).encode() for number in range(1, 6)]
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.sendall(
            b"".join(_request(body) for body in bodies) + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answers = _answers(stream, 6)
    assert [len(json.loads(body)["predictions"]) for _, body in answers[:5]] == [1, 2, 3, 4, 5]
    assert json.loads(answers[5][1]) == {"alive": True}


def test_a_body_in_pieces_is_one_body(served: Served) -> None:
    body = json.dumps({"data": [ROW] * 50}).encode()
    request = _request(body)
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for first in range(0, len(request), 97):
            stream.sendall(request[first : first + 97])
        assert _answers(stream, 1)[0][0] == 200


def test_a_chunked_body_and_100_continue_are_understood(served: Served) -> None:
    body = json.dumps({"data": [ROW]}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert _answers(stream, 1)[0][0] == 200
        stream.sendall(_request(body, more="Expect: 100-continue\r\n"))
        assert stream.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert _answers(stream, 1)[0][0] == 200


def test_a_body_that_is_too_long_is_refused_and_the_connection_ends(served: Served) -> None:
    limit = served.server.settings.limits.body_bytes
    for more in ("", "Connection: close\r\n"):
        with socket.create_connection(("127.0.0.1", served.port)) as stream:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}"
            stream.sendall(f"{head}Content-Length: {limit + 1}\r\n\r\n".encode())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(b" " * (limit + 1))
            assert _answers(stream, 1)[0][0] == 413


def test_garbage_is_answered_with_400(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.sendall(b"\x00\x01\x02 nothing of HTTP\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 400")


def test_ids_and_traces_are_passed_on(ask: Any) -> None:
    body = json.dumps({"data": [ROW]}).encode()
    assert ask("/predict", body, {"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert len(ask("/predict", body, {"X-Request-Id": "no<id>"}).headers["X-Request-Id"]) == 32
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    answer = ask("/predict", body, {"traceparent": parent, "tracestate": "vendor=1"})
    assert answer.headers["X-Request-Id"] == trace
    version, same, span, flags = answer.headers["traceparent"].split("-")
    assert (version, same, flags) == ("00", trace, "01")
    assert span != "00f067aa0ba902b7"
    assert answer.headers["tracestate"] == "vendor=1"
    assert "traceparent" not in ask("/predict", body, {"traceparent": "00-0-0-0"}).headers


class TestOpenInferenceProtocol:
    PATH = "/v2/models/iris/infer"

    def tensor(self, **others: Any) -> dict[str, Any]:
        return {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW, **others}

    def test_a_tensor_is_answered_with_a_tensor(self, ask: Any) -> None:
        answer = ask(self.PATH, json.dumps({"id": "a", "inputs": [self.tensor()]}).encode())
        assert answer.json() == {
            "model_name": "iris",
            "model_version": "1",
            "id": "a",
            "outputs": [{"name": "predict", "shape": [1], "datatype": "INT64", "data": [0]}],
        }

    def test_flat_and_nested_data_are_the_same(self, ask: Any) -> None:
        rows = [ROW, [6.2, 3.4, 5.4, 2.3]]
        for data in (rows, [*rows[0], *rows[1]]):
            body = json.dumps({"inputs": [self.tensor(shape=[2, 4], data=data)]}).encode()
            assert ask(self.PATH, body).json()["outputs"][0]["data"] == [0, 2]

    def test_a_version_is_asked_for_by_its_path(self, ask: Any) -> None:
        body = json.dumps({"inputs": [self.tensor()]}).encode()
        assert ask("/v2/models/iris/versions/2/infer", body).json()["outputs"][0]["data"] == [10]
        assert ask("/v2/models/iris/versions/3/infer", body).status_code == 404
        assert ask("/v2/models/none/infer", body).status_code == 404

    @pytest.mark.parametrize(
        ("datatype", "dtype"), [("FP64", "<f8"), ("FP32", "<f4"), ("INT64", "<i8"), ("INT32", "<i4")]
    )
    def test_binary_tensors_go_both_ways(self, ask: Any, datatype: str, dtype: str) -> None:
        data = np.array([ROW, [6.2, 3.4, 5.4, 2.3]]).astype(dtype).tobytes()
        tensor = {
            "name": "x",
            "shape": [2, 4],
            "datatype": datatype,
            "parameters": {"binary_data_size": len(data)},
        }
        document = {"inputs": [tensor], "outputs": [{"name": "predict", "parameters": {"binary_data": True}}]}
        head = json.dumps(document).encode()
        headers = {
            "Inference-Header-Content-Length": str(len(head)),
            "Content-Type": "application/octet-stream",
        }
        answer = ask(self.PATH, head + data, headers)
        size = int(answer.headers["Inference-Header-Content-Length"])
        output = json.loads(answer.content[:size])["outputs"][0]
        assert output["parameters"]["binary_data_size"] == 16
        assert np.frombuffer(answer.content[size:], "<i8").tolist()[1] == 2

    @pytest.mark.parametrize(
        "inputs",
        [
            None,
            [],
            [1],
            [{"name": "x"}],
            [{"name": "x", "shape": [1, 4], "datatype": "FP64"}],
            [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}],
            [{"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROW}],
            [{"name": "x", "shape": [1, -4], "datatype": "FP64", "data": ROW}],
            [{"name": "x", "shape": ["1", 4], "datatype": "FP64", "data": ROW}],
            [{"name": "x", "shape": [1, 4], "datatype": "BYTES", "data": ROW}],
            [{"name": "x", "shape": [1, 4], "datatype": "FP65", "data": ROW}],
            [{"name": "x", "shape": [1, 4], "datatype": 5, "data": ROW}],
            [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, None]}],
            [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, "4"]}],
            [{"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": 32}}],
            [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}] * 4,
        ],
    )
    def test_wrong_tensors_are_refused_as_the_protocol_says(self, ask: Any, inputs: Any) -> None:
        answer = ask(self.PATH, json.dumps({"inputs": inputs}).encode())
        assert answer.status_code == 422
        assert isinstance(answer.json()["error"], str)

    @pytest.mark.parametrize("length", ["-1", "x", "99999", ""])
    def test_a_wrong_length_of_the_json_part_is_refused(self, ask: Any, length: str) -> None:
        assert ask(self.PATH, b"{}", {"Inference-Header-Content-Length": length}).status_code == 400

    def test_metadata_is_for_who_has_the_token(self, served: Served) -> None:
        from tests.support.serving import ADMIN

        with served.client() as client:
            assert client.get("/v2/models/iris").json()["inputs"] == []
            told = client.get("/v2/models/iris", headers=ADMIN).json()
            assert told["versions"] == ["1", "2"]
            assert told["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}]
            assert told["outputs"] == [{"name": "predict", "datatype": "INT64", "shape": [-1]}]
            assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "model_repository"]
            assert client.get("/v2/health/live").json() == {"live": True}
            assert client.get("/v2/health/ready").json() == {"ready": True}
            assert client.get("/v2/models/iris/ready").json()["ready"] is True
            assert client.get("/v2/models/iris/versions/9/ready").status_code == 404
            index = client.post("/v2/repository/index", json={}).json()
            assert [(each["name"], each["version"]) for each in index] == [("iris", "1"), ("iris", "2")]


class TestInvocations:
    @pytest.mark.parametrize(
        "body",
        [
            {"inputs": [ROW]},
            {"instances": [ROW]},
            {"dataframe_split": {"data": [ROW]}},
            {"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [ROW]}},
            {"inputs": [ROW], "params": {}},
        ],
    )
    def test_mlflows_forms_are_understood(self, ask: Any, body: dict[str, Any]) -> None:
        assert ask("/invocations", json.dumps(body).encode()).json() == {"predictions": [0]}

    def test_csv_is_understood(self, ask: Any) -> None:
        answer = ask(
            "/invocations", b"a,b,c,d\n5.1,3.5,1.4,0.2\n6.2,3.4,5.4,2.3\n", {"Content-Type": "text/csv"}
        )
        assert answer.json() == {"predictions": [0, 2]}

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"{}", "application/json"),
            (b'{"inputs": [[1,2,3,4]], "instances": []}', "application/json"),
            (b'{"inputs": [[1,2,3,4]], "params": {"a": 1}}', "application/json"),
            (b'{"dataframe_split": []}', "application/json"),
            (b'{"dataframe_records": [{"a": 1}]}', "application/json"),
            (b'{"inputs": {"a": [1]}}', "application/json"),
            (b"a,b,c,d\n1,2,3\n", "text/csv"),
            (b"a,b,c,d\n1,2,3,x\n", "text/csv"),
            (b"a,b,c,d\n1,2,3,nan\n", "text/csv"),
            (b"a,b,c,d\n", "text/csv"),
            (b"", "text/csv"),
        ],
    )
    def test_other_forms_are_refused(self, ask: Any, body: bytes, kind: str) -> None:
        assert ask("/invocations", body, {"Content-Type": kind}).status_code == 422


def test_an_answer_to_a_stranger_names_no_column_and_no_path(served: Served) -> None:
    wrong = [b"{}", b'{"data": [[1]]}', b'{"data": [{"x": 1}]}', b'{"data": [["x", 1, 1, 1]]}']
    with served.client() as client:
        for body in wrong:
            text = client.post("/predict", content=body, headers={"Content-Type": "application/json"}).text
            assert "Traceback" not in text
            assert "/" not in text


def test_a_plain_request_takes_the_short_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("a plain request went through ASGI")

    monkeypatch.setattr("mlops_sdk.serving.hot.asgi.answer", never)
    with served.client() as client:
        for path, body in (("/predict", {"data": [ROW]}), ("/invocations", {"inputs": [ROW]})):
            assert client.post(path, json=body).status_code == 200
