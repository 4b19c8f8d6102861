"""Weight files of every kind: what loads gives the same features, and what would give wrong figures is refused."""

import copy
import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from benchmarks.config.errors import UserError
from benchmarks.experiment import checkpoint
from benchmarks.experiment.backbones import kept, torchscript
from benchmarks.experiment.backbones.kept import KEPT
from benchmarks.experiment.backbones.loading import WEIGHTS, Backbone, backbone_of, image_size, load_backbone, weights
from tests.conftest import TINY


EXTRAS = {"input_resolution": 16, "context_length": 16, "vocab_size": 49408}
NAMES = {False: "Tiny", True: "Tiny-quickgelu"}


def config(**vision: Any) -> dict[str, Any]:
    return copy.deepcopy(TINY) | {"vision_cfg": {**TINY["vision_cfg"], **vision}}  # type: ignore[dict-item]


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiny twins of ViT-B-16 and ViT-B-16-quickgelu among open_clip's names, and the same with ViT-B-32's larger patches."""
    folder = tmp_path_factory.mktemp("configs")
    patches, images = config(patch_size=4), config(image_size=24)
    for name, model in {"Tiny": TINY, "Tiny-patches": patches, "Tiny-images": images, "Tiny-custom": TINY}.items():
        (folder / f"{name}.json").write_text(json.dumps(model))
    (folder / "Tiny-custom.json").write_text(json.dumps({**TINY, "custom_text": True}))
    (folder / "Tiny-quickgelu.json").write_text(json.dumps({**TINY, "quick_gelu": True}))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for file in folder.iterdir():
        del open_clip.factory._MODEL_CONFIGS[file.stem]


def make(name: str) -> Any:
    torch.manual_seed(0)
    clip = open_clip.create_model(name, load_weights=False).eval()
    for parameter in clip.parameters():
        parameter.data = parameter.data.half().float()  # so that files in half precision hold the same numbers
    return clip


@pytest.fixture
def quick() -> Any:
    return make("Tiny-quickgelu")


@pytest.fixture
def plain() -> Any:
    return make("Tiny")


def half(clip: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.half() for name, tensor in clip.state_dict().items()}


def save_archive(state: dict[str, Tensor], file: Path) -> Path:
    """A TorchScript archive with this state dict, as OpenAI's are."""
    root = nn.Module()
    for name, tensor in state.items():
        module = root
        *path, last = name.split(".")
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making such archives is deprecated
        torch.jit.script(root).save(str(file))
    return file


def openai(clip: nn.Module) -> dict[str, Tensor]:
    return half(clip) | {name: torch.tensor(value) for name, value in EXTRAS.items()}


@torch.no_grad()
def features(clip: Any) -> Tensor:
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    texts = torch.arange(3 * 16).reshape(3, 16)
    clip = clip.eval()
    return torch.cat([clip.encode_image(images, normalize=True), clip.encode_text(texts, normalize=True)])


def assert_same(backbone: Backbone, clip: Any) -> None:
    assert all(tensor.dtype == torch.float32 for tensor in backbone.clip.state_dict().values())
    assert torch.equal(features(backbone.clip), features(clip))


def refusal(model: str, pretrained: object) -> str:
    """The one line that says why."""
    with pytest.raises(UserError) as caught:
        load_backbone(model, str(pretrained))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


def assert_mismatch(message: str, file: Path, *, trained: bool) -> None:
    """Both are named, with what each is, and the right model."""
    words = {True: "with", False: "without"}
    assert message.startswith(str(file))
    assert f"trained {words[trained]} QuickGELU, --model {NAMES[not trained]} is {words[not trained]}" in message
    assert message.endswith(f"take --model {NAMES[trained]}")


def test_the_activations_differ_in_features(quick: Any) -> None:
    """Else the tests of equal features below would not see a wrong one."""
    other = make("Tiny")
    assert all(torch.equal(a, b) for a, b in zip(quick.parameters(), other.parameters(), strict=True))
    assert (features(quick) - features(other)).abs().max() > 1e-4


def test_openai_archive(quick: Any, tmp_path: Path) -> None:
    file = save_archive(openai(quick), tmp_path / "ViT-B-16.pt")
    with pytest.warns(UserWarning, match="TorchScript"), pytest.raises(RuntimeError):
        torch.load(file, weights_only=True)  # why it needs a way of its own
    assert_same(load_backbone("Tiny-quickgelu", str(file)), quick)
    assert_mismatch(refusal("Tiny", file), file, trained=True)


def test_another_torchscript_archive_says_nothing_of_its_activation(plain: Any, tmp_path: Path) -> None:
    file = save_archive(half(plain), tmp_path / "jit.pt")
    assert_same(load_backbone("Tiny", str(file)), plain)


def test_damaged_archives(quick: Any, tmp_path: Path) -> None:
    whole = save_archive(openai(quick), tmp_path / "whole.pt").read_bytes()
    file = tmp_path / "part.pt"
    for length in (0, 100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:length])
        message = refusal("Tiny-quickgelu", file)
        assert message.startswith(f"{file}: damaged")


class Touch:
    """Unpickled by Python, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_no_code_is_unpickled(tmp_path: Path) -> None:
    harm, file = tmp_path / "harm", tmp_path / "weights.pt"
    data = pickle.dumps(Touch(harm), protocol=2)
    for name in ("constants.pkl", "other"):  # as a TorchScript archive, and as one of torch.save
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for entry in ("data.pkl", name):
                archive.writestr(f"archive/{entry}", data)
            archive.writestr("archive/version", "3")
            archive.writestr("archive/byteorder", "little")
        assert refusal("Tiny", file).startswith(f"{file}: damaged")
    torch.save(Touch(harm), file)
    assert refusal("Tiny", file).startswith(f"{file}: damaged")
    assert not harm.exists()
    torch.load(file, weights_only=False)
    assert harm.exists()  # the files were such as would do it


class Restored(nn.Module):
    """As a TorchScript archive it runs while it is loaded, and this one fails."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, training: bool) -> None:
        raise RuntimeError("was run")


def test_no_torchscript_is_run(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Restored()).save(str(file))
        with pytest.raises(Exception, match="was run"):
            torch.jit.load(str(file))
    assert "it holds no tensors by name" in refusal("Tiny", file)


@pytest.mark.parametrize("kind", ["pt", "numbers.pt", "safetensors"])
def test_openai_state_dicts(kind: str, quick: Any, tmp_path: Path) -> None:
    file = tmp_path / f"openai.{kind}"
    if kind == "safetensors":
        save_file(openai(quick), file)
    else:
        torch.save(openai(quick) if kind == "pt" else half(quick) | EXTRAS, file)
    assert_same(load_backbone("Tiny-quickgelu", str(file)), quick)
    assert_mismatch(refusal("Tiny", file), file, trained=True)


def test_training_checkpoints(plain: Any, tmp_path: Path) -> None:
    file = tmp_path / "epoch_3.pt"
    state = {f"module.{name}": tensor for name, tensor in plain.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {0: torch.zeros(1)}}}, file)
    assert_same(load_backbone("Tiny", str(file)), plain)
    torch.save({"state_dict": plain.state_dict(), "arguments": Path}, file)
    assert "a pickle of more than tensors" in refusal("Tiny", file)


def test_files_of_older_models(plain: Any, tmp_path: Path) -> None:
    """The text tower's older names load into the newer class, and a scale of shape (1,) into a number."""
    state = plain.state_dict() | {"logit_scale": plain.logit_scale.detach().reshape(1)}
    save_file(state, tmp_path / "old.safetensors")
    assert_same(load_backbone("Tiny-custom", str(tmp_path / "old.safetensors")), plain)


@pytest.mark.parametrize("trained", [True, False])
def test_a_hub_download(trained: bool, tmp_path: Path) -> None:
    clip, file = make(NAMES[trained]), tmp_path / "open_clip_model.safetensors"
    save_file(clip.state_dict(), file)
    told = {"model_cfg": {**TINY, "quick_gelu": True} if trained else TINY}
    place = tmp_path / "open_clip_config.json"
    place.write_text(json.dumps({**told, "preprocess_cfg": {"mean": [0.5, 0.5, 0.4], "std": [0.1, 0.2, 0.3]}}))
    backbone = load_backbone(NAMES[trained], str(file))
    assert_same(backbone, clip)
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.4), (0.1, 0.2, 0.3))  # such as ViT-L-14's of LAION have
    message = refusal(NAMES[not trained], file)
    assert_mismatch(message, file, trained=trained)
    assert str(place) in message
    for damaged in ("{", "[]", '{"model_cfg": 1}'):
        place.write_text(damaged)
        assert refusal(NAMES[trained], file).startswith(str(place))


@pytest.mark.parametrize("trained", [True, False])
def test_merged_models_keep_their_activation(trained: bool, tmp_path: Path) -> None:
    clip, start = make(NAMES[trained]), tmp_path / "start.pt"
    torch.save(clip.state_dict(), start)
    backbone = load_backbone(NAMES[trained], str(start))
    checkpoint.save_model(tmp_path, backbone.clip.state_dict(), {}, backbone.about)
    file = tmp_path / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata.pop("preprocessing"))["interpolation"] == "bicubic"
    assert metadata.pop("digest") and metadata.pop("method_digest")
    assert metadata == {"model": NAMES[trained], "quick_gelu": str(trained).lower()}
    assert all(torch.equal(tensor, clip.state_dict()[name]) for name, tensor in load_file(file).items())
    assert_same(load_backbone(NAMES[trained], str(file)), clip)
    message = refusal(NAMES[not trained], file)
    assert_mismatch(message, file, trained=trained)
    assert f"metadata, written for {NAMES[trained]}" in message


def test_merged_models_keep_their_preprocessing(plain: Any, tmp_path: Path) -> None:
    """As the hub's config beside the weights states it: elsewhere, the merged model states it itself."""
    start = tmp_path / "hub" / "open_clip_model.safetensors"
    start.parent.mkdir()
    save_file(plain.state_dict(), start)
    own = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.125]}
    (start.parent / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": own}))
    first = load_backbone("Tiny", str(start))
    checkpoint.save_model(tmp_path, first.clip.state_dict(), {}, first.about)
    again = load_backbone("Tiny", str(tmp_path / "model.safetensors"))
    assert (again.mean, again.std) == (first.mean, first.std) == ((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
    assert backbone_of(again.clip, again.tokenize, "Tiny").mean == first.mean  # also of the model alone
    assert again.about == first.about


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"resize_mode": "squash"}, "resize_mode is squash; here images are resized with resize_mode shortest"),
        ({"interpolation": "bilinear"}, "interpolation is bilinear"),
        ({"mode": "BGR"}, "its mode is BGR; here images are RGB, so its results would be wrong"),
        ({"mode": 3}, "its mode is 3"),
        ({"mean": [0.5, 0.5]}, "its mean must be three numbers"),
        ({"std": [0.5, 0.5, float("inf")]}, "its std must be three numbers"),
    ],
)
def test_preprocessing_that_is_not_done_here_is_refused(
    changed: dict[str, Any], said: str, plain: Any, tmp_path: Path
) -> None:
    file = tmp_path / "open_clip_model.safetensors"
    save_file(plain.state_dict(), file)
    config = json.dumps({"model_cfg": TINY, "preprocess_cfg": changed})
    (tmp_path / "open_clip_config.json").write_text(config)
    assert said in refusal("Tiny", file)
    assert said in refusal(f"local-dir:{tmp_path}", file)


@pytest.mark.parametrize(
    "changed", [{"fill_color": 255}, {"mode": "RGB"}, {"mode": None, "mean": None, "interpolation": None}]
)
def test_preprocessing_that_changes_no_image_is_as_if_it_were_not_there(
    changed: dict[str, Any], plain: Any, tmp_path: Path
) -> None:
    file = tmp_path / "open_clip_model.safetensors"
    save_file(plain.state_dict(), file)
    found = []
    for told in ({}, changed):
        config = json.dumps({"model_cfg": TINY, "preprocess_cfg": told})
        (tmp_path / "open_clip_config.json").write_text(config)
        found += [load_backbone(model, str(file)) for model in ("Tiny", f"local-dir:{tmp_path}")]
    assert len({each.about["preprocessing"] for each in found}) == 1


@pytest.mark.parametrize("size", [[16, 32], "16", 0])
def test_only_square_images(size: Any, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config(image_size=size)}))
    with pytest.raises(UserError) as error:
        image_size(f"local-dir:{tmp_path}")
    assert "only models of square images" in str(error.value) or "expected a number of pixels" in str(error.value)


def test_a_folder_whose_config_names_a_tokenizer_that_may_run_code(tiny_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_clip, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    for name, value in (("hf_tokenizer_name", "x/y"), ("tokenizer_kwargs", {"trust_remote_code": True})):
        told = {
            **config,
            "model_cfg": {**config["model_cfg"], "text_cfg": {**config["model_cfg"]["text_cfg"], name: value}},
        }
        (folder / "open_clip_config.json").write_text(json.dumps(told))
        with pytest.raises(UserError, match=f"has {name} .*--trust-model-code"):
            load_backbone(f"local-dir:{folder}", str(folder / WEIGHTS))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_names_with_a_wrappers_prefix(prefix: str, plain: Any, tmp_path: Path) -> None:
    torch.save({f"{prefix}{name}": tensor for name, tensor in plain.state_dict().items()}, tmp_path / "wrapped.pt")
    assert_same(load_backbone("Tiny", str(tmp_path / "wrapped.pt")), plain)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.uint8])
def test_weights_of_another_type_are_refused(kind: torch.dtype, plain: Any, tmp_path: Path) -> None:
    torch.save({name: tensor.to(kind) for name, tensor in plain.state_dict().items()}, tmp_path / "whole.pt")
    assert f"is {kind}, expected torch.float32" in refusal("Tiny", tmp_path / "whole.pt")


def test_torchscript_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    """Shared storages, slices, empty tensors, all types, nested modules; not attributes that are no parameters."""

    class Inner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(4, 6).T[1:3])
            self.register_buffer("count", torch.tensor(7))
            self.register_buffer("short", torch.randn(3).half())
            self.register_buffer("low", torch.randn(2, 2).bfloat16())
            self.register_buffer("empty", torch.empty(0, 3))
            self.register_buffer("flags", torch.tensor([True, False]))
            self.other = torch.ones(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.other.sum() + self.weight.sum()

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Inner(), Inner()
            self.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return self.first(x) + self.second(x)

    file = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Outer())
        scripted.save(str(file))
    found = torchscript.read(file)
    assert found.keys() == scripted.state_dict().keys()
    for name, tensor in scripted.state_dict().items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_equal_models_are_equal_files() -> None:
    tensors, metadata = {"a": torch.ones(1).half()}, dict.fromkeys("edcba", "")
    assert len({save(tensors, metadata) for _ in range(20)}) > 1  # safetensors alone: in any order
    assert len({checkpoint.pack(tensors, metadata) for _ in range(20)}) == 1


def test_packed_files_read_back(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6).reshape(2, 3).T, "a": torch.ones(1).half(), "c": torch.tensor(2.5)}
    metadata = {"b": 'ü "quoted"', "a": ""}
    (tmp_path / "packed").write_bytes(checkpoint.pack(tensors, metadata))
    with safe_open(tmp_path / "packed", framework="pt") as opened:
        assert opened.metadata() == {**metadata, "digest": checkpoint.digest(tensors)}
        assert all(torch.equal(opened.get_tensor(name), tensor) for name, tensor in tensors.items())


def test_metadata_of_a_folder_names_no_place(tiny_clip: Path) -> None:
    about = load_backbone(f"local-dir:{tiny_clip}", None).about
    assert about.keys() == {"model", "quick_gelu", "preprocessing"}
    assert about["model"] == f"local-dir:{tiny_clip.name}" and str(tiny_clip.parent) not in str(about)
    assert load_backbone("micro", None).about["model"] == "micro"


def test_a_folder_is_told_what_its_config_lacks(tiny_clip: Path, quick: Any, tmp_path: Path) -> None:
    file = save_archive(openai(quick), tmp_path / "ViT-B-16.pt")
    message = refusal(f"local-dir:{tiny_clip}", file)
    assert f"local-dir:{tiny_clip} is without" in message and '"quick_gelu": true' in message


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_file_that_tells_nothing_is_taken_as_the_model_says(
    kind: str, plain: Any, quick: Any, tmp_path: Path
) -> None:
    file = tmp_path / f"weights.{kind}"
    write = torch.save if kind == "pt" else save_file
    write(plain.state_dict(), file)
    assert_same(load_backbone("Tiny", str(file)), plain)
    assert_same(load_backbone("Tiny-quickgelu", str(file)), quick)


def test_weights_of_another_architecture(plain: Any, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"

    def refused(state: dict[str, Tensor]) -> str:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
        message = refusal("Tiny", file)
        assert message.startswith(f"{file}: not the weights of Tiny: ") and len(message) < len(str(file)) + 200
        return message

    assert "visual.positional_embedding is 17 x 32 in the file, 5 x 32 in the model" in refused(
        make("Tiny-patches").state_dict()
    )
    state = plain.state_dict()
    assert "logit_scale is absent in the file, a number in the model" in refused(
        {name: tensor for name, tensor in state.items() if name != "logit_scale"}
    )
    assert "more is 2 x 3 in the file, absent in the model" in refused(state | {"more": torch.zeros(2, 3)})
    resnet = {"visual.layer1.0.conv1.weight" if "resblocks" in name else name: it for name, it in state.items()}
    assert "resblocks" in refused(resnet)


def test_positions_are_not_resized(plain: Any, tmp_path: Path) -> None:
    """open_clip would, without a word."""
    file = tmp_path / "weights.pt"
    torch.save(make("Tiny-images").state_dict(), file)
    open_clip.load_checkpoint(make("Tiny"), str(file))
    message = refusal("Tiny", file)
    assert "visual.positional_embedding is 10 x 32 in the file, 5 x 32 in the model (made for another image" in message
    longer = torch.cat([plain.positional_embedding.detach()] * 2)
    torch.save(plain.state_dict() | {"positional_embedding": longer}, file)
    assert "positional_embedding is 32 x 24 in the file, 16 x 24 in the model (made for" in refusal("Tiny", file)


def test_towers_without_plain_attention_are_refused_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(weights, "fetch")
    assert "no plain open_clip transformer" in refusal("RN50-quickgelu", "openai")


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub at a port where nobody listens, and an empty cache."""
    from huggingface_hub import constants, file_download

    for module in (constants, file_download):
        for name, value in {"ENDPOINT": "http://127.0.0.1:9", "HF_HUB_CACHE": str(tmp_path / "cache")}.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def tag(monkeypatch: pytest.MonkeyPatch, **told: Any) -> None:
    """Gives the tiny models a tag `there`."""
    entry = {"mean": (0.5, 0.5, 0.5), "std": (0.1, 0.1, 0.1), **told}
    for name in NAMES.values():
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"there": entry})


@pytest.mark.usefixtures("unreachable")
def test_a_tag_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    tag(monkeypatch, hf_hub="someone/tiny/", url="https://example.org/tiny.pt")
    message = refusal("Tiny", "there")
    assert message.startswith("--model Tiny --pretrained there: ")
    assert "open_clip_model.safetensors" in message and "https://huggingface.co/someone/tiny" in message
    assert "https://example.org/tiny.pt" in message and "give --pretrained FOLDER/FILE" in message
    assert "http://127.0.0.1:9" in message  # what could not be reached
    tag(monkeypatch, hf_hub="someone/tiny/odd.pt")
    assert "get odd.pt and open_clip_config.json of https://huggingface.co/someone/tiny, into" in refusal(
        "Tiny", "there"
    )
    assert not waits  # of the hub's client, 23 s for each file name
    assert not constants.HF_HUB_OFFLINE


def test_a_tag_of_the_other_activation_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    tag(monkeypatch, hf_hub="someone/tiny/", quick_gelu=True)
    monkeypatch.delattr(weights, "fetch")
    message = refusal("Tiny", "there")
    assert message.startswith("--pretrained there: the weights were trained with QuickGELU, --model Tiny is without")
    assert message.endswith("take --model Tiny-quickgelu")


@pytest.mark.usefixtures("unreachable")
def test_a_cached_tag_needs_no_network(quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the hub's own layout; only the second of the two file names that open_clip asks for is there."""
    tag(monkeypatch, hf_hub="someone/tiny/", quick_gelu=True)
    place = tmp_path / "cache" / "models--someone--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    file = place / "snapshots" / ("0" * 40) / "open_clip_pytorch_model.bin"
    file.parent.mkdir(parents=True)
    torch.save(half(quick), file)
    backbone = load_backbone("Tiny-quickgelu", "there")
    assert_same(backbone, quick)
    assert backbone.mean == (0.5, 0.5, 0.5)
    file.write_bytes(b"PK")
    assert refusal("Tiny-quickgelu", "there").startswith(f"{file}: damaged")


def test_a_process_of_many_runs_loads_a_model_once_and_gives_copies(plain: Any, tmp_path: Path) -> None:
    """A copy that is trained leaves the next one as the file has it; a file that changes is read again."""
    file = tmp_path / "weights.pt"
    torch.save(plain.state_dict(), file)
    KEPT.wanted = True
    try:
        first = kept.load("Tiny", str(file))
        held = KEPT.backbone
        torch.nn.init.zeros_(next(first.clip.parameters()))
        second = kept.load("Tiny", str(file))
        assert KEPT.backbone is held
        assert_same(second, plain)
        changed = plain.state_dict() | {"logit_scale": torch.tensor(1.5)}
        torch.save(changed, file)
        os.utime(file, ns=(1, 1))
        third = kept.load("Tiny", str(file))
        assert third.clip.logit_scale == 1.5 and third.sha256 != second.sha256
    finally:
        KEPT.wanted, KEPT.key, KEPT.backbone = False, "", None
