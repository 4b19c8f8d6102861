"""The alternatives of a setting, as a command line names them."""

import pytest

from benchmarks.sweep.values import MOST, alternatives


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.9", ["0.9"]),
        ("0.9, 0.95", ["0.9", "0.95"]),
        ("42..44", ["42", "43", "44"]),
        ("-1..1,7", ["-1", "0", "1", "7"]),
        ("[q,k],[q,k,v,o]", ["q,k", "q,k,v,o"]),
        ("[1e-5,Aircraft=5e-5],1e-4", ["1e-5,Aircraft=5e-5", "1e-4"]),
        ("folder:a[b]", ["folder:a[b]"]),
        ("[42..44]", ["42..44"]),
        ("../x.py", ["../x.py"]),
        ("1..", ["1.."]),
    ],
)
def test_alternatives(text, expected):
    assert alternatives(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an alternative is empty"),
        ("1,,2", "an alternative is empty"),
        ("1,", "an alternative is empty"),
        ("[]", "an alternative is empty"),
        ("[1,2", "a bracket is not closed"),
        ("[1]2", "expected a comma"),
        ("5..3", "the range is empty"),
        (f"0..{MOST}", "more than"),
        ("0..999999999999999", "more than"),
    ],
)
def test_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        alternatives(text)
