from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from airflow_model_ops.model_server.json_answer import encode
from airflow_model_ops.model_server.json_request import PredictBody, decode
from airflow_model_ops.model_server.status import Code, StatusError

ONE = {"x": "DT_FLOAT"}
TWO = {"a": "DT_INT64", "s": "DT_STRING"}


def read(body: str, types: dict[str, str]) -> PredictBody:
    return decode(body.encode(), inputs_of=lambda _: types)


def refusal(body: str, types: dict[str, str]) -> str:
    with pytest.raises(StatusError) as caught:
        read(body, types)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


class TestDecode:
    def test_row_format_of_one_input_is_a_list_of_instances(self) -> None:
        body = read('{"instances": [[1, 2.5], [3, 4]]}', ONE)
        assert body.row
        np.testing.assert_array_equal(body.inputs["x"], np.array([[1, 2.5], [3, 4]], np.float32))
        assert body.inputs["x"].dtype == np.float32

    def test_row_format_of_many_inputs_is_a_list_of_objects(self) -> None:
        body = read('{"signature_name": "two", "instances": [{"a": 1, "s": "é"}, {"a": 2, "s": {"b64": "/w=="}}]}', TWO)
        assert body.signature_name == "two"
        assert body.inputs["a"].tolist() == [1, 2]
        assert body.inputs["s"].tolist() == ["é".encode(), b"\xff"]

    def test_column_format_of_one_input_may_leave_out_its_name(self) -> None:
        plain, named = read('{"inputs": [[1]]}', ONE), read('{"inputs": {"x": [[1]]}}', ONE)
        assert not plain.row
        assert plain.inputs["x"].tolist() == named.inputs["x"].tolist() == [[1.0]]

    def test_a_scalar_and_not_a_number_are_values_too(self) -> None:
        assert read('{"inputs": 3}', ONE).inputs["x"].shape == ()
        values = read('{"inputs": [NaN, Infinity, -Infinity]}', ONE).inputs["x"]
        assert np.isnan(values[0])
        assert values[1:].tolist() == [np.inf, -np.inf]

    def test_what_follows_the_object_is_ignored(self) -> None:
        assert read('{"inputs": [1]} trailing', ONE).inputs["x"].tolist() == [1.0]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("", "JSON Parse error: The document is empty"),
            ("this is not json", "JSON Parse error: Invalid value. at offset: 0"),
            ("[1]", "JSON Value: [1] Is not object"),
            ("{}", "Missing 'inputs' or 'instances' key"),
            ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
            ('{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
            (
                '{"instances": [1], "inputs": 1}',
                (
                    'JSON Value: {\n    "instances": [1],\n    "inputs": 1\n} Not formatted correctly expecting only one of'
                    " 'inputs' or 'instances' keys to exist "
                ),
            ),
            (
                '{"signature_name": 5, "instances": [1]}',
                (
                    'JSON Value: {\n    "signature_name": 5,\n    "instances": [1]\n} not formatted correctly.'
                    " 'signature_name' key must be a string value."
                ),
            ),
            (
                '{"inputs": ["a"]}',
                'JSON Value: "a" Type: String is not of expected type: float',
            ),
            ('{"inputs": [true]}', "JSON Value: true Type: True is not of expected type: float"),
            ('{"inputs": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
            ('{"inputs": [[1, 2], [3]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
            ('{"inputs": [[1], 2]}', "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
            ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
            (
                '{"instances": [[1, 2], [3]]}',
                (
                    "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
                    "Expecting tensor size: 2 but got: 1"
                ),
            ),
            (
                '{"instances": [[[1, 2]], [[1], [2]]]}',
                (
                    "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
                    "Expecting shape [1,2] but got: [2,1]"
                ),
            ),
            ('{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
            ('{"instances": [2, {"x": 1}]}', "Expecting value/list but got object at item 1 of input list"),
            (
                '{"instances": [{"y": 1}]}',
                (
                    "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: "
                    "JSON object: does not have named input: y"
                ),
            ),
        ],
    )
    def test_a_wrong_body_is_refused_in_tf_servings_words(self, body: str, message: str) -> None:
        assert refusal(body, ONE) == message

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ('{"instances": [1]}', "instances is a plain list, but expecting list of objects as multiple"),
            ('{"inputs": [1]}', "inputs is a plain value/list, but expecting an object as multiple"),
            ('{"inputs": {"a": 1}}', "Missing named input: s in 'inputs' object."),
            ('{"instances": [{"a": 1}]}', "keys must be equal to: a,s"),
            ('{"inputs": {"a": 1.5, "s": "x"}}', "JSON Value: 1.5 Type: Number is not of expected type: int64"),
            ('{"inputs": {"a": 1, "s": {"b64": "%"}}}', "Unable to base64 decode"),
            ('{"inputs": {"a": 1, "s": {"b65": ""}}}', "not formatted correctly for base64 data"),
        ],
    )
    def test_many_inputs_must_all_be_there_and_fit(self, body: str, message: str) -> None:
        assert message in refusal(body, TWO)


class TestEncode:
    @pytest.mark.parametrize(
        ("outputs", "row", "expected"),
        [
            ({"y": np.array([[1.5], [2]], np.float32)}, True, '{"predictions": [[1.5], [2.0]]}'),
            ({"y": np.array([[1.5], [2]], np.float32)}, False, '{"outputs": [[1.5], [2.0]]}'),
            ({"y": np.array([0.1, 1 / 3, 1e20], np.float32)}, True, '{"predictions": [0.1, 0.333333343, 1e+20]}'),
            ({"y": np.array([0.1, 1 / 3])}, True, '{"predictions": [0.1, 0.33333333333333331]}'),
            ({"y": np.array([np.nan, -np.inf], np.float32)}, True, '{"predictions": [NaN, -Infinity]}'),
            (
                {"a": np.array([1, 2]), "b": np.array([True, False])},
                True,
                '{"predictions": [{"a": 1, "b": true}, {"a": 2, "b": false}]}',
            ),
            ({"a": np.array([1, 2]), "b": np.array([0.5])}, False, '{"outputs": {"a": [1, 2], "b": [0.5]}}'),
            ({"s": np.array([b'a"b', "é".encode()], object)}, True, '{"predictions": ["a\\"b", "é"]}'),
            ({"s_bytes": np.array([b"\xff"], object)}, True, '{"predictions": [{"b64": "/w=="}]}'),
            ({"y": np.zeros((2, 0), np.float32)}, True, '{"predictions": [[], []]}'),
            ({"y": np.zeros((0, 3), np.float32)}, False, '{"outputs": []}'),
            ({"y": np.zeros((2, 1, 2), np.int64)}, True, '{"predictions": [[[0, 0]], [[0, 0]]]}'),
            ({"y": np.array(7)}, False, '{"outputs": 7}'),
        ],
    )
    def test_outputs_become_rows_or_columns(self, outputs: dict[str, Any], row: bool, expected: str) -> None:
        text = encode(outputs, row=row).decode()
        assert text == expected
        json.loads(text)

    @pytest.mark.parametrize(
        ("outputs", "message"),
        [
            ({}, "Cannot convert empty tensor map to JSON"),
            ({"y": np.array(7)}, "Tensor name: y has no shape information "),
            (
                {"a": np.zeros(2), "b": np.zeros(3)},
                "Tensor name: b has inconsistent batch size: 3 expecting: 2",
            ),
            ({"c": np.zeros(2, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
        ],
    )
    def test_what_does_not_fit_into_rows_is_refused(self, outputs: dict[str, Any], message: str) -> None:
        with pytest.raises(StatusError) as caught:
            encode(outputs, row=True)
        assert caught.value.message == message
