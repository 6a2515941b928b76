"""JSON in and out: what 64 bits do not hold comes through as it was written."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from sparkcli.json_values import decode_error, from_bytes, number_text, to_bytes

BIG = 123456789012345678901234567890


@pytest.mark.parametrize("number", [
    "123456789012345678901234567890", "-9223372036854775809", "-9223372036854775808", "18446744073709551615",
    "18446744073709551616", "100000000000000000000000", "9" * 5000, "0.1000000000000000055",
    "0.00012345678901234567891", "123456789012345678.25", "1234567890123456789.125", "0.1",
    "0.30000000000000004", "1e+22", "1E+400", "-0.0", "0"], ids=lambda number: number[:30])
@pytest.mark.parametrize("text", ['{"carried":%s}', '{"carried":[{"deep":[1,%s]}]}', '[%s,"1"]', "%s"])
def test_numbers_come_through_as_they_were_written(number: str, text: str) -> None:
    content = (text % number).encode()
    written = to_bytes(from_bytes(content))
    assert written.replace(b"1e22", b"1e+22") == content  # orjson's own spelling of a float


@pytest.mark.parametrize(("text", "value"), [
    (f'{{"a":{BIG}}}', {"a": BIG}),
    ('{"a":0.1000000000000000055}', {"a": Decimal("0.1000000000000000055")}),
    ('{"a":0.10}', {"a": 0.1}),
    ('{"a":1e400}', {"a": Decimal("1e400")}),
    ('{"logprobs":[-0.10000000000000000555],"a":0.5}', {"logprobs": [-0.10000000000000000555], "a": 0.5}),
    ('{"logprobs": [-0.5], "a": {"logprobs": [-0.10000000000000000555]}}',
     {"logprobs": [-0.5], "a": {"logprobs": [Decimal("-0.10000000000000000555")]}}),
    (f'{{"reward":0.50000000000000000001,"terms":{{"outcome":0.50000000000000000001}},"a":{BIG}}}',
     {"reward": 0.5, "terms": {"outcome": 0.5}, "a": BIG}),
])
def test_types_of_numbers(text: str, value: Any) -> None:
    found = from_bytes(text.encode(), floats=frozenset({"logprobs", "reward", "terms"}))
    assert found == value
    assert [type(item) for item in found.values()] == [type(item) for item in value.values()]


def test_digits_of_floats_are_kept_where_others_wrote_them() -> None:
    assert from_bytes(b'{"pi":3.1415926535897932}') == {"pi": 3.141592653589793}
    assert from_bytes(b'{"pi":3.1415926535897932}', foreign=True) == {"pi": Decimal("3.1415926535897932")}
    assert from_bytes(b'{"tiny":1e-400}', foreign=True) == {"tiny": Decimal("1e-400")}


def test_nan_is_null_in_foreign_rows_and_an_error_elsewhere() -> None:
    assert from_bytes(b'{"answer":NaN,"n":[NaN]}', foreign=True) == {"answer": None, "n": [None]}
    for text, what in ((b'{"a":NaN}', "NaN"), (b'{"a":Infinity}', "Infinity"), (b'[-Infinity]', "Infinity")):
        with pytest.raises(orjson.JSONDecodeError) as raised:
            from_bytes(text, foreign=what != "NaN")
        assert f"not JSON: {what} is no JSON value, write null, at column " in decode_error(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_is_written_as_null(value: float) -> None:
    assert to_bytes([value]) == to_bytes([value, BIG])[:5] + b"]" == b"[null]"


def test_what_json_cannot_hold_is_an_error() -> None:
    for value in ({1: BIG}, [object()], [b"bytes"], [Decimal("NaN")]):
        with pytest.raises(TypeError):
            to_bytes(value)


@pytest.mark.parametrize(("number", "text"), [
    (7, "7"), (-0.0, "0"), (27.0, "27"), (0.1, "0.1"), (1e22, "10000000000000000000000"), (1.5e-7, "0.00000015"),
    (Decimal("27.00"), "27"), (Decimal("-3.50"), "-3.5"), (Decimal("1e400"), "1E+400"), (10**50, "1" + "0" * 50)])
def test_numbers_as_text(number: float | Decimal, text: str) -> None:
    assert number_text(number) == text

