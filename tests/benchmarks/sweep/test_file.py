"""A sweep's grid in a YAML file."""

import pytest

from benchmarks.config.errors import UserError
from benchmarks.sweep.file import read_blocks


def written(tmp_path, text):
    file = tmp_path / "grid.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_one_block(tmp_path):
    file = written(tmp_path, "strategy: [nusa, lora]\nseed: 42..43\nset: {rho: 0.9, batch-size: [8, 16]}\n")
    (block,) = read_blocks(file)
    assert block.values == {
        "strategy": ["nusa", "lora"], "seed": ["42", "43"], "rho": [0.9], "batch_size": [8, 16]
    }  # fmt: skip
    assert block.where == str(file)


def test_several_blocks(tmp_path):
    blocks = read_blocks(written(tmp_path, "- strategy: nusa\n- strategy: lora\n  matrices: [[q, k], [q]]\n"))
    assert [block.values for block in blocks] == [
        {"strategy": ["nusa"]}, {"strategy": ["lora"], "matrices": [["q", "k"], ["q"]]}
    ]  # fmt: skip
    assert blocks[1].where.endswith("grid.yaml, block 2")


def test_a_block_names_what_is_searched(tmp_path):
    text = "strategy: zscl\norder: [[shapes, clocks]]\nsearch: {lr: [1e-3, 1e-2], distillation: [0.3, 1]}\n"
    (block,) = read_blocks(written(tmp_path, text))
    assert block.searched == ("lr", "distillation")
    assert block.values["lr"] == ["1e-3", "1e-2"]
    assert block.values["order"] == [["shapes", "clocks"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of the form"),
        ("[]", "empty"),
        ("{}", "grid.yaml: empty"),
        ("- seed: 1\n- {}", "block 2: empty"),
        ("- 3", "expected lines of the form"),
        ("seed: []", "seed: no value"),
        ("seed: [1, null]", "seed: an empty value"),
        ("seed:", "seed: an empty value"),
        ("seed: 5..3", "the range is empty"),
        ("seed: 1\nseed: 2", "stands twice"),
        ("seed: 1\nset: {seed: 2}", "seed: named twice, once as one to set"),
        ("batch-size: 8\nbatch_size: 16", "batch_size: named twice"),
        ("set: 3", "set: expected lines"),
        ("search: [lr]", "search: expected lines"),
        ("search: {}", "search: names no setting"),
        ("lr: 1\nsearch: {lr: [1, 2]}", "lr: named twice, once as one to search"),
        ("strategy: own.py", "a file names no code"),
        ("- seed: 1\n- strategy: [nusa, own.py]", "block 2: strategy: a file names no code"),
        ("1: 2", "expected the names of settings"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
    ],
)
def test_wrong(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_blocks(written(tmp_path, text))


def test_missing(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_blocks(tmp_path / "none.yaml")
