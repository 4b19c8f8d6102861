"""Settings: command line over file over recipe, and one clear line for whatever is wrong."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.config import registry
from benchmarks.config.command_line import parse
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.config.resolve import resolve, settings_of
from benchmarks.config.settings import Common, for_task
from tests.conftest import ROOT


def config_file(folder: Path, **values: object) -> Path:
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_command_line_beats_file_beats_recipe(tmp_path: Path) -> None:
    file = config_file(tmp_path, rank=5, seed=7, strategy="nusa", matrices="q,v")
    config = resolve({"seed": "8"}, file)
    assert (config.common.seed, config.settings.rank, config.settings.matrices) == (8, 5, ("q", "v"))
    assert config.common.batch_size == recipe("micro", "nusa")["batch_size"]
    assert config.settings.rho == 0.95


def test_a_runs_config_file_gives_the_same_run(tmp_path: Path) -> None:
    config = resolve({"strategy": "lora", "rank": "3", "lr": "0.5", "order": "letters,digits"})
    again = resolve({}, config_file(tmp_path, **config.flat()))
    assert again == config
    assert resolve({**config.flat(), "order": ["letters", "digits"]}) == config


def test_the_folders_name_tells_seed_and_what_differs() -> None:
    assert resolve({}).label == "seed42"
    assert resolve({"seed": "1", "rank": "4", "matrices": "q,v", "device": "cpu"}).label == "seed1,rank=4,matrices=q+v"
    usual = recipe("micro", "nusa")["lr"]
    assert resolve({"lr": usual}).label == "seed42"
    assert resolve({"stream": "validation:7:micro", "lr": usual}).label == f"seed42,lr={usual}"


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"strategy": "nus"}, ["--strategy", '"nus"', '"nusa"']),
        ({"stream": "mikro"}, ["--stream", '"mikro"', '"micro"']),
        ({"rho": "1.0"}, ["--rho", "less than 1", "'1.0'"]),
        ({"rho": "0"}, ["--rho", "greater than 0"]),
        ({"rank": "0"}, ["--rank", "greater than or equal to 1"]),
        ({"rank": "many"}, ["--rank", "integer", "'many'"]),
        ({"iterations": "0"}, ["--iterations", "greater than or equal to 1"]),
        ({"iterations": "10,letters=1000001"}, ["--iterations", "less than or equal to 1000000"]),
        ({"lr": "inf"}, ["--lr", "finite"]),
        ({"lr": "nan"}, ["--lr"]),
        ({"alpha": "inf"}, ["--alpha", "finite", "inf"]),
        ({"strategy": "zscl", "temperature": "inf"}, ["--temperature", "finite"]),
        ({"strategy": "codyra", "threshold": "nan"}, ["--threshold", "finite"]),
        ({"strategy": "rail", "variant": "dual", "ridge": "0.5"}, ["--ridge", "with variant primal alone"]),
        ({"device": "gpu"}, ["--device", "'cpu'", "'cuda'"]),
        ({"directions": "bottom"}, ["--directions", "'tail'"]),
        ({"matrices": "q,w"}, ["--matrices", "'q'"]),
        ({"seed": "-1"}, ["--seed"]),
        ({"rnk": "3"}, ["--rnk", "nusa", '"rank"']),
        ({"strategy": "lora", "directions": "top"}, ["--directions", "a setting of nusa", "not of lora"]),
    ],
)
def test_wrong_values_are_named(given: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        resolve(given)
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert "\n" not in str(error.value)


def test_rates_and_steps_by_task() -> None:
    config = resolve({"lr": "1e-5,letters=5e-5, digits=1", "iterations": "7,letters=3"})
    assert config.common.lr == {"default": 1e-5, "letters": 5e-5, "digits": 1.0}
    assert for_task(config.common.lr, "letters", "micro") == 5e-5
    assert for_task(config.common.lr, "letters-1", "letters") == 5e-5
    assert for_task(config.common.lr, "colours", "micro") == 1e-5
    assert for_task(3, "colours", "micro") == 3
    assert config.label == "seed42,iterations=7+letters-3,lr=1e-05+letters-5e-05+digits-1.0"
    for wrong, part in (
        ("letters=1e-5", "for all other tasks"),
        ("1e-5,letters=0", "greater than 0"),
        ("1,a=b", "number"),
        ("1e-3,2e-3,a=1e-4", "default has more"),
        ("1e-3,a=1e-4,a=1e-4", "a has more"),
    ):
        with pytest.raises(UserError, match=part):
            resolve({"lr": wrong})


def test_the_recipes_of_mtil_are_the_published_settings() -> None:
    """Sections 1.1, 2.3 and 5.3 of the papers' facts: a table of their own here."""
    nusa = resolve({"strategy": "nusa", "stream": "mtil"}).flat()
    published = {
        "model": "ViT-B-16-quickgelu", "pretrained": "openai", "iterations": 1000, "batch_size": 16, "lr": 3e-4,
        "weight_decay": 0.01, "warmup": 0.05, "label_smoothing": 0.2, "augmentation": "none", "shots": None,
        "rank": 128, "alpha": 2.0, "dropout": 0.25, "rho": 0.95,
    }  # fmt: skip
    assert {name: nusa[name] for name in published} == published
    finetune = resolve({"strategy": "finetune", "stream": "mtil"}).flat()
    assert (finetune["batch_size"], finetune["iterations"], finetune["warmup"]) == (64, 1000, 100)
    assert finetune["lr"] == {"default": 1e-5, "Aircraft": 5e-5, "MNIST": 5e-5}
    assert (finetune["weight_decay"], finetune["augmentation"]) == (0.0, "random-resized-crop")
    assert resolve({"stream": "xtail"}).common.shots == 16
    assert resolve({"stream": "xtail", "shots": "all"}).common.shots is None
    assert resolve({"stream": "xtail"}).common.lr == 3e-4
    assert resolve({"stream": "repeat:3"}).flat() == {**nusa, "stream": "repeat:3"}
    assert resolve({"stream": "repeat:3:micro"}).common.model == "micro"
    assert [resolve({"stream": f"cifar100:{n}"}).common.iterations for n in (10, 20, 50)] == [79, 40, 17]
    assert resolve({"stream": "cifar100:10", "strategy": "finetune"}).common.lr == 7.1e-6
    with pytest.raises(UserError, match="expected one of cifar100:10, cifar100:20, cifar100:50"):
        resolve({"stream": "cifar100"})


def test_every_recipe_has_what_every_run_needs() -> None:
    arguments = {"cifar100": ":10", "tinyimagenet": ":5", "repeat": ":2", "mtil-split": ":3"}
    for family in registry.names("stream"):
        for strategy in registry.names("strategy"):
            assert resolve({"stream": family + arguments.get(family, ""), "strategy": strategy}).common.lr


def test_wrong_files_are_named(tmp_path: Path) -> None:
    for content, part in (
        ("rank: [", "not valid YAML"),
        ("- a\n", "name: value"),
        ("rnk: 3\n", '"rank"'),
        ("rho: 2\n", "rho"),
        ("seed: yes\n", "mean nothing here, got True"),
        ("lr: {default: yes}\n", "mean nothing here, got True"),
    ):
        file = tmp_path / "wrong.yaml"
        file.write_text(content)
        with pytest.raises(UserError) as error:
            resolve({}, file)
        assert str(file) in str(error.value) and part in str(error.value)
    with pytest.raises(UserError, match=r"absent\.yaml"):
        resolve({}, tmp_path / "absent.yaml")


def test_misspelt_and_foreign_words_on_the_command_line() -> None:
    with pytest.raises(UserError, match=r'--rh: no such setting of nusa \(did you mean "rho"\?\)'):
        parse(["--rh", "0.9"])
    with pytest.raises(UserError, match=r'--keep-state: no such setting of nusa \(did you mean "keep_states"\?\)'):
        parse(["--keep-state", "yes"])
    with pytest.raises(UserError, match=r"results: no setting, but an option of the command"):
        resolve({"results": "out"})
    with pytest.raises(UserError, match="--directions: a setting of nusa, not of lora"):
        parse(["--strategy", "lora", "--directions", "top"])
    with pytest.raises(UserError, match="requires an argument"):
        parse(["--rank"])
    with pytest.raises(UserError, match="unexpected extra argument"):
        parse(["nusa"])


@pytest.mark.parametrize("words", [["--help"], ["--list"], ["--version"], ["--strategy", "lora", "--help"]])
def test_answers_without_importing_torch_or_avalanche(words: list[str]) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['run', *{words!r}]\n"
        "try: runpy.run_module('benchmarks.run', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'avalanche', 'numpy', 'open_clip'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_help_documents_every_setting_and_list_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    for strategy in registry.names("strategy"):
        with pytest.raises(SystemExit):
            parse(["--strategy", strategy, "--help"])
        shown = capsys.readouterr().out
        fields = {**Common.__pydantic_fields__, **settings_of(registry.strategy_of(strategy))}  # type: ignore[attr-defined]
        for name, field in fields.items():
            assert f"--{name.replace('_', '-')} " in shown
            assert field.description, f"{strategy}: {name} has no description"
    with pytest.raises(SystemExit):
        parse(["--list"])
    shown = capsys.readouterr().out
    for kind in ("strategy", "stream"):
        for source in registry.sources(kind).values():
            assert source.summary.endswith((".", ")")) and source.summary in shown


def test_every_strategy_is_importable_with_the_settings_read_from_its_source() -> None:
    for name in registry.names("strategy"):
        module = registry.find("strategy", name).load()
        shown = registry.settings_class(name)
        assert repr(module.Settings()) == repr(shown())
        assert module.Plugin(shown()).state_dict() == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"strategy": "rail", "gamma": 0.2},
            "--gamma: has an effect with variant dual alone, got variant primal; leave",
        ),
        ({"strategy": "rail", "variant": "dual", "hidden": 8}, "--hidden: has an effect with variant primal alone"),
        (
            {"strategy": "ema", "rule": "running", "alpha": 0.9},
            "--alpha: has an effect with rule ema alone, got rule run",
        ),
        (
            {"strategy": "task_arithmetic", "rule": "average", "scale": 0.9},
            "--scale: has an effect with rule sum alone",
        ),
        (
            {"strategy": "nusa_self", "rho": 0.9},
            "--rho: has an effect with space complement and tail alone, got space so",
        ),
        (
            {"strategy": "activation_null", "eps": 0.01},
            "--eps: has an effect with variant ness alone, got variant lora-n",
        ),
        (
            {"strategy": "activation_null", "variant": "ness", "rank": 4},
            "--rank: has an effect with variant lora-null an",
        ),
        (
            {"strategy": "activation_null", "pool": 4},
            "--pool: has an effect with calibration auxiliary alone, got calibr",
        ),
    ],
)
def test_a_setting_that_another_one_makes_idle_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(given)
    assert str(error.value).startswith(said)


def test_an_idle_setting_with_its_usual_value_is_none_that_somebody_chose(tmp_path: Path) -> None:
    """So the `config.yaml` of any run, which has all settings, can be given with `--config`."""
    for given in ({"variant": "ness"}, {"variant": "cells", "rho": 0.9}, {}):
        config = resolve({"strategy": "activation_null", **given})
        (file := tmp_path / "config.yaml").write_text(yaml.safe_dump(config.flat()))
        assert resolve({}, file).flat() == config.flat()


def test_a_value_of_a_setting_can_say_what_a_method_reads() -> None:
    assert resolve({"strategy": "activation_null"}).reads == ()
    assert resolve({"strategy": "activation_null", "calibration": "auxiliary"}).reads == ("images",)
