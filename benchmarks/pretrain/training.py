"""Contrastive pretraining of the micro CLIP."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.experiment.backbones.loading import MICRO, make_tokenizer


LR, WEIGHT_DECAY, WARMUP, BETAS = 1e-3, 0.1, 0.05, (0.9, 0.98)
LARGEST_SCALE = 100.0  # maximal factor on the cosines, as in CLIP


def new_clip(seed: int) -> Any:
    """Returns the micro CLIP (as `benchmarks/micro/clip/open_clip_config.json` describes it) with random weights.

    Args:
        seed: determines the weights; it is set as torch's seed.
    """
    torch.manual_seed(seed)
    config = json.loads((MICRO / "open_clip_config.json").read_text(encoding="utf-8"))
    return open_clip.CLIP(**config["model_cfg"])


def about() -> dict[str, Any]:
    """Returns what a training's record says of its environment.

    The keys are `threads`, the number of torch's CPU threads, and `versions`, with those of `torch` and `open_clip`.
    """
    return {
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__},
    }


def normalised(pictures: Tensor) -> Tensor:
    """Converts images (B, H, W, 3) uint8 to inputs (B, 3, H, W) float32, normalised by OpenAI's mean and std."""
    mean, std = (torch.tensor(v, device=pictures.device) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """Returns the mean InfoNCE loss of both directions; all pairs with the same caption are positives of each other.

    The directions are from images to texts and from texts to images.

    Args:
        images, texts: (B, D) features of unit norm; row i of both is pair i.
        scale: factor on the cosines, a scalar tensor.
        captions: (B,) int64, equal for equal captions.
    """
    logits = scale * images @ texts.T
    same = (captions[:, None] == captions).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _batches(number: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields indices (size,) forever, in a new order each epoch; an incomplete last batch is dropped."""
    size = min(size, number)
    while True:
        yield from torch.randperm(number, generator=generator)[: number - number % size].split(size)


def _groups(clip: Any) -> list[dict[str, Any]]:
    """Returns the parameter groups: weight decay applies to matrices only, as in CLIP."""
    matrices = [p for p in clip.parameters() if p.ndim >= 2]
    others = [p for p in clip.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def pretrain(
    clip: Any,
    captions: list[str],
    pictures: np.ndarray,
    steps: int,
    batch_size: int,
    seed: int,
    device: str,
    on_step: Callable[[float], None],
) -> None:
    """Trains a model in place by contrastive learning, with AdamW, a one-cycle schedule, and bfloat16 in both towers.

    Args:
        clip: an open_clip model.
        captions: N captions; caption i describes image i.
        pictures: the N images, (N, H, W, 3) uint8.
        steps: number of training steps.
        batch_size: pairs in a step; N if it is larger.
        seed: determines the order of the pairs.
        device: `cpu` or `cuda`; the model stays there.
        on_step: called after each step with its loss.
    """
    unique, inverse = np.unique(np.array(captions), return_inverse=True)
    tokens, ids = make_tokenizer("micro", MICRO, clip)(unique.tolist()), torch.from_numpy(inverse)
    bytes_ = torch.from_numpy(pictures)
    optimizer = torch.optim.AdamW(_groups(clip), lr=LR, betas=BETAS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=steps + 1, pct_start=WARMUP, cycle_momentum=False
    )
    batches = _batches(len(captions), batch_size, torch.Generator().manual_seed(seed))
    on = torch.device(device)
    clip.to(on).train()
    for _, rows in zip(range(steps), batches, strict=False):
        # On a CPU the backward pass of fused attention dominates the step; plain attention is much faster.
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast(on.type, torch.bfloat16):
                images = clip.encode_image(normalised(bytes_[rows].to(on)), normalize=True)
                texts = clip.encode_text(tokens[ids[rows]].to(on), normalize=True)
            loss = contrastive_loss(images.float(), texts.float(), clip.logit_scale.exp(), ids[rows].to(on))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=float(np.log(LARGEST_SCALE)))
        on_step(loss.item())
