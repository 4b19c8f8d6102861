"""O-LoRA: the penalty against the formula, what it does to the new A, and what is stored."""

import pytest
import torch
from pydantic import ValidationError

from strategies.clip.weight_matrices import weight_matrices
from strategies.olora import Plugin, Settings, overlap
from tests.models import assert_resumes, broken_off, tiny_classifier, tiny_experiences, tiny_template


def test_the_overlap_is_the_sum_of_absolute_products_over_all_earlier_tasks() -> None:
    torch.manual_seed(0)
    old, new = [torch.randn(3, 7) for _ in range(2)], torch.randn(3, 7)
    expected = sum(
        abs(float(old_row.double() @ new_row.double())) for a in old for old_row in a for new_row in new
    )  # row by row, task by task
    assert float(overlap(torch.cat(old), new)) == pytest.approx(expected, rel=1e-5)
    basis = torch.linalg.qr(torch.randn(7, 7)).Q
    assert overlap(basis[:3], basis[3:]) < 1e-4


def test_the_loss_has_the_penalty_from_the_second_task_on_and_its_gradient_reaches_the_new_a_only() -> None:
    classifier = tiny_classifier()
    plugin = Plugin(Settings(rank=2, orthogonality=0.7))
    added: list[float] = []

    class Before(Plugin):
        """Stands before the method and after it, to see what it adds to the loss."""

        def before_train_dataset_adaptation(self, strategy: object, *args: object, **kwargs: object) -> None: ...

        def after_training_exp(self, strategy: object, *args: object, **kwargs: object) -> None: ...

        def before_backward(self, strategy: object, *args: object, **kwargs: object) -> None:
            self.loss = strategy.loss.detach()  # type: ignore[attr-defined]

    class After(Before):
        def before_backward(self, strategy: object, *args: object, **kwargs: object) -> None:
            added.append(float(strategy.loss.detach() - before.loss))  # type: ignore[attr-defined]
            expected.append(
                sum(
                    0.7 * float((plugin.old_a[site.name].double() @ update.down.detach().double().T).abs().sum())
                    for site, update in plugin.updates.items()
                    if plugin.old_a
                )
            )

    expected: list[float] = []
    before = Before(Settings())
    template = tiny_template(classifier, [before, plugin, After(Settings())])
    for experience in tiny_experiences():
        template.train(experience)
    assert added[:4] == [0, 0, 0, 0] and all(value > 0 for value in added[4:])
    assert added == pytest.approx(expected, rel=1e-4)


def test_the_new_a_becomes_more_orthogonal_to_the_stored_ones_with_the_penalty() -> None:
    def end(orthogonality: float) -> float:
        classifier, plugin = tiny_classifier(), Plugin(Settings(rank=2, orthogonality=orthogonality))
        template = tiny_template(classifier, [plugin], iterations=20)
        for experience in tiny_experiences():
            template.train(experience)
        return sum(float(overlap(a[:2], a[2:])) for a in plugin.old_a.values())

    assert end(0.5) < 0.5 * end(0.0)


def test_every_pair_is_stored_bit_for_bit_and_their_sum_is_in_the_weight() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=2, alpha=3))
    weights = {site: site.weight().detach().double() for site in weight_matrices(classifier.clip)}
    template = tiny_template(classifier, [plugin])
    first: dict[str, torch.Tensor] = {}
    for task, experience in enumerate(tiny_experiences()):
        template.train(experience)
        state = plugin.state_dict()
        for site, weight in weights.items():
            a, b = state[f"{site.name}.A"], state[f"{site.name}.B"]
            assert a.shape == (2 * (task + 1), weight.shape[1]) and b.shape == (weight.shape[0], 2 * (task + 1))
            assert not a.requires_grad and not b.requires_grad
            expected = weight + 3 / 2**0.5 * b.double() @ a.double()
            assert (site.weight().detach() - expected).abs().max() < 1e-5
            assert torch.equal(a[:2], first.setdefault(f"{site.name}.A", a[:2].clone()))
            assert torch.equal(b[:, :2], first.setdefault(f"{site.name}.B", b[:, :2].clone()))
    stored = sum(tensor.numel() for tensor in plugin.state_dict().values())
    assert stored == 2 * template.trained_count == 2 * sum(2 * sum(weight.shape) for weight in weights.values())


def test_state_resumes_bit_for_bit_and_begin_forgets() -> None:
    assert_resumes(Plugin(Settings(rank=2)), Plugin(Settings(rank=2)))


def test_a_task_that_broke_off_stores_no_pair() -> None:
    plugin = Plugin(Settings(rank=2))
    broken_off(plugin)
    assert plugin.state_dict() == {}


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        Settings(orthogonality=-1)


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_loras_of_the_same_rank() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings(rank=128))
    assert (
        sum(p.numel() for site in weight_matrices(clip) for p in plugin.make_update(site.weight()).parameters())
        == 15_728_640
    )
