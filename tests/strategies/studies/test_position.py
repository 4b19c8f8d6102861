"""The update in a decile of the spectrum: which directions it has, and that the last decile is NuSA-CL's tail."""

import pytest
import torch

from strategies import nusa
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import decompose
from strategies.studies.position import Plugin, Settings
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


@pytest.mark.parametrize(("n", "rank", "wanted"), [(30, 3, 3), (30, 2, 2), (34, 9, 3), (128, 12, 12)])
def test_the_deciles_are_disjoint_and_of_one_rank(n: int, rank: int, wanted: int, device: torch.device) -> None:
    weight = torch.randn(n + 4, n).to(device)
    u, _, vh = decompose(weight)
    seen: list[int] = []
    for decile in range(1, 11):
        update = Plugin(Settings(rank=rank, decile=decile)).make_update(weight)
        assert update is not None and update.core is not None and update.core.shape == (wanted, wanted)
        place = [int(each) for each in (vh @ update.down.T).abs().argmax(dim=0)]
        assert torch.allclose(u[:, place], update.up) and torch.allclose(vh[place], update.down)
        assert all(n * (decile - 1) // 10 <= each < n * decile // 10 for each in place)
        seen += place
    assert seen == sorted(set(seen)) and seen[-1] == n - 1


def test_the_last_decile_is_nusas_tail_of_the_same_rank_to_the_bit(device: torch.device) -> None:
    after = []
    for plugin in (Plugin(Settings(rank=2, decile=10)), nusa.Plugin(nusa.Settings(rank=2, rho=0.5))):
        torch.manual_seed(0)
        classifier = tiny_classifier(device=device)
        tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
        after.append(snapshot(classifier.clip))
    assert all(torch.equal(tensor, after[1][name]) for name, tensor in after[0].items())


def test_an_update_stays_in_its_decile(device: torch.device) -> None:
    torch.manual_seed(0)
    classifier = tiny_classifier(device=device)
    found = weight_matrices(classifier.clip)
    before = {site: site.weight().detach().clone() for site in found}
    tiny_template(classifier, [Plugin(Settings(rank=2, decile=4))]).train(tiny_experiences()[0])
    for site in found:
        u, s, vh = decompose(before[site])
        end = len(s) * 4 // 10
        core = u.T @ (site.weight().detach() - before[site]) @ vh.T
        inside = core[end - 2 : end, end - 2 : end].norm()
        assert inside > 1e-3 and core.norm() == pytest.approx(inside.item(), rel=1e-4)


def test_a_weight_of_fewer_than_ten_directions_has_no_decile() -> None:
    assert Plugin(Settings(rank=4)).make_update(torch.randn(9, 40)) is None
