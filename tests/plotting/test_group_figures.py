"""The commands `python -m plotting.NAME`: figures of many runs, for 1 to 33 tasks and 1 to 15 methods."""

import importlib
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure

from benchmarks.comparison import costs
from benchmarks.comparison.groups import Group
from benchmarks.comparison.sorting import sort
from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.runs.folder import find
from benchmarks.runs.read import read
from plotting import compare, cost, curves, frontier, history, interference, rank, spectrum, style
from tests.plotting.test_run_figures import drawn, names, overlapping
from tests.run_folders import RANK, rank_rows, write_csv, write_run


# This project's own methods before Avalanche's.
STRATEGIES = sorted(registry.names("strategy"), key=lambda name: ":" in name)
FIGURES = {
    "rank": rank.figure, "curves": curves.figure, "compare": compare.figure, "interference": interference.figure,
    "spectrum": spectrum.figure, "history": history.figure, "cost": cost.figure,
    "rank --by-block": lambda group, width: rank.by_block(group.methods[0], width),
}  # fmt: skip


def write_spectrum(run: Path, tasks: int) -> None:
    """Singular values that fall by a factor, and are a quarter larger after the stream."""
    rows: list[list[object]] = []
    for after in (0, tasks):
        for tower, dim in (("image", 8), ("text", 6)):
            for matrix in "qkvo":
                values = [f"{(1.25 if after else 1) * 0.5**place:.6g}" for place in range(dim)]
                rows.append([after, tower, 0, matrix, *values, *[""] * (8 - dim)])
    write_csv(run / "spectrum.csv", ["after", "tower", "block", "matrix", *map(str, range(1, 9))], rows)


def write_history(run: Path, tasks: int, seed: int = 0) -> None:
    """A loss that falls from 2 + seed to 1 + seed over four steps of each task, half of it added by the method."""
    rows: list[list[object]] = []
    for task in range(1, tasks + 1):
        for place, step in enumerate((10, 20, 30, 34)):
            loss = 2 + seed - place / 3
            rows.append([task, step, loss, loss / 2, loss / 2, 0.001])
    write_csv(run / "history.csv", ["task", "step", "loss", "cross_entropy", "added", "lr"], rows)


def make_group(root: Path, tasks: int, methods: int, seeds: int = 2) -> Group:
    """The first methods of the list, two seeds each; the last one stores most."""
    chance = np.random.default_rng(tasks)
    for number, strategy in enumerate(STRATEGIES[:methods]):
        for seed in range(seeds):
            states = chance.uniform(20, 90, (tasks + 1, tasks))
            carried = [number * 10_000_000] * tasks
            run = write_run(
                root / strategy / str(seed), states, names(tasks), strategy, seed, cost={"carried_bytes": carried}
            )
            write_spectrum(run, tasks)
            write_history(run, tasks, seed)
    (group,) = sort(find([root]).folders).groups
    return group


EXTREMES = [(1, 1, style.COLUMN), (11, 15, style.PAGE)]
ALL = product((1, 11, 33), (1, 15), (style.COLUMN, style.PAGE))
BETWEEN = [pytest.param(*each, marks=pytest.mark.slow) for each in ALL if each not in EXTREMES]


@pytest.mark.parametrize(("tasks", "methods", "width"), [*EXTREMES, *BETWEEN])
def test_labels_are_readable_and_apart(tmp_path: Path, tasks: int, methods: int, width: float) -> None:
    group = make_group(tmp_path, tasks, methods)
    for name, make in FIGURES.items():
        figure = make(group, width)
        texts = drawn(figure)
        assert overlapping(texts) == [], name
        right, top = figure.bbox.size
        for text in texts:
            x0, y0, x1, y1 = text.get_window_extent().extents
            assert x0 >= -1 and y0 >= -1 and x1 <= right + 1 and y1 <= top + 1, (name, text)
        assert figure.get_figwidth() == width
        if name != "rank --by-block":
            shown = " ".join(" ".join(text.get_text() for text in texts).split())  # names may be broken into lines
            assert all(method.label in shown for method in group.methods), name


def lines(figure: Figure, axes: int) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[axes].lines}


def test_rank_draws_the_mean_over_matrices_and_seeds(tmp_path: Path) -> None:
    group = make_group(tmp_path, 3, 2)
    drawn_lines = lines(rank.figure(group), 0)
    table = group.methods[0].runs[0].rank
    chosen = table[table["tower"] == "image"]
    expected = [100 * chosen.loc[chosen["after"] == after, "energy_share"].mean() for after in range(4)]
    assert drawn_lines[group.methods[0].label] == pytest.approx(expected)


def test_curves_draw_the_means_over_tasks_learned_and_to_come(tmp_path: Path) -> None:
    states = np.array([[10.0, 20, 30], [50, 26, 32], [48, 60, 34], [46, 58, 70]])
    for seed in (0, 1):
        write_run(tmp_path / str(seed), states + 2 * seed, names(3), seed=seed)
    (group,) = sort(find([tmp_path]).folders).groups
    figure = curves.figure(group)
    assert lines(figure, 0)["NuSA-CL"][1:] == pytest.approx([51, 55, 59])
    assert lines(figure, 1)["NuSA-CL"][:3] == pytest.approx([21, 30, 35])


def test_interference_against_what_was_forgotten_in_each_task(tmp_path: Path) -> None:
    states = np.array([[10.0, 20, 30], [50, 26, 32], [48, 60, 34], [44, 58, 70]])
    run = read(write_run(tmp_path / "run", states, names(3)))
    touched, forgotten = interference.of_steps(run)
    assert forgotten == pytest.approx([2, (4 + 2) / 2])
    table = run.rank[run.rank["after"] == 2]
    assert touched[0] == pytest.approx(table["interference"].mean())


def test_spectrum_draws_the_values_of_the_file(tmp_path: Path) -> None:
    group = make_group(tmp_path, 3, 1)
    drawn_lines = lines(spectrum.figure(group), 1)
    assert drawn_lines["before any training"] == pytest.approx([0.5**place for place in range(6)], rel=1e-4)
    assert drawn_lines[group.methods[0].label] == pytest.approx([1.25 * 0.5**place for place in range(6)], rel=1e-4)


def test_history_draws_the_mean_over_runs_of_each_task(tmp_path: Path) -> None:
    group = make_group(tmp_path, 3, 2)
    figure = history.figure(group)
    for task in range(3):
        found = lines(figure, task)[group.methods[1].label]
        assert found == pytest.approx([(2.5 - place / 3) / 2 for place in range(4)])
    own = lines(history.of_run(group.runs[0]), 2)
    assert own["loss"] == pytest.approx(2 * own["added by the method"]) and len(own["loss"]) == 4


def test_methods_and_runs_with_nothing_to_draw_are_named_in_the_legend_the_caption_and_a_line(tmp_path: Path) -> None:
    group = make_group(tmp_path / "runs", 3, 3)
    some, none, _ = (method.runs for method in group.methods)
    for run in (some[0], *none):
        (run.folder / "spectrum.csv").unlink()
    write_csv(none[1].folder / "rank.csv", RANK.split(","), [])
    one, two, three = (method.label for method in group.methods)
    result = run_command("spectrum", tmp_path / "runs", "-o", tmp_path / "x.png")
    lost = f"not drawn (1 of 2 runs: no spectrum.csv): {one}; not drawn (no spectrum.csv): {two}"
    assert result.exit_code == 0 and result.stderr.splitlines() == [f"note: {lost}"]
    result = run_command("rank", tmp_path / "runs", "-o", tmp_path / "x.png")
    assert result.stderr.splitlines() == [f"note: not drawn (1 of 2 runs: no rank measured): {two}"]

    (group,) = sort(find([tmp_path / "runs"]).folders).groups
    drawn_lines = lines(spectrum.figure(group), 0)
    assert len(drawn_lines[f"{one} (1 of 2 runs: no spectrum.csv)"]) == len(drawn_lines[three]) == 8
    assert len(drawn_lines[f"{two} (no spectrum.csv)"]) == 0
    (captioned,) = spectrum.in_report(group)
    assert captioned.caption.endswith(f" N{lost[1:]}.")
    ranks = lines(rank.figure(group), 0)[f"{two} (1 of 2 runs: no rank measured)"]
    assert not np.isnan(ranks).any()  # the mean over the runs that have some


def test_a_spectrum_cut_at_a_line_or_of_another_model_is_no_traceback(tmp_path: Path) -> None:
    group = make_group(tmp_path / "runs", 3, 1)
    first, second = (run.folder / "spectrum.csv" for run in group.runs)
    whole = first.read_text()
    first.write_text("".join(whole.splitlines(keepends=True)[:5]))  # before the stream alone
    result = run_command("spectrum", tmp_path / "runs", "-o", tmp_path / "x.png")
    assert result.exit_code == 0 and "1 of 2 runs: spectrum.csv in part" in result.stderr
    first.write_text(whole)
    header, *rows = whole.splitlines()
    second.write_text("\n".join([header, *(",".join([*row.split(",")[:-6], *[""] * 6]) for row in rows)]) + "\n")
    result = run_command("spectrum", tmp_path / "runs", "-o", tmp_path / "x.png")
    assert result.exit_code == 2 and "matrices of another size" in result.stderr
    with pytest.raises(UserError, match=r"no run there has a spectrum\.csv"):
        spectrum.mean_values((), "image", 0)


def test_a_method_that_did_not_run_in_every_order_is_named_and_no_bar_is_not_a_bar_of_zero(tmp_path: Path) -> None:
    for order, tasks in (("I", ["one", "two"]), ("II", ["two", "one"])):
        write_run(tmp_path / f"nusa{order}", np.full((3, 2), 50.0), tasks, order=order)
    write_run(tmp_path / "lora", np.full((3, 2), 40.0), ["one", "two"], "lora", order="I")
    (group,) = sort(find([tmp_path]).folders).groups
    figure = compare.figure(group)
    bars = [text.get_text() for axes in figure.axes[1:] for text in axes.texts]
    assert bars == [" – not run in every order", " –", " –"]
    result = run_command("compare", tmp_path, "-o", tmp_path / "x.png")
    assert result.stderr.splitlines() == ["note: not drawn (not run in every order): LoRA"]


def test_a_method_looks_the_same_whoever_is_beside_it_and_no_two_look_alike(tmp_path: Path) -> None:
    few, many = make_group(tmp_path / "few", 1, 3), make_group(tmp_path / "many", 1, 15)
    found = [
        dict(zip([m.label for m in group.methods], style.looks(group.methods), strict=True)) for group in (few, many)
    ]
    assert all(found[1][label] == look for label, look in found[0].items())
    about = [registry.about(name) for name in registry.names("strategy")]
    assert len({(each.colour, each.marker) for each in about}) == len({each.name for each in about}) == len(about)
    write_run(tmp_path / "own" / "a", np.ones((2, 1)), ["one"], "nusa", rank=1)
    write_run(tmp_path / "own" / "b", np.ones((2, 1)), ["one"], "nusa", rank=2)
    (own,) = sort(find([tmp_path / "own"]).folders).groups
    first, second = style.looks(own.methods)
    assert first.colour == second.colour and first.dash != second.dash


def test_the_front_of_the_costs_has_what_none_beats_and_neither_zero_shot_nor_joint(tmp_path: Path) -> None:
    """Storage in MB and Avg: SI is beaten by LoRA, EWC is the best, NuSA-CL stores nothing."""
    places = {"nusa": (0, 40), "lora": (1, 50), "avalanche:si": (2, 45), "avalanche:ewc": (900, 60), "joint": (3, 90)}
    for (strategy, (stored, avg)), seed in product(places.items(), (1, 2)):
        states = np.full((3, 2), avg + 2.0 * seed - 3)
        spent = {"carried_bytes": [stored * 1_000_000] * 2}
        spent |= {"trained_parameters": [1000, 0]} if strategy == "joint" else {}  # all at once
        write_run(tmp_path / f"{strategy}{seed}", states, ["a", "b"], strategy, seed, cost=spent)
    write_run(tmp_path / "zero", np.full((3, 2), 55.0), ["a", "b"], "zeroshot", cost={"trained_parameters": [0, 0]})
    (group,) = sort(find([tmp_path]).folders).groups
    best = costs.pareto(costs.points(group, costs.BY_KEY["storage"]))
    assert [(point.method.strategy, point.cost.mean, point.accuracy.mean) for point in best] == [
        ("nusa", 0, 40),
        ("lora", 1e6, 50),
        ("avalanche:ewc", 9e8, 60),
    ]
    (axes,) = cost.figure(group, cost="storage").axes
    assert axes.get_xscale() == "symlog" and "not drawn (no Avg): Joint" in axes.get_title()
    (step,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert np.asarray(step.get_xydata())[:3].tolist() == [[0, 40], [1e6, 50], [9e8, 60]]
    assert cost.figure(group, cost="peak_memory").axes[0].get_xscale() == "linear"
    result = run_command("cost", tmp_path, "--cost", "storage", "-o", tmp_path / "x.svg")
    assert result.exit_code == 0 and result.stderr == "note: not drawn (no Avg): Joint\n"
    assert "the most bytes kept from one task to the next besides the model" in (tmp_path / "x.txt").read_text()


def run_command(name: str, *arguments: object) -> Result:
    command = importlib.import_module(f"plotting.{name}").main
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["rank", "curves", "compare", "interference", "spectrum"])
def test_the_commands_write_png_svg_and_pdf(tmp_path: Path, name: str) -> None:
    make_group(tmp_path / "runs", 2, 2)
    for suffix, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        result = run_command(name, tmp_path / "runs", "-o", tmp_path / f"out.{suffix}", "--width", "column")
        assert result.exit_code == 0, result.stderr
        assert (tmp_path / f"out.{suffix}").read_bytes().startswith(magic)
        assert result.stdout.split() == [str(tmp_path / f"out.{suffix}"), str(tmp_path / "out.txt")]
    (caption,) = (tmp_path / "out.txt").read_text().splitlines()
    assert "Stream micro, 2 tasks" in caption and "order default; 2 methods with 2 runs each, seeds 0 and 1." in caption


def inches(file: Path) -> tuple[float, float]:
    """Width and height of what is written."""
    content = file.read_bytes()
    if file.suffix == ".png":
        width, height = (int.from_bytes(content[place : place + 4], "big") / 200 for place in (16, 20))
    elif file.suffix == ".svg":
        width, height = (float(each) / 72 for each in re.findall(rb'(?:width|height)="([\d.]+)pt"', content)[:2])
    else:
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
        width, height = (float(each) / 72 for each in box)
    return max(width, height), min(width, height)


@pytest.mark.parametrize("name", ["rank", "curves", "compare", "cost", "interference", "spectrum", "history", "matrix"])
def test_a_figure_fills_a_slide_with_larger_letters_in_every_format(tmp_path: Path, name: str) -> None:
    make_group(tmp_path / "runs", 5, 3)
    place = tmp_path / "runs" / STRATEGIES[0] / "0" if name == "matrix" else tmp_path / "runs"
    sizes = []
    for form in ("png", "svg", "pdf"):
        result = run_command(name, place, "-o", tmp_path / "v1.5", "--format", form, "--size", "slide")
        assert result.exit_code == 0, result.stderr
        sizes.append(inches(tmp_path / f"v1.5.{form}"))
    assert all(size == pytest.approx(sizes[0], abs=0.02) for size in sizes)
    width, height = sizes[0]
    assert 10 < width <= 13.34 and height <= 7.51 and (tmp_path / "v1.5.txt").is_file()


def test_a_font_of_the_readers_choice_is_in_the_file_and_wide_letters_stay_apart(tmp_path: Path) -> None:
    group = make_group(tmp_path / "runs", 2, 15)
    for font in ("DejaVu Serif", "DejaVu Sans Mono"):
        result = run_command("rank", tmp_path / "runs", "-o", tmp_path / "x.pdf", "--font", font)
        assert result.exit_code == 0, result.stderr
        assert font.replace(" ", "").encode() in (tmp_path / "x.pdf").read_bytes()
        with style.font(font):
            assert overlapping(drawn(rank.figure(group))) == []
    assert style.fonts()[0] == style.FONT


def test_a_caption_replaces_a_link_and_names_no_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "run", np.ones((2, 1)), ["one"], stream="folder:/home/somebody/birds")
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "x.txt").symlink_to(tmp_path / "kept")
    assert run_command("rank", tmp_path / "run", "-o", tmp_path / "x.png").exit_code == 0
    caption = (tmp_path / "x.txt").read_text()
    assert (tmp_path / "kept").read_text() == "mine" and not (tmp_path / "x.txt").is_symlink()
    assert "Stream folder:birds, 1 tasks" in caption and "somebody" not in caption
    assert "Band: the quartiles over matrices." in caption and "one method with one run" in caption


def test_the_matrix_of_a_run_and_the_difference_of_two(tmp_path: Path) -> None:
    states = np.array([[10.0, 20], [50, 26], [48, 60]])
    first = write_run(tmp_path / "a", states, ["one", "two"])
    second = write_run(tmp_path / "b", states - 1.5, ["one", "two"], seed=1)
    third = write_run(tmp_path / "c", states, ["one", "three"])
    assert run_command("matrix", first, "-o", tmp_path / "one.svg").exit_code == 0
    assert run_command("matrix", first, second, "-o", tmp_path / "two.svg", "--identity", "unknown").exit_code == 0
    figure = importlib.import_module("plotting.matrix").difference(read(first), read(second), "known")
    assert {text.get_text() for text in figure.axes[0].texts} == {"1.5"}
    for arguments, words in (
        ((first, third), "other tasks, or another order"),
        ((tmp_path,), "3 run folders there; name one"),
        ((first, second, third), "3 runs; expected one, or two"),
    ):
        result = run_command("matrix", *arguments, "-o", tmp_path / "x.png")
        assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("rank", ["runs", "-o", "x.gif"], "x.gif: unknown format; expected a name that ends in .png, .svg or .pdf"),
        ("rank", ["runs", "-o", "x.png", "--format", "pdf"], "x.png: --format pdf contradicts the name"),
        (
            "rank",
            ["runs", "-o", "x.png", "--font", "DejaVu Serf"],
            'no such font is installed (did you mean "DejaVu Serif"?)',
        ),
        ("rank", ["nowhere", "-o", "x.png"], "nowhere: no such folder"),
        ("rank", ["runs", "orders", "-o", "x.png"], "under 2 different protocols"),
        ("rank", ["few", "-o", "x.png"], "or choose with --setting shots="),
        ("rank", ["runs", "--by-block", "-o", "x.png"], "--by-block draws one method, and there are"),
        ("curves", ["orders", "-o", "x.png"], "the runs have 2 orders"),
        ("spectrum", ["orders", "-o", "x.png"], "nothing to draw; not drawn (no spectrum.csv): NuSA-CL"),
        ("compare", ["apart", "-o", "x.png"], "nothing to draw; not drawn (not run in every order): LoRA, NuSA-CL"),
        ("interference", ["one", "-o", "x.png"], "nothing to draw; not drawn (one task, nothing to forget): NuSA-CL"),
        ("interference", ["frozen", "-o", "x.png"], "nothing to draw; not drawn (fixed after task 1): NuSA-CL"),
        ("rank", ["unmeasured", "-o", "x.png"], "nothing to draw; not drawn (no rank measured): NuSA-CL"),
        ("rank", ["unmeasured", "--by-block", "-o", "x.png"], "nothing to draw; not drawn (no rank measured): NuSA-CL"),
        ("compare", ["runs", "-o", "one/a/config.yaml/x.png"], "cannot be written"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_group(tmp_path / "runs", 2, 2, seeds=1)
    write_run(tmp_path / "orders" / "a", np.ones((4, 3)), ["one", "two", "three"], order="I")
    write_run(tmp_path / "orders" / "b", np.ones((4, 3)), ["three", "two", "one"], order="II")
    write_run(tmp_path / "apart" / "a", np.ones((4, 3)), ["one", "two", "three"], order="I")
    write_run(tmp_path / "apart" / "b", np.ones((4, 3)), ["three", "two", "one"], "lora", order="II")
    write_run(tmp_path / "one" / "a", np.ones((2, 1)), ["one"])
    for shots in (1, 5):
        write_run(tmp_path / "few" / str(shots), np.ones((3, 2)), ["one", "two"], shots=shots)
    frozen = write_run(tmp_path / "frozen" / "a", np.ones((3, 2)), ["one", "two"])
    write_csv(frozen / "rank.csv", RANK.split(","), rank_rows(2, trained=False))
    unmeasured = write_run(tmp_path / "unmeasured" / "a", np.ones((3, 2)), ["one", "two"])
    write_csv(unmeasured / "rank.csv", RANK.split(","), [])
    result = run_command(name, *arguments)
    assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.stderr
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("x.*"))


def test_a_frontier_line_goes_through_its_rates_and_rings_what_no_other_beats(tmp_path: Path) -> None:
    """Two methods at three rates: the worst of the second lies left of zero-shot, so outside the panels."""
    points = {"lora": [(60, 39), (70, 31), (65, 20)], "nusa": [(62, 38), (66, 37), (20, 5)]}
    for (strategy, pairs), seed in product(points.items(), (1, 2)):
        for rate, (learned, kept) in zip((1e-3, 1e-2, 1e-1), pairs, strict=True):
            states = np.array([[40.0, 40], [learned + seed, kept + seed], [50, learned + seed]])
            write_run(tmp_path / f"{strategy}-{rate}-{seed}", states, ["a", "b"], strategy, seed, lr=rate)
    (group,) = sort(find([tmp_path]).folders).groups
    axes = frontier.figure(group).axes[0]
    drawn_lines = [np.asarray(line.get_xydata()) for line in axes.lines if len(np.asarray(line.get_xdata())) == 3]
    for pairs in points.values():
        assert any(np.allclose(line, np.array(pairs) + 1.5) for line in drawn_lines), pairs
    rings = np.asarray(axes.collections[-1].get_offsets())
    assert {tuple(ring) for ring in rings} == {(61.5, 40.5), (63.5, 39.5), (67.5, 38.5), (71.5, 32.5)}
    low, high = axes.get_xlim()
    assert 38 < low < 40
    assert 71.5 < high < 75


def test_zero_shot_in_a_frontier_is_that_of_the_runs_that_count(tmp_path: Path) -> None:
    """One rate also ran in another order, in which another task does not count to zero-shot's Transfer."""
    states = np.array([[30.0, 40], [60, 38], [50, 60]])
    for rate in (1e-3, 1e-2):
        write_run(tmp_path / str(rate), states, ["a", "b"], "lora", lr=rate)
    turned = np.array([[40.0, 30], [60, 28], [50, 60]])
    write_run(tmp_path / "turned", turned, ["b", "a"], "lora", lr=1e-3, order="II")
    (group,) = sort(find([tmp_path]).folders).groups
    axes = frontier.figure(group).axes[0]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert np.asarray(cross.get_xydata()).tolist() == [[35.0, 40.0]]


@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
def test_a_frontier_of_many_methods_is_readable(tmp_path: Path, width: float) -> None:
    chance = np.random.default_rng(5)
    for strategy, rate in product(STRATEGIES[:15], (1e-3, 1e-2)):
        states = chance.uniform(20, 90, (4, 3))
        states[0] = 40.0  # zero-shot
        write_run(tmp_path / f"{strategy}-{rate}", states, names(3), strategy, lr=rate)
    (group,) = sort(find([tmp_path]).folders).groups
    texts = drawn(frontier.figure(group, width))
    assert overlapping(texts) == []
    shown = " ".join(text.get_text() for text in texts)
    assert all(method.name in shown for method in group.methods)


def test_a_frontier_without_several_rates_is_one_line_of_error(tmp_path: Path) -> None:
    make_group(tmp_path / "runs", 2, 2)
    done = run_command("frontier", tmp_path / "runs", "-o", tmp_path / "f.png")
    assert done.exit_code == 2
    assert "--along lr: no method of stream micro" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("cross_entropy", "xx"), "row 2: cross_entropy is no finite number"),
        (("1,10,", "1,inf,"), "row 2: step is no finite number"),
        (("1,10,", "1,,"), "row 2: step is no finite number"),
        (("1,10,", "9,10,"), "row 2: expected a task of 1 to 3 and a step from 1"),
        (("1,10,", "1,-7,"), "row 2: expected a task of 1 to 3 and a step from 1"),
        (("1,20,", "1,10,"), "row 3: task and step must rise"),
        (("1,10,2.0", "1,10,nan"), "row 2: loss is no finite number"),
    ],
)
def test_a_damaged_history_is_said(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    (run, *_) = make_group(tmp_path, 3, 1).runs
    file = run.folder / "history.csv"
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change, 1))
    result = run_command("history", tmp_path, "-o", tmp_path / "x.png")
    assert result.exit_code == 2 and f"history.csv: {message}" in result.stderr and result.stderr.count("\n") == 1
