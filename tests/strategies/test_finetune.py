"""Fine-tuning changes all but the logit scale."""

import torch

from strategies.finetune import Plugin, Settings
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def test_all_parameters_learn_but_the_logit_scale(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [Plugin(Settings())])
    template.train(tiny_experiences()[0])
    after = snapshot(classifier.clip)
    assert {name for name in before if torch.equal(before[name], after[name])} == {"logit_scale"}
    assert template.trained_count == sum(tensor.numel() for tensor in before.values()) - 1
