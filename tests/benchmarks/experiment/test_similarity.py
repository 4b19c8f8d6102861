"""How alike tasks are to a model, beside cosines of its features computed one image and one text at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.similarity import similarity
from benchmarks.images.decode import decode
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange


@torch.no_grad()
def test_the_cosines_are_those_of_mean_features(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    name = f"local-dir:{tiny_clip}"
    found = {(pair.first, pair.second): pair for pair in similarity(name, f"folder:{images}", cache=tmp_path)}
    backbone = load_backbone(name, None)
    clip: Any = backbone.clip.eval()
    stream = arrange(build_plan(f"folder:{images}", Path("data")), "default")
    seen, read = {}, {}
    for task in stream.tasks:
        pixels = torch.stack([torch.as_tensor(np.asarray(each)) for each in decode(task.train, backbone.size)])
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (backbone.mean, backbone.std))
        seen[task.name] = F.normalize(clip.encode_image((pixels / 255 - mean) / std), dim=-1).mean(dim=0)
        read[task.name] = F.normalize(clip.encode_text(backbone.tokenize(list(task.class_names))), dim=-1).mean(dim=0)
    assert len(found) == len(stream.tasks) * (len(stream.tasks) - 1) // 2
    for (one, other), pair in found.items():
        assert pair.images == pytest.approx(F.cosine_similarity(seen[one], seen[other], dim=0).item(), abs=1e-4)
        assert pair.names == pytest.approx(F.cosine_similarity(read[one], read[other], dim=0).item(), abs=1e-4)
