"""Tests a model on every task of a stream, without training it: `python -m benchmarks.evaluate --pretrained RUN`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks import api
from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, Place, plain
from benchmarks.runs.read import read_whole
from benchmarks.runs.write import MODEL
from benchmarks.runtime import processes


OF_THE_RUN = ("stream", "order", "splits", "shots")
OWN = "own"  # of `--trained-from`: the weights in the model's own folder


@click.command(cls=Command)
@click.option("--stream", metavar="NAME", help="name of the stream of tasks  [RUN's, or micro]")
@click.option(
    "--order", metavar="NAME", help="a named order of the stream, or task names with commas  [RUN's, or default]"
)
@click.option("--model", metavar="NAME", help="micro, an open_clip name, or local-dir:FOLDER  [RUN's, or the recipe's]")
@click.option(
    "--pretrained", metavar="RUN|FILE|TAG", help="a run folder, a weights file or an open_clip tag  [the recipe's]"
)
@click.option(
    "--trained-from",
    metavar="FILE|TAG|own",
    help="the pretrained weights that FILE was trained from (own: those in the model's folder): its row then stands beside "
    "the methods that start from them",
)
@click.option(
    "--shots", metavar="COUNT", help="shots of the methods beside which it is to stand  [RUN's, or the recipe's]"
)
@click.option("--splits", metavar="NAME", help="of MTIL's data sets: zscl, or coop for CoOp's  [RUN's, or zscl]")
@click.option("--device", default="auto", help="cpu, cuda, or auto: CUDA if available")
@click.option("--precision", default="float32", help="of the towers' matrix products: float32, tf32 or bf16  [float32]")
@click.option(
    "--results", type=Place(), default=Path("results"), help="folder in which run folders are made  [results]"
)
@click.option("--no-cache", is_flag=True, help="decode images at every reading: the same results, but slower")
@click.option("--trust-model-code", is_flag=True, help="let a local-dir: model name a tokenizer, which may run code")
@click.option("--predictions", is_flag=True, help="write the best classes of each test image into the run folder")
@click.option(
    "--probe",
    multiple=True,
    metavar="NAME[:DIR]",
    help="test on imagenet:DIR, retrieval:DIR, folder:PATH or micro as well",
)
@click.option("--again", is_flag=True, help="repeat a finished evaluation, into a new folder")
def main(pretrained: str | None, trained_from: str | None, **options: Any) -> None:
    """Test a model on every task of a stream: the pretrained one, a finished run's, or any file of weights.

    The result is a run folder with one state, which compare, report and the figures take beside those of methods. A
    model that was trained has the accuracy after the last task (Last) alone: what it scored while it learned is not known.
    """
    own = _weights(options["model"], pretrained, trained_from)
    if options["stream"] not in (None, own.get("stream")):
        own = {name: value for name, value in own.items() if name not in OF_THE_RUN}  # another stream has other tasks
    given = {"strategy": "zeroshot", **own}
    given |= {name: value for name in (*OF_THE_RUN, "device", "precision") if (value := options[name]) is not None}
    try:
        asked = api.request(
            given, results=options["results"], data_root=options["data_root"], cache=options["cache"],
            use_cache=not options["no_cache"], trust_model_code=options["trust_model_code"], again=options["again"],
            predictions=options["predictions"], probe=list(options["probe"]),
            command=shlex.join(["python", "-m", "benchmarks.evaluate", *sys.argv[1:]]),
        )  # fmt: skip
    except UserError as error:
        raise UserError(str(error).replace("--start-from", "--pretrained")) from error
    before = asked.is_finished
    api.complete(asked, plots=False)
    if not processes.is_first():
        return
    if before:
        print(plain(f"evaluated before; shown from {asked.folder} (--again evaluates once more)\n"))
    api.show_tested(asked.folder)


def _weights(model: str | None, pretrained: str | None, trained_from: str | None) -> dict[str, Any]:
    """Returns the settings that name the model to test, and the weights from which it was trained."""
    given = {} if model is None else {"model": model}
    if (
        pretrained is not None
        and Path(pretrained).name == MODEL
        and (Path(pretrained).parent / "config.yaml").is_file()
    ):
        pretrained = str(Path(pretrained).parent)  # a run's own file
    if pretrained is not None and Path(pretrained).is_dir():
        if trained_from is not None:
            raise UserError(
                f"--trained-from {trained_from}: goes with a weights file; {pretrained} says itself what it is from"
            )
        return {**given, **_of_run(Path(pretrained)), "start_from": pretrained}
    if trained_from is None:
        return given if pretrained is None else {**given, "pretrained": pretrained}
    if pretrained is None or not Path(pretrained).is_file():
        raise UserError(f"--trained-from {trained_from}: goes with --pretrained FILE, the weights that were trained")
    return {**given, "start_from": pretrained, "pretrained": None if trained_from == OWN else trained_from}


def _of_run(folder: Path) -> dict[str, Any]:
    """Returns the settings of a run on whose stream, in whose order its model is tested unless others are given."""
    config = read_whole(folder).config
    order = {"order": ",".join(read_whole(folder).tasks)} if config["order"] != "default" else {}
    return {name: config[name] for name in OF_THE_RUN if config.get(name) is not None} | order


main.params.extend(place_options())

if __name__ == "__main__":
    main()
