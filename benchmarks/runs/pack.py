"""Packs runs into files, to commit or send them: `python -m benchmarks.runs.pack results/micro`.

A packed run is a zip file next to its run folder: `seed42/` becomes `seed42.zip`, with every csv, json and yaml file
unchanged, without weights and plots. With `--together` all runs of a folder become one file (`shelf.py`): `nusa/` becomes
`nusa.runs.zip.xz`. A run packed without `rank.csv`, the largest table, has `rank_means.csv`, its means over all matrices
after each task. Hundreds of runs may have the same `stream.json`, so it is stored once, in a
folder `streams` above them, named by its sha256. All code that reads run folders also reads packed runs.
"""

import hashlib
import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import click
import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, plain, say
from benchmarks.runs import shelf
from benchmarks.runs.csv_files import numbers_of, table_of
from benchmarks.runs.folder import LEFT_OUT, RANK, RANK_MEANS, STREAM, STREAMS, RunFiles, find, naming_digest
from benchmarks.runs.shapes import about_of
from benchmarks.runtime.files import write_bytes


MATRIX = ("tower", "block", "matrix")  # the columns of rank.csv that name a weight matrix
KINDS = (".csv", ".json", ".yaml")
ESSENTIAL = {"accuracy.csv", "accuracy_agnostic.csv", "config.yaml", "cost.json", "metrics.json", "run.json", STREAM}


def pack(
    place: Path, target: Path | None = None, *, together: bool = False, without: Collection[str] = ()
) -> list[Path]:
    """Packs every finished run at or below a folder, keeps the run folders, and returns the paths of the new files.

    A packed run has the csv, json and yaml files of the run, but no weights or plots. Each different `stream.json` is
    stored once for all runs, in the folder `streams`.

    Args:
        place: a run folder or a folder above some.
        target: the folder for the new files, with the same relative paths as below `place`, and for the folder
            `streams`; None puts them next to the run folders.
        together: whether all runs of a folder become one file, in which runs that are packed there already stay.
        without: names of files to leave out, such as `rank.csv`; readers treat them as not measured.

    Raises:
        UserError: there is no run, one of its files is a link or cannot be read, a file cannot be written (the folder
            `streams` must be no link), runs are too large for one file, a zip file of a run lies beside that file and would
            count before it, or a file is left out without which there is no run.
    """
    if wrong := sorted(ESSENTIAL.intersection(without)):
        raise UserError(f"--without {wrong[0]}: a run cannot be read without it")
    packed, root = [], _root(place)
    shelves: dict[Path, dict[str, dict[str, bytes]]] = {}
    target = target or root
    finished = [files for files in map(RunFiles, _found(place)) if about_of(files)["status"] == "finished"]
    if without and finished:
        there = {name for files in finished for name in (*files.names(), *files.left_out())}
        if unknown := sorted({*without} - there):
            say(f"note: --without {','.join(unknown)}: no run there has a file of that name")
        without = {*without} & there
    for files in finished:
        folder = files.folder
        contents = _contents(files, target, without)
        new = target / folder.relative_to(root)
        if together:
            if (beside := RunFiles(new).archive).is_file() and not (files.is_packed and files.archive == beside):
                raise UserError(f"{beside}: a packed run, which counts before what is packed together; delete it first")
            # `pack results/nusa TARGET` writes TARGET/nusa.runs.zip.xz, not a file beside the target.
            inside = new.parent == target and target != root
            above = target / Path(os.path.abspath(folder)).parent.name if inside else new.parent
            shelves.setdefault(shelf.of(above), {})[new.name] = contents
        else:
            packed.append(RunFiles(new).archive)
            _write_once(packed[-1], shelf.zipped(dict(sorted(contents.items()))))
    for path, runs in shelves.items():
        before = shelf.runs(path) if path.is_file() else {}
        _write_once(path, shelf.packed({**before, **runs}, path))
    return [*packed, *shelves]


def _contents(files: RunFiles, target: Path, without: Collection[str]) -> dict[str, bytes]:
    """Returns the files to pack of a run by their names; its `stream.json` is written into the target's `streams`."""
    names = [name for name in files.names() if name.endswith(KINDS) and name not in without]
    if links := [name for name in names if not files.is_packed and (files.folder / name).is_symlink()]:
        raise UserError(f"{files.at(links[0])}: a link, which is not packed; put the file itself there")
    found = {name: files.data(name) for name in names}
    if STREAM in found:
        digest = hashlib.sha256(found[STREAM]).hexdigest()
        _refuse_links(target / STREAMS, target)
        _write_once(target / STREAMS / f"{digest}.json", found[STREAM])
        found[STREAM] = naming_digest(digest)
    if RANK in without and files.has(RANK):
        with suppress(UserError):  # of a table that is damaged there are none
            found[RANK_MEANS] = _means_by_state(files).encode()
    if without:
        found[LEFT_OUT] = json.dumps(sorted({*without, *filter(files.lacks, files.left_out())})).encode()
    return found


def _means_by_state(files: RunFiles) -> str:
    """A csv text with a row for each state of `rank.csv`: the means of its numbers over all matrices; empty where there are
    none.
    """
    header, rows = table_of(files, RANK, ("after", *MATRIX))
    names = ["after", *(name for name in header if name not in ("after", *MATRIX))]
    fields = [[row[header.index(name)] for name in names] for row in rows]
    numbers = numbers_of(fields, files, RANK, len(names))  # (rows, columns)
    made = [",".join(names)]
    for after in dict.fromkeys(numbers[:, 0].tolist()):
        columns = numbers[numbers[:, 0] == after].T
        known = [column[~np.isnan(column)] for column in columns]
        made.append(",".join(f"{each.mean():.6g}" if len(each) else "" for each in known))
    return "\n".join(made) + "\n"


def unpack(place: Path, target: Path | None = None) -> list[Path]:
    """Makes a run folder of every packed run at or below a folder, and returns the new run folders.

    Args:
        place: a packed run, a file of several, or a folder above some.
        target: the folder for the run folders, with the same relative paths as below `place`; None puts each next to
            what it was packed in. Existing run folders are not changed.

    Raises:
        UserError: there is no run, a file is damaged, the run's `stream.json` is not in a folder `streams` above
            it, a folder to write into is a link, or a file cannot be written.
    """
    made, root = [], _root(place)
    target = target or root
    for folder in _found(place):
        files, new = RunFiles(folder), target / folder.relative_to(root)
        if not files.is_packed or (new / "config.yaml").exists():
            continue
        _refuse_links(new, target)
        contents = {name: files.data(name) for name in files.names() if name.endswith(KINDS)}
        # The settings last, since they mark the folder as a complete run folder.
        for name in sorted(contents, key=lambda name: name == "config.yaml"):
            write_bytes(new / name, contents[name])
        made.append(new)
    return made


def _refuse_links(folder: Path, target: Path) -> None:
    """Raises UserError if a folder, or one above it in the target, is a link: a stranger's packed runs go nowhere else."""
    for each in (folder, *folder.parents):
        if each == target:
            return
        if each.is_symlink():
            raise UserError(f"{each}: a link, through which nothing is written; name another target folder")


def _found(place: Path) -> list[Path]:
    found = find([place])
    if found.remark:
        say(f"note: {found.remark}")
    return found.folders


def _root(place: Path) -> Path:
    """Returns the folder itself, or its parent if it is a single run."""
    single = place.is_file() or (place / "config.yaml").exists() or RunFiles(place).is_packed
    return place.parent if single else place


def _write_once(path: Path, data: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == data):
        write_bytes(path, data)


@click.command("python -m benchmarks.runs.pack", cls=Command)
@click.argument("place", type=click.Path(path_type=Path))
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--unpack", "back", is_flag=True, help="make run folders from packed runs instead")
@click.option("--together", is_flag=True, help="one file for all runs of a folder, half as large")
@click.option("--without", metavar="NAME,...", default="", help="leave out these files, such as rank.csv,spectrum.csv")
def main(place: Path, target: Path | None, back: bool, together: bool, without: str) -> None:
    """Pack every finished run at or below PLACE, below TARGET (default: next to the run folder): each run into a zip file,
    or with --together all runs of a folder into one file.

    With --unpack, make a run folder of every packed run instead.
    """
    if back and (together or without):
        raise UserError(f"--unpack: goes without --{'together' if together else 'without'}")
    names = {name.strip() for name in without.split(",") if name.strip()}
    for path in unpack(place, target) if back else pack(place, target, together=together, without=names):
        print(plain(str(path)))


if __name__ == "__main__":
    main()
