"""The grid of a sweep: which runs its blocks stand for."""

import pytest

from benchmarks.config.errors import UserError
from benchmarks.sweep.grid import Block


def test_every_combination():
    cells = list(Block({"strategy": ["nusa"], "seed": ["1", "2"], "rho": ["0.9", "0.95"]}).cells())
    assert cells == [
        {"strategy": "nusa", "seed": "1", "rho": "0.9"},
        {"strategy": "nusa", "seed": "1", "rho": "0.95"},
        {"strategy": "nusa", "seed": "2", "rho": "0.9"},
        {"strategy": "nusa", "seed": "2", "rho": "0.95"},
    ]


def test_a_setting_only_where_a_strategy_has_it():
    cells = list(Block({"strategy": ["nusa", "lora", "finetune"], "rho": ["0.9", "0.95"], "rank": ["8"]}).cells())
    assert cells == [
        {"strategy": "nusa", "rho": "0.9", "rank": "8"},
        {"strategy": "nusa", "rho": "0.95", "rank": "8"},
        {"strategy": "lora", "rank": "8"},
        {"strategy": "finetune"},
    ]


def test_without_a_strategy_it_is_nusa():
    assert list(Block({"seed": ["1"]}).cells()) == [{"strategy": "nusa", "seed": "1"}]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategy": ["lora", "finetune"], "rho": ["0.9"]}, "rho: a setting of .*nusa.*, of none of lora, finetune"),
        ({"strategy": ["lora"], "rho": ["0.9"]}, "rho: a setting of .*nusa.*, not of lora"),
        ({"strategy": ["nusa"], "rhoo": ["0.9"]}, 'rhoo: no such setting of nusa \\(did you mean "rho"'),
        ({"strategy": ["nusa", "lora"], "rhoo": ["0.9"]}, 'rhoo: no such setting of nusa, lora \\(did you mean "rho"'),
        ({"strategy": ["nuse"]}, 'no strategy "nuse" \\(did you mean "nusa"'),
        (
            {"seed": [str(n) for n in range(400)], "lr": [str(n) for n in range(400)]},
            "160000 runs; a sweep has at most",
        ),
    ],
)
def test_wrong(values, message):
    with pytest.raises(UserError, match=f"here: .*{message}"):
        list(Block(values, "here").cells())
