"""Models that memory cannot hold: refused by their config, before anything is built."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import random_backbone
from benchmarks.experiment.backbones.size import check, least_bytes
from benchmarks.run import main
from tests.conftest import TINY


def config(part: str, **changed: Any) -> dict[str, Any]:
    own: Any = TINY[part] if part else {}
    return {**TINY, **({part: {**own, **changed}} if part else changed)}


def folder(place: Path, model: dict[str, Any]) -> Path:
    place.mkdir(exist_ok=True)
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    return place


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-quickgelu", "ViT-L-14-336", "ViT-bigG-14"])
def test_the_estimate_is_below_what_a_model_has_and_near_it(name: str) -> None:
    model: Any = open_clip.get_model_config(name)
    params = {"ViT-B-32": 151.3e6, "ViT-B-16-quickgelu": 149.6e6, "ViT-L-14-336": 427.9e6, "ViT-bigG-14": 2539.6e6}
    whole = 4 * params[name]
    assert 0.9 * whole < least_bytes(model) < 1.02 * whole


def test_the_estimate_of_the_micro_clip() -> None:
    clip = random_backbone("micro").clip
    model: Any = open_clip.get_model_config(f"local-dir:{Path('benchmarks/micro/clip').resolve()}")
    assert 0.9 < least_bytes(model) / sum(parameter.nbytes for parameter in clip.parameters()) < 1.1


ABSURD: list[tuple[str, str, int]] = [
    ("text_cfg", "layers", 10**9), ("vision_cfg", "layers", 10**9), ("text_cfg", "width", 10**9),
    ("vision_cfg", "width", 10**9), ("text_cfg", "vocab_size", 10**13), ("text_cfg", "context_length", 10**8),
    ("vision_cfg", "image_size", 10**8), ("vision_cfg", "patch_size", 10**8), ("text_cfg", "mlp_ratio", 10**12),
    ("", "embed_dim", 10**14),
]  # fmt: skip


@pytest.mark.parametrize(("part", "name", "value"), ABSURD)
def test_absurd_sizes_are_refused_at_once_and_named(
    part: str, name: str, value: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder(tmp_path / "model", config(part, **{name: value}))
    assert main(["--strategy", "zeroshot", "--model", f"local-dir:{place}", "--results", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    where = f"{part}.{name}" if part else name
    assert error.startswith(
        f"error: {place}/open_clip_config.json: {where} is {value}, with which the model takes at least"
    )
    assert "of memory are free here; at most " in error and not (tmp_path / "out").exists()


def test_what_would_fit_does_and_one_more_does_not() -> None:
    for part, name, value in ABSURD:
        model = config(part, **{name: value})
        with pytest.raises(UserError) as caught:
            check("here", model, free=10**9)
        fitting = int(str(caught.value).rpartition("at most ")[2].removesuffix(" would fit"))
        check("here", config(part, **{name: fitting}), free=10**9)
        with pytest.raises(UserError):
            check("here", config(part, **{name: fitting + 2 * max(fitting // 1000, 16)}), free=10**9)


@pytest.mark.parametrize("wrong", ["many", None, [1, 2], -5, float("inf"), float("nan"), True, {}])
def test_what_is_no_number_is_left_to_open_clip(wrong: Any) -> None:
    for part, name, _ in ABSURD:
        check("here", config(part, **{name: wrong}))
    check("here", {"vision_cfg": wrong, "text_cfg": wrong})
    check("here", {})
