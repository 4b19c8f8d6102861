"""The strategies under Avalanche's own template: the script in docs/adding.md, run as it stands there."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.training.supervised import Naive

from benchmarks import api as nb
from benchmarks.config.errors import UserError
from benchmarks.config.resolve import resolve
from strategies.clip.weight_matrices import weight_matrices
from strategies.nusa import Plugin, Settings
from tests.conftest import ROOT
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def code_with(words: str) -> str:
    """The first Python block of docs/adding.md that has these words."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if words in block)


def test_the_documentations_own_measurement_fills_a_table(tmp_path: Path) -> None:
    space: dict[str, Any] = {"__name__": "losses"}
    exec(code_with("class Meter"), space)
    run = nb.run(
        "lora",
        "micro",
        order="shapes,clocks",
        iterations=2,
        results=tmp_path,
        callbacks=[space["Meter"]()],
        plots=False,
    )
    assert run.table("losses")[["task", "step"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert (run.table("losses")["loss"] > 0).all()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_script_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(code_with("Naive"))
    monkeypatch.chdir(ROOT)
    result = runpy.run_path(str(script))
    assert result["strategy"].clock.train_exp_counter == 2


def test_the_documentations_own_method_is_found_and_trains(tmp_path: Path) -> None:
    file = tmp_path / "biasonly.py"
    file.write_text(code_with("Bias tuning"))
    config = resolve({"strategy": str(file), "towers": "visual"})
    assert config.strategy.name == "biasonly"
    with pytest.raises(UserError, match="--towers"):
        resolve({"strategy": str(file), "towers": "vision"})
    classifier = tiny_classifier()
    before = snapshot(classifier.clip)
    plugin = config.strategy.plugin()(config.settings)
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    changed = {name for name, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("visual") and name.endswith("bias") for name in changed)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_nusa_learns_under_naive_and_changes_attention_only() -> None:
    classifier = tiny_classifier()
    before = snapshot(classifier.clip)
    weights = {site: site.weight().detach().clone() for site in weight_matrices(classifier.clip)}
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.01)
    plugins: Any = [Plugin(Settings(rank=3, rho=0.5))]
    strategy = Naive(model=classifier, optimizer=optimizer, train_mb_size=4, plugins=plugins, evaluator=None)
    for experience in tiny_experiences():
        strategy.train(experience, reset_optimizer_state=True, remove_params=True)
    assert all((site.weight() - weight).norm() > 1e-3 for site, weight in weights.items())
    changed = {name for name, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[name])}
    assert all("attn" in name and name.endswith("weight") for name in changed)
    # The same tests that the stock evaluation loop runs see the merged model.
    assert strategy.eval(tiny_experiences()) is not None
