"""What a checkpoint keeps of the measured values, also one that a version before 0.4 wrote."""

import pytest

from benchmarks.runs.ledger import Ledger
from benchmarks.runs.record import RunRecord


def record() -> RunRecord:
    found = RunRecord(known=["50.0,25.0"], unknown=["40.0,20.0"], seen=[","], cost=Ledger(training=[1.5]))
    found.add_rows("rank", [{"after": 0, "update_norm": None}])
    found.add_rows("spectrum", [{"after": 0, "1": 2.25}])
    return found


def test_it_comes_back_from_json() -> None:
    assert RunRecord.from_json(record().as_json()) == record()


def test_what_versions_before_0_4_wrote_comes_back() -> None:
    """They kept the two tables that there were under names of their own."""
    old = record().as_json()
    tables = old.pop("tables")
    assert RunRecord.from_json({**old, **tables}) == record()
    with pytest.raises((KeyError, TypeError)):
        RunRecord.from_json({**old, "rank": [{"after": 0}], "spectrum": ""})  # before 0.3


def test_rows_of_later_states_keep_the_first_ones_columns() -> None:
    found = record()
    found.add_rows("rank", [{"update_norm": 1.0, "after": 1}])
    assert found.tables["rank"] == "after,update_norm\n0,\n1,1.0\n"
