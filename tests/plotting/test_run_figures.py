"""Run folders as the record writes them, drawn by the plots."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks.comparison.groups import alone
from benchmarks.runs.read import read
from plotting import matrix, null, rank, style
from plotting.__main__ import main
from plotting.draw import draw_all
from plotting.found import OF_RUN, find
from tests.run_folders import RANK, rank_rows, write_csv, write_run


PLOTS = find(OF_RUN)
TASKS = "Aircraft,Caltech101,CIFAR100,DTD,EuroSAT,Flowers,Food,MNIST,OxfordPet,StanfordCars,SUN397"


def names(tasks: int) -> list[str]:
    """T different task names: the eleven data sets, then parts of data sets with long names."""
    return [
        *TASKS.split(","),
        *(f"industrial buildings or commercial buildings, part {part}" for part in range(tasks)),
    ][:tasks]


def accuracy_rows(tasks: int, done: int, trained: bool) -> list[list[object]]:
    """States 0..done: each task jumps when it is learned and fades after, or never moves when nothing is trained."""
    chance = np.random.default_rng(tasks)
    zero_shot, learned = chance.uniform(20, 70, tasks), chance.uniform(70, 100, tasks)
    rows: list[list[object]] = []
    for after in range(done + 1):
        turn = np.arange(1, tasks + 1)
        moved = np.where(after >= turn, learned - (after - turn), zero_shot - 0.5 * after)
        rows.append([after, *(moved if trained else zero_shot)])
    return rows


def make_run(folder: Path, tasks: int, done: int | None = None, trained: bool = True) -> Path:
    """A run folder with the states 0..done of a stream of T tasks (all of them unless told)."""
    done = tasks if done is None else done
    write_run(folder, np.zeros((tasks + 1, tasks)), names(tasks), status="finished" if done == tasks else "running")
    for name in ("accuracy.csv", "accuracy_agnostic.csv", "accuracy_seen.csv"):
        write_csv(folder / name, ["after", *names(tasks)], accuracy_rows(tasks, done, trained))
    write_csv(folder / "rank.csv", RANK.split(","), rank_rows(done, trained))
    return folder


def drawn(figure: Figure) -> list[Text]:
    """Every text that a reader sees; matplotlib also keeps tick labels beyond the ends of an axis."""
    with style.paper():
        FigureCanvasAgg(figure).draw()
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                beyond |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text not in beyond]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def overlapping(texts: list[Text]) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than a pixel."""
    boxes = np.array([text.get_window_extent().extents for text in texts])
    left, bottom, right, top = boxes.T[:, :, None]
    wide = np.minimum(right, right.T) - np.maximum(left, left.T) > 1
    high = np.minimum(top, top.T) - np.maximum(bottom, bottom.T) > 1
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in np.argwhere(np.triu(wide & high, k=1))]


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    ("tasks", "done"), [(1, 0), (1, 1), (3, 3), (11, 11), pytest.param(33, 33, marks=pytest.mark.slow)]
)
def test_labels_are_readable_and_apart(tmp_path: Path, plot: str, tasks: int, done: int) -> None:
    figure = PLOTS[plot](read(make_run(tmp_path / "run", tasks, done)))
    texts = drawn(figure)
    assert overlapping(texts) == []
    assert all(float(text.get_fontsize()) >= 7 for text in texts)
    width, height = figure.bbox.size
    for text in texts:
        left, bottom, right, top = text.get_window_extent().extents
        assert left >= -1 and bottom >= -1 and right <= width + 1 and top <= height + 1, text
    if tasks == 33 and plot in ("matrix", "matrix_agnostic", "curves"):
        labels = {" ".join(text.get_text().split()) for text in texts}
        assert {f"{number} {name}" for number, name in enumerate(names(33), start=1)} <= labels  # in full


def test_unmeasured_cells_stay_blank(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 11, done=4)
    whole = read(run)
    assert len(matrix.of_run(whole).axes[0].texts) == 5 * 11
    lines = (run / "accuracy.csv").read_text().splitlines()
    lines[1] = "0," + "," * 10
    (run / "accuracy.csv").write_text("\n".join(lines) + "\n")
    assert len(matrix.of_run(read(run)).axes[0].texts) == 4 * 11


def test_matrix_shows_the_numbers_of_the_file(tmp_path: Path) -> None:
    run = read(make_run(tmp_path / "run", 2))
    shown = [text.get_text() for text in matrix.of_run(run).axes[0].texts]
    assert shown == [f"{percent:.1f}" for percent in run.accuracy["known"].flat]


def test_rank_draws_the_mean_over_matrices(tmp_path: Path) -> None:
    run = read(make_run(tmp_path / "run", 3))
    image_share = rank.figure(alone(run)).axes[0].lines[0].get_ydata()
    chosen = run.rank[run.rank["tower"] == "image"]
    expected = [100 * chosen.loc[chosen["after"] == after, "energy_share"].mean() for after in range(4)]
    assert image_share == pytest.approx(expected)


def test_null_draws_the_fullest_block_of_each_kind(tmp_path: Path) -> None:
    run = read(make_run(tmp_path / "run", 3))
    text_fewest = null.of_run(run).axes[3].lines
    chosen = run.rank[(run.rank["tower"] == "text") & (run.rank["after"] == 3)]
    expected = [chosen.loc[chosen["matrix"] == kind, "null_directions"].min() for kind in "qkvo"]
    assert [np.asarray(line.get_ydata())[-1] for line in text_fewest] == expected


@pytest.mark.parametrize(
    "shape",
    [{"tasks": 1}, {"tasks": 2, "done": 0}, {"tasks": 3, "done": 1}, {"tasks": 2, "trained": False}],
)
def test_draws_every_figure_of_any_run(tmp_path: Path, shape: dict) -> None:
    run = make_run(tmp_path / "run", **shape)
    written = draw_all(run)
    assert sorted(written) == sorted((run / "plots").iterdir())
    assert {path.stem for path in written} == {"matrix", "matrix_agnostic", "curves", "rank", "null", "history"}
    assert {path.suffix for path in written} == {".png", ".svg"}


def test_a_tower_or_every_matrix_may_be_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 2)
    header, *rows = (run / "rank.csv").read_text().splitlines()
    for kept in ([row for row in rows if ",text," in row], []):
        (run / "rank.csv").write_text("\n".join([header, *kept]) + "\n")
        assert draw_all(run)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw_all(make_run(tmp_path / "one", 3))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}):
        second = draw_all(make_run(tmp_path / "two", 3))
    for left, right in zip(first, second, strict=True):
        assert left.read_bytes() == right.read_bytes(), left.name


def test_letters_that_no_font_has_are_said_once_and_drawn_as_boxes(tmp_path: Path) -> None:
    assert style.missing_letters(["ants", "жуки\n", "\U000103a0 \U000103a0"]) == "\U000103a0"  # Old Persian
    drawing = Figure((1, 1))
    drawing.text(0, 0, "\U000103a0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(drawing, tmp_path / "boxes.png")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_command_draws_each_folder(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, 1) for name in ("one", "two")]
    result = command(*runs)
    assert result.exit_code == 0
    written = [str(path) for run in runs for path in (run / "plots").iterdir()]
    assert sorted(result.stdout.split()) == sorted(written)


def test_command_goes_on_after_a_bad_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = make_run(tmp_path / "good", 1)
    result = command(tmp_path / "nowhere", tmp_path / "empty", good)
    assert result.exit_code == 2
    missing, no_run = result.stderr.splitlines()
    assert missing.startswith("error: ") and "nowhere: no such folder" in missing
    assert no_run.startswith("error: ") and "is not a run folder: it has no accuracy.csv" in no_run
    assert (good / "plots" / "matrix.png").is_file()


@pytest.mark.parametrize(
    ("name", "broken", "complaint"),
    [
        ("accuracy.csv", lambda text: "", "empty"),
        ("accuracy.csv", lambda text: text[:-1], "cut short"),
        ("accuracy.csv", lambda text: text[: text.rindex(",")], "row 5 has 3 fields, the header 4"),
        ("accuracy.csv", lambda text: text[: text.rindex(",")] + "\n", "row 5 has 3 fields, the header 4"),
        ("accuracy.csv", lambda text: text.replace("after", "task"), "no column after"),
        ("accuracy.csv", lambda text: text.replace("\n1,", "\n1,x"), "could not convert string to float: 'x"),
        ("accuracy.csv", lambda text: text.replace("\n1,", "\n0,"), "each of 0 to 3 at most once"),
        ("accuracy.csv", lambda text: text.replace("\n3,", "\n4,"), "each of 0 to 3 at most once"),
        ("accuracy.csv", lambda text: "after\n0\n", "no task"),
        ("accuracy_agnostic.csv", lambda text: text[:-5], "cut short"),
        ("rank.csv", lambda text: text.replace("null_directions", "null"), "no column null_directions"),
        ("rank.csv", lambda text: text.replace(",text,", ",txt,"), "unknown tower 'txt'; known are image, text"),
        ("rank.csv", lambda text: text.replace(",o,", ",out,"), "unknown matrix 'out'"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, broken: Callable[[str], str], complaint: str) -> None:
    run = make_run(tmp_path / "run", 3)
    file = run / name
    file.write_text(broken(file.read_text()))
    result = command(run)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {file}: ") and complaint in line


def test_binary_is_not_csv(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 2)
    (run / "rank.csv").write_bytes(b"\xff\xfe\x00")
    assert "not a csv file" in command(run).stderr


def test_a_plot_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1)
    (run / "plots").write_text("in the way")
    result = command(run)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "plots" in line


def test_names_are_taken_as_they_are(tmp_path: Path) -> None:
    strange = ["after", "$\\alpha_1$", 'commas, "quotes"']
    run = make_run(tmp_path / "run", 3)
    for name in ("accuracy.csv", "accuracy_agnostic.csv", "accuracy_seen.csv"):
        write_csv(run / name, ["after", *strange], accuracy_rows(3, done=3, trained=True))
    labels = {text.get_text() for text in drawn(matrix.of_run(read(run)))}
    assert {f"{number} {name}" for number, name in enumerate(strange, start=1)} <= labels
    assert draw_all(run)


def test_needs_neither_torch_nor_pyplot() -> None:
    heavy = "torch", "avalanche", "matplotlib.pyplot"
    code = f"import sys, plotting.__main__; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
