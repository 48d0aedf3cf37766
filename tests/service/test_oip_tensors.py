"""Requests and answers of the Open Inference Protocol to and from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.models import Signature
from edge_agent.service import oip_tensors
from edge_agent.service.oip_answers import write_answer
from edge_agent.service.oip_tensors import RequestError, WantedOutput, read_request

SIGNATURE = Signature(
    {"x": ("float32", (4, 2)), "unit": ("int64", ())},
    {"score": ("float32", ()), "parts": ("float32", (2,))},
)
X = np.arange(24, dtype=np.float32).reshape(3, 4, 2)


def request(x: Any = None, unit: Any = (0, 1, 2), **more: Any) -> dict[str, Any]:
    data = X.tolist() if x is None else x
    one = {"name": "x", "shape": [3, 4, 2], "datatype": "FP32", "data": data}
    other = {"name": "unit", "shape": [3], "datatype": "INT64", "data": list(unit)}
    return {"inputs": [one, other], **more}


def read(head: dict[str, Any]) -> oip_tensors.InferRequest:
    return read_request(orjson.dumps(head), None, SIGNATURE)


@pytest.mark.parametrize("data", [X.tolist(), X.ravel().tolist(), X.reshape(3, 8).tolist()])
def test_data_may_be_nested_or_flat(data: Any) -> None:
    """The protocol allows both; the shape decides."""
    found = read(request(data))
    np.testing.assert_array_equal(found.feeds["x"], X)
    assert found.feeds["x"].dtype == np.float32
    assert found.rows == 3


def test_null_is_not_a_number() -> None:
    """JSON has no NaN; our own answers say null too."""
    data: list[Any] = X.ravel().tolist()
    data[5] = None
    assert np.isnan(read(request(data)).feeds["x"].ravel()[5])


def binary(head: dict[str, Any], *arrays: np.ndarray) -> tuple[bytes, int]:
    text = orjson.dumps(head)
    return b"".join([text, *(array.tobytes() for array in arrays)]), len(text)


def binary_head() -> dict[str, Any]:
    head = request()
    for row, size in zip(head["inputs"], (96, 24), strict=True):
        del row["data"]
        row["parameters"] = {"binary_data_size": size}
    return head


def test_binary_tensors_are_read_in_the_order_of_the_inputs() -> None:
    """As Triton's extension defines it."""
    unit = np.array([2, 1, 0])
    body, size = binary(binary_head(), X, unit)
    found = read_request(body, size, SIGNATURE)
    np.testing.assert_array_equal(found.feeds["x"], X)
    np.testing.assert_array_equal(found.feeds["unit"], unit)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head: head.pop("inputs"), "inputs must be a list"),
        (lambda head: head["inputs"].pop(), "'unit' is missing, expected: x FP32"),
        (lambda head: head["inputs"].append(head["inputs"][0]), "given twice"),
        (lambda head: head["inputs"][0].update(name="y"), "not one of: x, unit"),
        (lambda head: head["inputs"][0].update(name=["y"]), "not one of: x, unit"),
        (lambda head: head["inputs"][0].update(datatype="FP64"), "expected FP32 [-1, 4, 2]"),
        (lambda head: head["inputs"][0].update(shape=[3, 4]), "expected FP32 [-1, 4, 2]"),
        (lambda head: head["inputs"][0].update(shape=[0, 4, 2]), "one or more rows"),
        (lambda head: head["inputs"][0].update(shape=[True, 4, 2]), "expected FP32"),
        (lambda head: head["inputs"][0].update(shape=[10**12, 4, 2]), "expected 8000000000000"),
        (lambda head: head["inputs"][0].update(data=[1.0]), "1 numbers, expected 24"),
        (lambda head: head["inputs"][0].update(data=["1"] * 24), "must be numbers"),
        (lambda head: head["inputs"][0].update(data=[True] * 24), "must be numbers"),
        (lambda head: head["inputs"][0].update(data=[[1, 2], [3]]), "rectangle"),
        (lambda head: head["inputs"][0].update(data={}), "a list of numbers"),
        (lambda head: head["inputs"][1].update(data=[0.5, 1, 2]), "whole numbers"),
        (lambda head: head["inputs"][1].update(data=[2**63, 1, 2]), "whole numbers"),
        (lambda head: head["inputs"][1].update(shape=[2], data=[1, 2]), "[2, 3] rows"),
        (lambda head: head.update(outputs=[{"name": "nope"}]), "not one of: score, parts"),
        (lambda head: head.update(outputs=[{"name": "score"}] * 2), "twice"),
        (lambda head: head.update(id=7), "id must be"),
        (lambda head: head.update(parameters=[]), "parameters must be an object"),
    ],
)
def test_a_refusal_says_what_was_expected(change: Any, says: str) -> None:
    """For the author of the client, who sees nothing else."""
    head = request()
    change(head)
    with pytest.raises(RequestError) as refused:
        read(head)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (lambda body, size: (body[:-1], size), "expected 24"),
        (lambda body, size: (body + b"1", size), "expected 120 by binary_data_size"),
        (lambda body, size: (body, size + len(body)), "longer than the body"),
        (lambda body, size: (body, size - 1), "not JSON"),
    ],
)
def test_binary_tensors_of_another_length_are_refused(cut: Any, says: str) -> None:
    """Neither half a tensor nor bytes that belong to none."""
    body, size = cut(*binary(binary_head(), X, np.array([2, 1, 0])))
    with pytest.raises(RequestError) as refused:
        read_request(body, size, SIGNATURE)
    assert says in str(refused.value)


# -- long bodies, which are read in pieces --------------------------------------------------------

LONG = Signature({"x": ("float32", (64, 8))}, {"score": ("float32", ())})


def long_body(x: Any, **more: Any) -> bytes:
    rows = np.shape(x)[0] if isinstance(x, np.ndarray) else 64
    data = x.tolist() if isinstance(x, np.ndarray) else x
    row = {"name": "x", "datatype": "FP32", "data": data, "shape": [rows, 64, 8]}
    return orjson.dumps({"inputs": [row], **more})


def test_a_long_body_gives_the_same_numbers() -> None:
    """Nested and with everything around it; the numbers are cut at commas only."""
    x = np.random.default_rng(1).normal(size=(64, 64, 8)).astype(np.float32)
    body = long_body(x, parameters={"data": [1, 2], "note": '"data":[3]'}, id="abc")
    found = read_request(body, None, LONG)
    assert len(body) > 2 * oip_tensors._PIECE
    np.testing.assert_array_equal(found.feeds["x"], x)
    assert found.id == "abc"


@pytest.mark.parametrize(
    "bad",
    [
        lambda body: body.replace(b",", b",,", 40),
        lambda body: body.replace(b"]]]", b"]]"),
        lambda body: body.replace(b"0,", b"nan,", 1),
        lambda body: body[:-40],
        lambda body: body.replace(b"0,", b'"0",', 1),
        lambda body: body.replace(b"0,", b"0 0,", 1),
        lambda body: body.replace(b"],[", b"][", 1),
    ],
)
def test_a_long_body_that_is_no_json_is_refused(bad: Any) -> None:
    """The pieces do not accept what the whole would not."""
    body = long_body(np.zeros((64, 64, 8), np.float32))
    assert read_request(body, None, LONG).rows == 64
    with pytest.raises(RequestError):
        read_request(bad(body), None, LONG)


def test_null_and_numbers_beyond_float32_are_read_in_a_long_body() -> None:
    """Not a number, and infinite, as in a short one."""
    body = long_body(np.zeros((64, 64, 8), np.float32))
    body = body.replace(b"0.0,", b"null,", 1).replace(b"0.0,", b"1e300,", 1)
    found = read_request(body, None, LONG).feeds["x"].ravel()
    assert np.isnan(found[0])
    assert np.isinf(found[1])
    assert not found[2:].any()


def test_a_long_text_is_refused() -> None:
    """Only numbers may be long: a text of megabytes would be read in one piece."""
    with pytest.raises(RequestError, match="may contain numbers only"):
        read_request(long_body(["a" * 2_000_000]), None, LONG)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_body_raises_anything_else(noise: bytes, at: int) -> None:
    """Whatever is sent is read or refused."""
    whole = orjson.dumps(request())
    body = whole[:at] + noise + whole[at + len(noise) :]
    for cut in (None, at):
        try:
            read_request(body, cut, SIGNATURE)
        except RequestError:
            continue


# -- answers --------------------------------------------------------------------------------------

FOUND = {
    "score": np.array([1.5, np.nan], np.float32),
    "parts": np.array([[1, 2], [4, 3]], np.float32),
}


def test_an_answer_in_json() -> None:
    """NaN is null."""
    body, size = write_answer({"id": "7"}, FOUND, [WantedOutput("score")], ())
    assert size is None
    [row] = orjson.loads(body)["outputs"]
    assert row == {"name": "score", "datatype": "FP32", "shape": [2], "data": [1.5, None]}


def test_an_answer_in_bytes() -> None:
    """Only the outputs that were asked for in binary."""
    wanted = [WantedOutput("parts", is_binary=True), WantedOutput("score")]
    body, size = write_answer({}, FOUND, wanted, ())
    assert size is not None
    parts, score = orjson.loads(body[:size])["outputs"]
    assert parts["parameters"] == {"binary_data_size": 16}
    assert score["data"] == [1.5, None]
    np.testing.assert_array_equal(np.frombuffer(body[size:], np.float32), [1, 2, 4, 3])


def test_classification_names_the_largest() -> None:
    """As Triton's extension defines it: value:index:label."""
    body, _ = write_answer({}, FOUND, [WantedOutput("parts", classes=1)], ("good", "worn"))
    [row] = orjson.loads(body)["outputs"]
    assert row["datatype"] == "BYTES"
    assert row["data"] == ["2.000000:1:worn", "4.000000:0:good"]
