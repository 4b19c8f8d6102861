"""The documents: every relative link leads somewhere, and README stays short enough to be read."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- uv run .*?<!-- end -->", re.DOTALL)
WIDEST = 100


def documents() -> list[Path]:
    """The Markdown files of the repository, by git, which passes over environments and results of one's own."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def anchors(text: str) -> set[str]:
    """The names that headings can be linked by: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """The relative links of a document whose file or heading there is not."""
    found = []
    for match in LINK.finditer(CODE.sub("", document.read_text(encoding="utf-8"))):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def test_every_relative_link_leads_somewhere() -> None:
    assert {str(document.relative_to(ROOT)): links for document in documents() if (links := broken(document))} == {}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, `code`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#a-heading-code) [b](gone.md) [c](there.md#no) ![d][e] [f](https://x.y)\n\n[e]: no.png\n"
    )
    assert broken(page) == ["gone.md", "there.md#no", "no.png"]


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1200
    assert [line for line in text.splitlines() if len(line) > WIDEST] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_lines_of_pages_are_short_but_for_tables(page: Path) -> None:
    text = GENERATED.sub("", page.read_text(encoding="utf-8"))
    assert [line for line in text.splitlines() if len(line) > WIDEST and not line.startswith("|")] == []


def test_every_page_can_be_found_from_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f"({page})" not in readme] == []
