"""The classifier: templates, normalisation, unpadded logits, the union of all classes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import PatchDropout
from torch.utils.flop_counter import FlopCounterMode

from strategies.clip.blocks import allow
from strategies.clip.classifier import ClipClassifier
from tests.models import CLASSES, tiny_classifier


def images(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_images_are_normalised_as_torchvision_does() -> None:
    from torchvision.transforms.functional import normalize

    classifier = tiny_classifier().eval()
    expected = classifier.clip.encode_image(normalize(images().float() / 255, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    assert torch.allclose(classifier.encode_images(images()), F.normalize(expected, dim=-1), atol=1e-6)


def test_training_uses_the_first_template_and_evaluation_the_normalised_mean_of_all() -> None:
    classifier = tiny_classifier()
    clip, tokens = classifier.clip, classifier.tokens(1)  # (2 templates, 3 classes, 16)
    scale, x = clip.logit_scale.exp(), classifier.encode_images(images())
    each = [F.normalize(clip.encode_text(prompts), dim=-1) for prompts in tokens]
    trained = scale * x @ each[0].T
    evaluated = scale * x @ F.normalize((each[0] + each[1]) / 2, dim=-1).T
    assert torch.allclose(classifier.train()(images(), 1), trained, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(classifier.eval()(images(), 1), evaluated, atol=1e-4)
    assert torch.allclose(classifier.eval()(images(), 1), trained, atol=1e-4)  # with gradients, in any mode
    assert (trained - evaluated).abs().max() > 1e-2


def test_logits_of_one_task_are_unpadded_and_a_mixed_batch_gives_absent_classes_no_share() -> None:
    classifier = tiny_classifier().eval()
    one = classifier(images(), torch.zeros(6, dtype=torch.int64))
    assert one.shape == (6, CLASSES[0])
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    mixed = classifier(images(), labels)
    assert mixed.shape == (6, CLASSES[1])
    assert torch.allclose(mixed[labels == 0][:, : CLASSES[0]], one[labels == 0], atol=1e-5)
    assert not mixed[labels == 0].softmax(dim=1)[:, CLASSES[0] :].any()
    criterion = torch.nn.CrossEntropyLoss()
    target = torch.zeros(3, dtype=torch.int64)
    assert torch.isclose(criterion(mixed[labels == 0], target), criterion(one[labels == 0], target), atol=1e-5)


def test_the_union_holds_every_tasks_evaluation_logits_side_by_side() -> None:
    classifier = tiny_classifier().eval()
    union = classifier.union_logits(images())
    with torch.no_grad():
        expected = torch.cat([classifier(images(), task) for task in range(len(CLASSES))], dim=1)
    assert torch.allclose(union, expected, atol=1e-5)


def test_text_features_are_new_after_training() -> None:
    classifier = tiny_classifier().eval()
    before = classifier.evaluation_features(0)
    with torch.no_grad():
        classifier.train().clip.text_projection.add_(torch.randn_like(classifier.clip.text_projection))
    assert not torch.allclose(before, classifier.eval().evaluation_features(0))


def test_the_logit_scale_is_frozen() -> None:
    assert not tiny_classifier().clip.logit_scale.requires_grad


def test_a_routed_image_gets_the_logits_of_its_route_alone_and_in_a_batch() -> None:
    """Route 1 doubles the text tower's last projection's first column; the features of each route are kept apart."""
    classifier = tiny_classifier().eval()
    plain = classifier.clip.text_projection.detach().clone()
    changed = plain.clone()
    changed[:, 0] *= 5

    class ByBrightness:
        def choose(self, images: torch.Tensor) -> torch.Tensor:
            return (images.float().mean(dim=(1, 2, 3)) > 127).long()

        def use(self, route: int, rows: torch.Tensor) -> None:
            taken.append(rows)
            classifier.clip.text_projection.data.copy_(changed if route else plain)

    routing = ByBrightness()
    taken: list[torch.Tensor] = []
    expected = []
    for route in (0, 1):
        routing.use(route, torch.ones(6, dtype=torch.bool))
        expected.append(classifier.eval().union_logits(images()))
        classifier.train(False)
    routes = routing.choose(images())
    assert set(routes.tolist()) == {0, 1}
    classifier.routing = routing
    classifier.train(False)
    taken.clear()
    together = classifier.union_logits(images())
    assert [rows.tolist() for rows in taken] == [(routes == route).tolist() for route in (0, 1)]
    assert torch.allclose(together, torch.where(routes[:, None] == 1, expected[1], expected[0]), atol=1e-5)
    single = torch.cat([classifier.union_logits(image[None]) for image in images()])
    assert torch.allclose(single, together, atol=1e-5)
    with torch.no_grad():  # Avalanche's own evaluation
        assert torch.allclose(classifier(images(), 1), together[:, CLASSES[0] :], atol=1e-5)
        classifier.known_train_tasks_labels = {0, 1}
        each = classifier(images(), None)
    assert torch.allclose(torch.cat([each[0], each[1]], dim=1), together, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_the_logits_of_all_seen_tasks_come_by_task() -> None:
    classifier = tiny_classifier().eval()
    with torch.no_grad():
        assert classifier(images(), None) == {}
        classifier.known_train_tasks_labels = {1}
        found = classifier(images(), None)
        assert list(found) == [1] and torch.allclose(found[1], classifier(images(), 1), atol=1e-5)


def test_evaluation_may_use_the_first_templates_only() -> None:
    classifier = tiny_classifier().eval()
    every = classifier.evaluation_features(1)
    classifier.evaluation_templates = 1
    assert classifier.evaluation_features(1) is every
    classifier.forget_texts()
    with torch.no_grad():
        assert torch.allclose(classifier.evaluation_features(1), classifier.training_features(1), atol=1e-6)
    assert not torch.allclose(classifier.evaluation_features(1), every, atol=1e-2)


def test_in_training_the_texts_are_encoded_first() -> None:
    """Dropout draws its masks in this order; in another, the same seed gives other figures than the committed runs."""
    classifier, order = tiny_classifier().train(), []
    classifier.clip.visual.register_forward_hook(lambda *_: order.append("images"))
    classifier.clip.ln_final.register_forward_hook(lambda *_: order.append("texts"))
    classifier(images(), 1)
    assert order == ["texts", "images"]


def test_the_prompts_of_a_repeated_task_are_computed_once() -> None:
    clip, one, other = tiny_classifier().clip, tiny_classifier().tokens(0), tiny_classifier().tokens(1)
    classifier = ClipClassifier(clip, [one, other, one.clone()], (0.5,) * 3, (0.5,) * 3).eval()
    assert classifier.evaluation_features(2) is classifier.evaluation_features(0)
    assert classifier.evaluation_features(1).shape == (CLASSES[1], classifier.evaluation_features(0).shape[1])


def _counted(classifier: ClipClassifier) -> list[int]:
    """Grows with every text feature that is computed."""
    computed: list[int] = []
    hook = allow(lambda _, inputs, __: computed.append(len(inputs[0])), "takes_packed")
    classifier.clip.ln_final.register_forward_hook(hook)
    return computed


def test_the_prompts_of_a_text_tower_that_does_not_learn_are_computed_once() -> None:
    classifier = tiny_classifier().requires_grad_(False).train()
    classifier.clip.visual.requires_grad_(True)
    computed = _counted(classifier)
    for _ in range(3):
        classifier(images(), 1).sum().backward()
    assert computed == [CLASSES[1]]
    with torch.no_grad():
        classifier.clip.visual.proj.mul_(2)  # the image tower's
        before = classifier.training_features(1)
        assert len(computed) == 1
        classifier.clip.text_projection[0] *= -3
    assert not torch.equal(classifier.training_features(1), before)
    assert len(computed) == 2
    classifier.train()
    classifier.training_features(1)
    assert len(computed) == 3
    classifier.clip.text_projection.requires_grad_(True)  # it begins to learn in the middle of a task
    assert classifier.training_features(1).requires_grad


def test_those_of_one_that_learns_or_drops_values_are_computed_at_every_step() -> None:
    learning = tiny_classifier().train()
    computed = _counted(learning)
    for _ in range(2):
        learning(images(), 1)
    assert len(computed) == 2
    dropping = tiny_classifier().requires_grad_(False).train()
    dropping.clip.transformer.resblocks[0].mlp.append(torch.nn.Dropout(0.5))
    assert not torch.equal(dropping.training_features(1), dropping.training_features(1))


def _image_work(classifier: ClipClassifier, batch: torch.Tensor) -> int:
    """Floating-point operations of a training forward pass over those of the text features alone."""

    def counted(work: Callable[[], object]) -> int:
        with FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops()

    return counted(lambda: classifier(batch, 1)) - counted(lambda: classifier.training_features(1))


def test_images_of_a_tower_that_does_not_learn_are_computed_once() -> None:
    classifier = tiny_classifier().train()
    classifier.clip.visual.requires_grad_(False)
    whole = _image_work(classifier, images())
    product = _image_work(classifier, images())  # of features and features
    assert product < whole / 50
    seen, new = images()[[3, 0, 3]], 255 - images()[:1]
    expected = classifier.clip.logit_scale.exp() * classifier.encode_images(seen) @ classifier.training_features(1).T
    found = classifier(seen, 1)
    assert torch.allclose(found, expected, atol=1e-5)
    learned = [each for each in classifier.parameters() if each.requires_grad]
    for ours, theirs in zip(
        *(torch.autograd.grad(out.square().sum(), learned) for out in (found, expected)), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))
    assert product < _image_work(classifier, torch.cat([images(), new])) < whole / 4
    with torch.no_grad():
        classifier.clip.visual.proj[0] *= -3
    assert _image_work(classifier, images()) == whole
    classifier.train()
    assert _image_work(classifier, images()) == whole


def test_an_image_tower_that_was_exchanged_or_written_to_is_computed_anew() -> None:
    def features() -> torch.Tensor:
        return classifier.encode_again(images())

    classifier = tiny_classifier().requires_grad_(False).train()
    proj = classifier.clip.visual.proj
    for change in ("nothing", "written to", "replaced", "double"):
        before = features()
        if change == "written to":
            proj.data[0] *= -3
            assert torch.equal(features(), before)  # nobody can know
            classifier.forget_texts()
        elif change == "replaced":
            classifier.clip.visual.proj = torch.nn.Parameter(proj.flip(0), requires_grad=False)
        elif change == "double":
            classifier.double()
        found = features()
        assert torch.equal(found, before.to(found.dtype)) == (change == "nothing"), change
        assert torch.allclose(found, classifier.encode_images(images()), atol=1e-6), change


def test_an_own_way_to_encode_images_is_called_each_time() -> None:
    class Noisy(ClipClassifier):
        def encode_images(self, images: torch.Tensor) -> torch.Tensor:
            return super().encode_images(images) + torch.randn(())

    plain = tiny_classifier().requires_grad_(False).train()
    noisy = Noisy(plain.clip, [plain.tokens(0)], (0.5,) * 3, (0.2,) * 3).requires_grad_(False).train()
    assert not torch.equal(noisy.encode_again(images()), noisy.encode_again(images()))


def test_random_crops_are_not_remembered() -> None:
    classifier = tiny_classifier().train()
    classifier.clip.visual.requires_grad_(False)
    classifier.images_repeat = False
    assert len({_image_work(classifier, images()) for _ in range(2)}) == 1


def test_those_of_one_that_learns_drops_values_or_is_watched_are_computed_at_every_step() -> None:
    def change(what: str) -> ClipClassifier:
        classifier = tiny_classifier().train()
        visual = classifier.clip.visual.requires_grad_(False)
        if what == "learns":
            visual.proj.requires_grad_(True)
        elif what == "drops values":
            visual.transformer.resblocks[0].mlp.append(torch.nn.Dropout(0.5))
        elif what == "drops patches":
            visual.patch_dropout = PatchDropout(0.5)
        elif what == "is watched":
            visual.transformer.resblocks[0].attn.register_forward_hook(
                allow(lambda *_: None, "takes_one_token", "takes_packed")
            )
        elif what == "is of an unknown kind":
            visual.ln_post = type("Odd", (torch.nn.LayerNorm,), {})(32)
        return classifier

    for what in ("learns", "drops values", "drops patches", "is watched", "is of an unknown kind"):
        classifier = change(what)
        work = {_image_work(classifier, images()) for _ in range(3)}
        assert len(work) == 1, what


def test_batch_statistics_of_a_frozen_convolutional_tower_stay_those_of_each_batch() -> None:
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    text = {"context_length": 16, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    clip = CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)
    classifier = ClipClassifier(clip, [tiny_classifier().tokens(0)], (0.5,) * 3, (0.2,) * 3).train()
    clip.visual.requires_grad_(False)
    batch = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert not torch.allclose(classifier(batch, 0)[:2], classifier(batch[:2], 0))
