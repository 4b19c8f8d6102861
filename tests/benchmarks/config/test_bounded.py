"""YAML and JSON of a stranger: what is read as before, and what is refused in a line, quickly."""

import pytest
import yaml

from benchmarks.config.bounded import from_json, from_yaml


def bomb(levels: int) -> str:
    nest = "&b0 [x,x,x,x,x,x,x,x,x,x]"
    for level in range(1, levels):
        nest = f"&b{level} [{nest}, " + ", ".join([f"*b{level - 1}"] * 9) + "]"
    return f"lr: {nest}"


def test_plain_files_are_read_as_ever() -> None:
    text = "a: 1\nb: [x, 1.5e-3, null]\nc: {d: yes, e: &l [1, 2], f: *l}\n"
    assert from_yaml(text) == yaml.safe_load(text)
    assert from_json('{"a": [1, 2.5, null, true], "b": {"c": "d"}}') == {"a": [1, 2.5, None, True], "b": {"c": "d"}}
    assert from_yaml('{1: a, "1": b}') == {1: "a", "1": "b"}
    assert from_json("\ufeff[1]") == [1] and from_yaml("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: 1\nlr: 2", '"lr" stands twice'),
        ("a: {b: 1, b: 2}", '"b" stands twice'),
        ("lr: !!bool foo", "cannot read"),
        ("seed: !!int foo", "invalid literal"),
        ("seed: 2020-13-45", "month must be in"),
        ("t: !!timestamp x", "cannot read"),
        ("seed: " + "9" * 5000, "a number of 5000 characters"),
        ("lr: " + "[" * 3000, "deep"),
        ("x: " + "[" * 50_000 + "]" * 50_000, "deep"),
        ("- " * 50_000 + "x", "deep"),
        ("\n".join(" " * depth + "a:" for depth in range(3000)), "deep"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        (bomb(9), "aliases counted"),
        ("a: [", "expected node content"),
        ("x" * (16 * 2**20 + 1), "longer than"),
        ("a: &m {x: 1}\nb: {<<: *m}", "merge keys"),
        ('seed: !!int ""', "cannot read"),
        ("seed: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("seed: 1" + ":00" * 100_000, "a number of 300001 characters"),
    ],
    ids=range(19),
)
def test_yaml_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        from_yaml(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "deep"),
        ("[" * 200 + "]" * 200, "deep"),
        ('{"a": 1, "a": 2}', '"a" stands twice'),
        ('{"a": ' + "9" * 400 + "}", "an integer of 400 digits"),
        ("{", "Expecting property name"),
        ("{" + ", ".join(f'"{n}": 1' for n in [*range(50_000), 7]) + "}", '"7" stands twice'),
    ],
)
def test_json_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        from_json(text)
    assert "\n" not in str(error.value)
