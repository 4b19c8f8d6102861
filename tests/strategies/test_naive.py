"""The strategies under Avalanche's own template: the script in docs/adding.md, run as it stands there."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.training.supervised import Naive

from benchmarks.config.errors import UserError
from strategies.clip.weight_matrices import weight_matrices
from strategies.nusa import Plugin, Settings
from tests.conftest import ROOT
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_script_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(), re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(next(block for block in blocks if "Naive" in block))
    monkeypatch.chdir(ROOT)
    result = runpy.run_path(str(script))
    assert result["strategy"].clock.train_exp_counter == 2


def test_the_documentations_own_method_is_found_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.config import registry
    from benchmarks.config.resolve import resolve

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(), re.DOTALL)
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "biasonly.py").write_text(next(block for block in blocks if "Bias tuning" in block))
    monkeypatch.setitem(registry.FOLDERS, "strategy", folder)
    registry._built_in.cache_clear()
    assert registry.names("strategy") == ["biasonly"]
    config = resolve({"strategy": "biasonly", "towers": "visual"})
    with pytest.raises(UserError, match="--towers"):
        resolve({"strategy": "biasonly", "towers": "vision"})
    classifier = tiny_classifier()
    before = snapshot(classifier.clip)
    plugin = runpy.run_path(str(folder / "biasonly.py"))["Plugin"](config.settings)
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
