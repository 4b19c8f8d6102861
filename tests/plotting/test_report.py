"""`python -m plotting.report`: the page's content, and its life in a real Chromium."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.runs.folder import find
from plotting.report import main
from tests.plotting.test_group_figures import make_group
from tests.run_folders import write_run


ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# No sandbox, as root in CI; and nothing that Chromium would ask of the network by itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
HOSTILE = "<script>document.title='taken'</script><img src=http://example.com/x.png>"


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen methods, three seeds, eleven tasks; an unfinished run; a stream and settings with HTML in their names."""
    root = tmp_path_factory.mktemp("report")
    make_group(root / "results" / "micro", tasks=11, methods=15, seeds=3)
    write_run(root / "results" / "running", np.ones((3, 2)), ["one", "two"], status="running")
    for number in (1, 2):
        note = HOSTILE if number == 1 else "a_b"
        write_run(root / "results" / f"hostile{number}", np.ones((2, 1)), [f"{HOSTILE} & task"], note=note)
    result = report(root / "results", "-o", root / "report.html")
    assert result.exit_code == 0, result.stderr
    assert "left out: " in result.stderr and "not finished" in result.stderr
    return root / "report.html"


def test_the_page_holds_everything_and_is_small(page: Path) -> None:
    text = page.read_text()
    assert len(text) < 5_000_000
    assert "http://" not in re.sub(r"&lt;.*?&gt;", "", text) and "https://" not in text
    assert "not finished" in text and "47 runs of 17 methods under 2 protocols" in text
    assert text.count("<figure ") == 7 + 7 - 3  # the hostile runs have no spectra, no history, and nothing to forget
    assert all(alt.strip() for alt in re.findall(r'<img [^>]*alt="([^"]*)"', text))
    assert text.count("<img ") == text.count("<figure ")
    assert '<a download="comparison.csv" href="data:text/csv,' in text
    first, second = re.findall(r'<p class="found">(.*?)</p>', text)
    assert " leads with an Avg of " in first + second and "NuSA-CL, the only ranked method" not in first


def test_a_page_of_all_methods_on_micro_stays_small(tmp_path: Path) -> None:
    """At most 32 000 bytes a run, which was 5 MB when there were 156."""
    place = ROOT / "results" / "reference" / "micro"
    assert report(place, "-o", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").stat().st_size < 32_000 * len(find([place]).folders)


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "run", np.ones((2, 1)), ["one"])
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ((tmp_path / "run", "-o", tmp_path / "page.txt"), "expected a name that ends in .html"),
        ((tmp_path / "empty", "-o", tmp_path / "page.html"), "no run folder there"),
        ((tmp_path / "run", "-o", tmp_path / "run" / "rank.csv" / "page.html"), "cannot be written"),
    ):
        result = report(*arguments)
        assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.stderr
    assert report(tmp_path / "run", "-o", tmp_path / "page.html").exit_code == 0


def test_needs_neither_torch_nor_pyplot() -> None:
    heavy = "torch", "avalanche", "matplotlib.pyplot"
    code = f"import sys, plotting.report; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def test_in_chromium_it_sorts_and_filters_and_asks_for_nothing(browser: Any, page: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.extend([] if request.url.startswith(("file:", "data:")) else [request.url]))
    tab.goto(page.as_uri())
    assert tab.title() == "Continual learning of CLIP: comparison"

    section = tab.locator("section").filter(has_text="ZSCL").first
    table = section.locator("table.sortable").first
    heading = table.locator("thead button", has_text="Last")

    def values() -> list[float]:
        return [float(text.split()[0]) for text in table.locator("tbody tr td:nth-child(4)").all_inner_texts()]

    heading.click()
    assert values() == sorted(values(), reverse=True)
    heading.press("Enter")  # with the keyboard, the other way round
    assert values() == sorted(values())
    assert table.locator("thead th[aria-sort]").get_attribute("aria-sort") == "ascending"
    table.locator("thead button", has_text="method").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names, key=str.lower) and len(names) == 15

    tab.get_by_label("Methods").fill("LoRA")
    left = table.locator("tbody tr:not([hidden]) th").all_inner_texts()
    assert left == [name for name in names if "LoRA" in name] and len(left) == 4
    assert tab.get_by_role("status").inner_text() == "4 of 17 methods, 7 of 11 figures, 12 of 47 runs shown"
    assert tab.locator("details.run:visible").count() == 12
    tab.get_by_label("Methods").fill("nusa hostile")
    assert tab.get_by_role("status").inner_text().startswith("0 of 17 methods, 0 of 11 figures")
    tab.get_by_label("Methods").fill("")
    assert tab.locator("figure:visible").count() == 11
    assert len(table.locator("tbody tr:not([hidden]) th").all_inner_texts()) == 15

    folded = section.locator("details").first
    folded.locator("summary").press("Enter")
    assert folded.locator("table").first.is_visible()
    assert tab.locator("script").count() == 1 and tab.locator("img[src^=http]").count() == 0
    assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    with tab.expect_download() as download:
        tab.get_by_text("All values as csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("stream,protocol,model") and len(lines) > 15 * 20
    assert wrong == []


def test_in_chromium_a_figure_is_enlarged_by_a_key_and_escape_leads_back(browser: Any, page: Path) -> None:
    tab = browser.new_page(viewport={"width": 400, "height": 800})
    tab.goto(page.as_uri())
    small = tab.locator("figure img").nth(1)
    tab.locator("figure button").nth(1).press("Enter")
    large = tab.get_by_role("dialog")
    assert large.locator("img").bounding_box()["width"] > 2 * small.bounding_box()["width"]
    assert large.get_attribute("aria-label") == small.get_attribute("alt")
    tab.keyboard.press("Escape")
    assert not large.is_visible()
    assert tab.evaluate("document.activeElement === document.querySelectorAll('figure button')[1]")
    small.click()
    large.click()
    assert not large.is_visible()


def test_in_chromium_without_scripts_all_is_there_and_no_control(browser: Any, page: Path) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert not tab.get_by_label("Methods").is_visible() and not tab.get_by_text("Press a heading").first.is_visible()
    assert tab.locator("figure img:visible").count() == 11 and tab.locator("p.found:visible").count() == 2


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (400, "dark"), (1280, "dark")])
def test_in_chromium_it_fits_a_phone_and_follows_the_scheme(browser: Any, page: Path, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    red, *_ = json.loads(
        tab.evaluate("getComputedStyle(document.body).backgroundColor").replace("rgb(", "[").replace(")", "]")
    )
    assert (red < 60) == (scheme == "dark")


def test_in_chromium_all_is_unfolded_on_paper(browser: Any, page: Path) -> None:
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("[...document.querySelectorAll('details:not(.run)')].every((each) => each.open)")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not tab.evaluate("[...document.querySelectorAll('details')].some((each) => each.open)")
    tab.emulate_media(media="print")
    assert not tab.locator(".tools").is_visible() and not tab.locator("details.run").first.is_visible()
    tab.set_viewport_size({"width": 700, "height": 1000})  # about A4
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(
        "[...document.querySelectorAll('.scroll')].every((each) => each.scrollWidth <= each.clientWidth)"
    )
