"""Measures Hugging Face's implementation of LoRA (`peft` on `transformers`' CLIP) relative to this project's, on equal
weights.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.perf.dense import ALPHA, DROPOUT, RANK
from benchmarks.perf.setting import LOOP, Setting
from benchmarks.perf.step import STEPS
from benchmarks.perf.timing import ratio
from strategies import lora
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import blocks


TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]


class HuggingFaceClip(nn.Module):
    """`transformers`' CLIP with the weights of an open_clip model.

    Args:
        classifier: the open_clip model, with its image normalisation.
        quick_gelu: whether the model's activation is QuickGELU instead of GELU.

    Attributes:
        hf: the `CLIPModel` of `transformers`.
        mean, std: the normalisation of image inputs, as the classifier has it.
    """

    def __init__(self, classifier: ClipClassifier, quick_gelu: bool) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        clip, act = classifier.clip, "quick_gelu" if quick_gelu else "gelu"
        shapes = {}
        for tower in ("image", "text"):
            layers = blocks(clip, tower)
            first = layers[0]
            shapes[tower] = {
                "hidden_size": first.attn.embed_dim, "intermediate_size": len(first.mlp.c_fc.weight), "hidden_act": act,
                "num_hidden_layers": len(layers), "num_attention_heads": first.attn.num_heads,
            }  # fmt: skip
        side, patch = clip.visual.image_size[0], clip.visual.patch_size[0]
        config = CLIPConfig(
            vision_config={**shapes["image"], "image_size": side, "patch_size": patch},
            text_config={
                **shapes["text"],
                "vocab_size": clip.vocab_size,
                "max_position_embeddings": clip.context_length,
            },
            projection_dim=clip.text_projection.shape[1],
        )
        self.hf: Any = CLIPModel(config)
        self.hf.load_state_dict(_renamed(clip), strict=False)
        self.mean, self.std = classifier.mean, classifier.std

    def features(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features of unit norm, (B, D) of images (B, 3, S, S) uint8 and (C, D) of token ids (C, L)."""
        pixels = (images.float() / 255 - self.mean) / self.std
        image = self.hf.visual_projection(self.hf.vision_model(pixels).pooler_output)
        text = self.hf.text_projection(self.hf.text_model(tokens).pooler_output)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


def _renamed(clip: Any) -> dict[str, Tensor]:
    """Returns open_clip's weights under `transformers`' names."""
    visual = clip.visual
    found: dict[str, Tensor] = {
        "logit_scale": clip.logit_scale,
        "vision_model.embeddings.class_embedding": visual.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": visual.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": visual.positional_embedding,
        "visual_projection.weight": visual.proj.T.contiguous(),
        "text_model.embeddings.token_embedding.weight": clip.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": clip.positional_embedding,
        "text_projection.weight": clip.text_projection.T.contiguous(),
    }
    modules: dict[str, Any] = {
        "vision_model.pre_layrnorm": visual.ln_pre,
        "vision_model.post_layernorm": visual.ln_post,
        "text_model.final_layer_norm": clip.ln_final,
    }
    for tower, name in (("image", "vision_model"), ("text", "text_model")):
        for index, block in enumerate(blocks(clip, tower)):
            place = f"{name}.encoder.layers.{index}"
            modules |= {
                f"{place}.layer_norm1": block.ln_1, f"{place}.layer_norm2": block.ln_2,
                f"{place}.mlp.fc1": block.mlp.c_fc, f"{place}.mlp.fc2": block.mlp.c_proj,
                f"{place}.self_attn.out_proj": block.attn.out_proj,
            }  # fmt: skip
            weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
            for letter, weight, bias in zip("qkv", weights, biases, strict=True):
                found[f"{place}.self_attn.{letter}_proj.weight"] = weight
                found[f"{place}.self_attn.{letter}_proj.bias"] = bias
    for name, module in modules.items():
        found |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return {name: tensor.detach() for name, tensor in found.items()}


def lora_of(
    classifier: ClipClassifier, *, quick_gelu: bool, rank: int, alpha: float, dropout: float
) -> HuggingFaceClip:
    """Returns a copy of a CLIP in `transformers`, with `peft`'s LoRA on q, k, v and o of both towers.

    It is in training mode, and everything but LoRA's factors is frozen.

    Args:
        classifier: the open_clip model.
        quick_gelu: whether the model's activation is QuickGELU instead of GELU.
        rank: the rank of the updates.
        alpha: scales the updates by alpha / sqrt(rank); a fraction is cut off.
        dropout: probability with which an element of LoRA's input is set to zero.
    """
    import peft

    model = HuggingFaceClip(classifier, quick_gelu).to(classifier.mean.device)
    config = peft.LoraConfig(
        r=rank, lora_alpha=int(alpha), use_rslora=True, lora_dropout=dropout, target_modules=TARGETS
    )
    model.hf = peft.get_peft_model(model.hf, config).base_model.model
    return model.train()


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters of a model that require gradients."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def peft_step(setting: Setting) -> Callable[[], None]:
    """Returns a function that does one training step of `peft`'s LoRA, on the same batch in every call.

    Weights of the CLIP, rank, images and prompts are those with which this project's LoRA is timed.

    Args:
        setting: the model, with random weights, and a task of random images.
    """
    quick_gelu = "quickgelu" in setting.model
    model = lora_of(setting.classifier, quick_gelu=quick_gelu, rank=RANK, alpha=ALPHA, dropout=DROPOUT)
    optimizer = torch.optim.AdamW(trained(model), lr=LOOP["lr"], weight_decay=LOOP["weight_decay"], fused=True)
    tokens, smoothing = setting.classifier.cut_tokens(0)[0], LOOP["label_smoothing"]
    labels = (torch.arange(setting.batch_size) % len(tokens)).to(setting.device)

    def step() -> None:
        optimizer.zero_grad()
        image, text = model.features(setting.batch, tokens)
        logits = model.hf.logit_scale.exp() * image @ text.T  # (B, C)
        F.cross_entropy(logits, labels, label_smoothing=smoothing).backward()
        optimizer.step()

    return step


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part peft` measures: Hugging Face's LoRA relative to this project's.

    Rank, scale and dropout are those of the NuSA-CL paper.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.

    Returns:
        `peft_lora_step_over_lora`: the time of `peft`'s step / this project's, as a dict with `median`, `low` and
        `high` over the steps.
        `lora_step_seconds`: seconds of the fastest step of this project's LoRA.
    """
    setting = Setting(model, batch_size, classes, device, STEPS)
    settings = lora.Settings(rank=RANK, alpha=ALPHA, dropout=DROPOUT)
    seconds = setting.beside(lora.Plugin(settings), {"peft": peft_step(setting)})
    return {
        "peft_lora_step_over_lora": ratio(seconds["peft"], seconds["step"]),
        "lora_step_seconds": min(seconds["step"]),
    }
