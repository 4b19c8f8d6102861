"""Runs as one file each, to be committed or sent: `python -m benchmarks.runs.pack results/micro`.

A packed run is the zip file of its run folder: `seed42/` becomes `seed42.zip` beside it, with every csv, json and yaml file
byte for byte, without weights and plots. `stream.json` would be the same in hundreds of runs, so it stands once in a folder
`streams` above them, under the name of its sha256. Everything that reads run folders reads packed runs too.
"""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import click

from benchmarks.config.errors import UserError
from benchmarks.runs.folder import STREAM, STREAMS, RunFiles, find, naming_digest
from benchmarks.runtime.files import write_bytes


KINDS = (".csv", ".json", ".yaml")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold: equal files give equal bytes


def pack(place: Path, target: Path | None = None) -> list[Path]:
    """Packs every finished run at or below a folder; the run folders stay.

    Args:
        place: a run folder or a folder above some.
        target: the zip files go below it, with the paths that the folders have below `place`, and the streams into
            `<target>/streams`; None puts each zip file beside its folder.

    Returns:
        The zip files, those of unfinished runs left out.

    Raises:
        UserError: there is no run, one of its files cannot be read, or a zip file cannot be written.
    """
    packed, root = [], _root(place)
    target = target or root
    for folder in find([place]):
        files = RunFiles(folder)
        if files.json("run.json").get("status") != "finished":
            continue
        contents = {name: files.data(name) for name in files.names() if name.endswith(KINDS)}
        if STREAM in contents:
            digest = hashlib.sha256(contents[STREAM]).hexdigest()
            _write_once(target / STREAMS / f"{digest}.json", contents[STREAM])
            contents[STREAM] = naming_digest(digest)
        packed.append(RunFiles(target / folder.relative_to(root)).archive)
        _write_once(packed[-1], _zip(contents))
    return packed


def unpack(place: Path, target: Path | None = None) -> list[Path]:
    """Makes a run folder of every packed run at or below a folder, as it was before it was packed.

    Args:
        place: the zip file of a run or a folder above some.
        target: the run folders go below it, with the paths that the zip files have below `place`; None puts each beside
            its zip file. What is a run folder there already stays as it is.

    Returns:
        The run folders that were made.

    Raises:
        UserError: there is no run, a zip file is damaged or its stream missing, or a file cannot be written.
    """
    made, root = [], _root(place)
    target = target or root
    for folder in find([place]):
        files, new = RunFiles(folder), target / folder.relative_to(root)
        if not files.is_packed or (new / "config.yaml").exists():
            continue
        contents = {name: files.data(name) for name in files.names()}
        # The settings last: they make it a run folder, which is whole then.
        for name in sorted(contents, key=lambda name: name == "config.yaml"):
            write_bytes(new / Path(name).name, contents[name])
        made.append(new)
    return made


def _root(place: Path) -> Path:
    """The folder itself, or the one that holds it where it is a single run."""
    return place.parent if place.is_file() or (place / "config.yaml").exists() else place


def _zip(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in sorted(contents.items()):
            about = zipfile.ZipInfo(name, EPOCH)
            about.create_system, about.external_attr = 3, 0o644 << 16  # the same bytes on Windows
            archive.writestr(about, data, zipfile.ZIP_DEFLATED, compresslevel=9)
    return out.getvalue()


def _write_once(path: Path, data: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == data):
        write_bytes(path, data)


@click.command("python -m benchmarks.runs.pack")
@click.argument("place", type=click.Path(path_type=Path))
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--unpack", "back", is_flag=True, help="make run folders of packed runs instead")
def main(place: Path, target: Path | None, back: bool) -> None:
    """Pack every finished run at or below PLACE into a zip file below TARGET (default: PLACE, beside the run folder)."""
    try:
        for path in (unpack if back else pack)(place, target):
            print(path)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
