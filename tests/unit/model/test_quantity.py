from __future__ import annotations

from fractions import Fraction

import pytest

from provider.model.quantity import QuantityError, bytes_text, cpu_text, divided, milli, whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1000), ("100m", 100), ("0.1", 100), ("1n", 1), ("1.5", 1500), ("-0.0001", -1), ("2k", 2_000_000), (2, 2000)],
)
def test_milli_is_exact_and_rounds_away_from_zero(text: str | int, expected: int) -> None:
    assert milli(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1e3", 1000),
        ("1E", 10**18),
        ("1E1", 10),
        ("100m", 1),
        (".5k", 500),
        ("9Ei", 2**63 - 1),
    ],
)
def test_whole_reads_suffix_and_exponent(text: str, expected: int) -> None:
    assert whole(text) == expected


@pytest.mark.parametrize("text", ["", "Ki", "1K", "1 Gi", "1mi", "0x1", "1e", "1e9999999", "NaN", "1\n"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(QuantityError, match="quantity"):
        whole(text)


def test_division_rounds_up_and_zero_divisor_is_one() -> None:
    assert divided(Fraction(1500, 1000), "0") == 2
    assert divided(Fraction(1500, 1000), "1m") == 1500


@pytest.mark.parametrize(("cores", "text"), [(0, "0"), (100, "100m"), (1500, "1500m"), (2000, "2"), (9_000_000, "9k")])
def test_cpu_is_written_as_the_api_server_does(cores: int, text: str) -> None:
    assert cpu_text(cores) == text


@pytest.mark.parametrize("text", ["0", "1", "1000", "32Mi", "1536Mi", "2G", "100M", "3k", "125Mi", "1Ki", "5Gi", "7Ei"])
def test_bytes_are_written_with_the_largest_suffix(text: str) -> None:
    wanted = {"1000": "1k"}.get(text, text)
    assert bytes_text(whole(text)) == wanted
