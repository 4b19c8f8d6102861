"""Lists the subfolders and image files of a folder, and says what else is there and may have been meant to count."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.images.sets import Images
from benchmarks.runtime.files import fingerprint


# Of the formats of pictures that Pillow reads by itself; not of films, vector graphics and data.
ENDINGS = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg",
    ".jpx", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
KINDS = 5  # that a line names
ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst")
NO_PICTURES = ("__macosx", "desktop.ini", "thumbs.db")  # of the systems' own, in lower case


def shown(path: Path) -> str:
    """Returns a path as printable text, even if its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _scan(folder: Path, of_kind: Callable[[os.DirEntry[str]], bool]) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder that `of_kind` accepts, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if of_kind(entry)]
    except OSError as error:
        raise UserError(f"{shown(folder)}: cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda entry: entry.name)


def _check_link(entry: os.DirEntry[str]) -> None:
    """Raises UserError for a symbolic link that is broken, or that leads to a folder above itself, which would never
    end.
    """
    path = Path(entry.path)
    try:
        path.stat()
    except OSError as error:
        raise UserError(f"{shown(path)}: a link that leads nowhere ({error.strerror}); mend or delete it") from error
    here = Path(os.path.realpath(path.parent))
    if Path(os.path.realpath(path)) in (here, *here.parents):
        raise UserError(f"{shown(path)}: a link up the tree, to a folder that it lies in; delete it")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if _is_hidden(entry):
        return False
    if entry.is_symlink():
        _check_link(entry)
    return entry.name.lower() not in NO_PICTURES and entry.is_dir()


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _is_picture(entry: os.DirEntry[str]) -> bool:
    if _is_hidden(entry) or not entry.name.lower().endswith(ENDINGS):
        return False
    if entry.is_symlink():
        _check_link(entry)
    return entry.is_file()


def folders(folder: Path) -> list[str]:
    """Returns the names of the folders that lie directly in a folder, sorted, including symbolic links to folders.

    Hidden folders (with a leading dot) are passed over.

    Args:
        folder: the folder to look into.

    Raises:
        UserError: the folder cannot be read, a link is broken or leads up the tree, or a name is no UTF-8.
    """
    found = _scan(folder, _is_folder)
    for entry in found:
        if os.fsencode(entry.name).decode("utf-8", "replace") != entry.name:
            raise UserError(f"{shown(Path(entry.path))}: the folder's name is no UTF-8 text; rename it")
    return [entry.name for entry in found]


def pictures(folder: Path) -> list[Path]:
    """Returns the paths of the image files in a folder, sorted by name; its subfolders are not looked into.

    They are recognised by their ending, such as `.jpg` or `.png` (`ENDINGS` lists all), in upper or lower case. Hidden
    files are passed over.

    Args:
        folder: the folder to look into.

    Raises:
        UserError: the folder cannot be read, or a symbolic link with such an ending leads nowhere.
    """
    return [Path(entry.path) for entry in _scan(folder, _is_picture)]


def others(folder: Path) -> list[Path]:
    """Returns the paths in a folder that `pictures` passes over and that may be meant to count, sorted by name.

    They are other files, folders, hidden files with an image's ending, and hidden folders with such files; not other
    hidden ones, and not what macOS and Windows put into every folder.

    Args:
        folder: the folder to look into.

    Raises:
        UserError: the folder cannot be read.
    """
    return [Path(entry.path) for entry in _scan(folder, lambda entry: _may_count(entry) and not _is_picture(entry))]


def beside(folder: Path) -> list[Path]:
    """Returns the paths in a folder of folders that may be meant to count, sorted by name: image files and archives,
    hidden files with an image's ending, and hidden folders with such files.

    Args:
        folder: the folder to look into.

    Raises:
        UserError: the folder cannot be read.
    """

    def is_stray(entry: os.DirEntry[str]) -> bool:
        stray = _is_hidden(entry) or entry.name.lower().endswith((*ENDINGS, *ARCHIVES))
        return stray and _may_count(entry) and not _is_folder(entry)

    return [Path(entry.path) for entry in _scan(folder, is_stray)]


def _may_count(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry, used or not, may be an image or hold some."""
    if entry.name.lower() in NO_PICTURES or entry.name.startswith("._"):  # which macOS adds for each file
        return False
    if not _is_hidden(entry) or entry.name.lower().endswith(ENDINGS):
        return True
    try:
        return entry.is_dir() and any(name.lower().endswith(ENDINGS) for name in os.listdir(entry.path))
    except OSError:
        return True


def say_passed_over(root: Path, over: Sequence[Path]) -> None:
    """Prints a line on stderr that counts by kind what is not used of a folder of images, and names the first; nothing
    if there is nothing.

    Args:
        root: the folder.
        over: the paths that are not used, as `others` and `beside` return them.
    """
    if over:
        kinds = Counter(_kind(path) for path in over).most_common()
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds[:KINDS])
        more = f" and other kinds ({sum(count for _, count in kinds[KINDS:])})" if len(kinds) > KINDS else ""
        say(f"passed over in {shown(root)}: {listed}{more}, the first {shown(over[0])}")


def _kind(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "folders"
    if not path.is_file():
        return "links that lead nowhere" if path.is_symlink() else "no plain files"
    return path.suffix.lower() or "no ending"


def of_files(name: str, files: Sequence[Path], root: Path) -> Images:
    """Returns image files as `Images`, one image for each file; nothing is decoded yet.

    Args:
        name: the name of the images, for messages and the cache.
        files: the paths of the files; their order is that of the images.
        root: a folder that contains all files. The cache finds decoded images again by the paths below it, so the files
            can be moved together with this folder.
    """
    return Images(
        name=name,
        count=len(files),
        read=lambda row: Image.open(files[row]),
        where=lambda row: shown(files[row]),
        fingerprint=partial(fingerprint, root, files),
    )
