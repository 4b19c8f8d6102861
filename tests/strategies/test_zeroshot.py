"""Zero-shot changes nothing and trains nothing."""

import torch

from strategies.zeroshot import Plugin, Settings
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def test_nothing_changes() -> None:
    classifier = tiny_classifier()
    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [Plugin(Settings())])
    for experience in tiny_experiences():
        template.train(experience)
    assert template.trained_count == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(classifier.clip).items())
