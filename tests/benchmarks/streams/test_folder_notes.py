"""stream.yaml of a folder stream: what it sets, and the line for each way of getting it wrong."""

import os
import textwrap
from pathlib import Path

import pytest

from benchmarks.config.errors import UserError
from benchmarks.streams import folder as family
from benchmarks.streams.folder import build
from benchmarks.streams.orders import arrange, whole
from tests.conftest import write_images


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Domains of 1, 2 and 3 classes."""
    return write_images(tmp_path, {"ants": 1, "bees": 2, "cats": 3})


def write(place: Path, text: str) -> None:
    (place / "stream.yaml").write_text(textwrap.dedent(text), encoding="utf-8")


def refusal(place: Path, text: str) -> str:
    write(place, text)
    with pytest.raises(UserError) as caught:
        whole(build(str(place)))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{place / 'stream.yaml'}: ")


def test_everything_it_can_say(place: Path) -> None:
    write(
        place,
        """
        order: [cats, ants, bees]
        orders:
          two: [bees, cats]
        templates: ["a {}.", "the {}."]
        protocol: ours
        licence: CC BY 4.0
        citation: Doe, 2024
        origin: https://example.org
        domains:
          bees:
            name: Bees & wasps
            templates: ["a drawing of {}"]
            class_names: {class_1: Vespa crabro, class_0: "{bee}"}
            licence: CC0
            citation: Roe, 2023
            origin: a drawer
          ants: {}
        """,
    )
    plan = build(str(place))
    assert plan.names == ("cats", "ants", "Bees & wasps")
    assert plan.orders == {"default": plan.names, "two": ("Bees & wasps", "cats")}
    assert plan.protocol == "ours"
    cats, ants, bees = whole(plan).tasks
    assert cats.templates == ants.templates == ("a {}.", "the {}.")
    assert bees.templates == ("a drawing of {}",)
    assert bees.class_names == ("{bee}", "Vespa crabro") and cats.class_names == ("class 0", "class 1", "class 2")
    assert (ants.source.licence, ants.source.citation, ants.source.origin) == (
        "CC BY 4.0",
        "Doe, 2024",
        "https://example.org",
    )
    assert (bees.source.licence, bees.source.citation, bees.source.origin) == ("CC0", "Roe, 2023", "a drawer")
    assert bees.source.dataset == "bees"
    assert [task.name for task in arrange(plan, "two").tasks] == ["Bees & wasps", "cats"]


def test_the_example_in_the_docstring_is_right(tmp_path: Path) -> None:
    write_images(tmp_path, {"photos": 1, "sketches": 1})
    (tmp_path / "sketches" / "train" / "class_0").rename(tmp_path / "sketches" / "train" / "n01")
    (tmp_path / "sketches" / "test" / "class_0").rename(tmp_path / "sketches" / "test" / "n01")
    doc = family.__doc__ or ""
    write(tmp_path, doc[doc.index("    order:") :])
    plan = build(str(tmp_path))
    assert plan.orders == {"default": ("Sketches", "photos"), "reverse": ("photos", "Sketches")}
    assert whole(plan).tasks[0].class_names == ("tree frog",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n", "domains: {}\n"])
def test_saying_nothing_changes_nothing(text: str, place: Path) -> None:
    plain = build(str(place))
    write(place, text)
    found = build(str(place))
    assert (found.names, found.orders, found.protocol) == (plain.names, plain.orders, plain.protocol)


def test_every_value_is_text(tmp_path: Path) -> None:
    write_images(tmp_path, {"2024": 1})
    for half in ("train", "test"):
        (tmp_path / "2024" / half / "class_0").rename(tmp_path / "2024" / half / "no")
    write(tmp_path, "order: [2024]\ndomains: {2024: {class_names: {no: 007}, licence: 1.0}}\n")
    task = whole(build(str(tmp_path))).tasks[0]
    assert (task.name, task.class_names, task.source.licence) == ("2024", ("007",), "1.0")


def test_a_domain_folder_with_a_comma_can_be_renamed(tmp_path: Path) -> None:
    write_images(tmp_path, {"ants, bees": 1})
    assert build(str(tmp_path)).names == ("ants, bees",)
    write(tmp_path, "domains: {'ants, bees': {name: both}}")
    assert [task.name for task in arrange(build(str(tmp_path)), "both").tasks] == ["both"]


KNOWN = "order, orders, templates, licence, citation, origin, protocol, domains"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template: [a]", f'template: no such key (did you mean "templates"?); known: {KNOWN}'),
        (
            "domains: {ants: {classnames: {}}}",
            'domains.ants.classnames: no such key (did you mean "class_names"?); known: name, templates, class_names, '
            "licence, citation, origin",
        ),
        ("domains: {ant: {}}", 'domains: no domain folder "ant" (did you mean "ants"?); there are: ants, bees, cats'),
        ("order: [ants, bees]", "order: cats is not in it; it names every domain once"),
        ("order: [ants, bees, cats, ants]", 'order: "ants" is named twice; once is right'),
        ("order: [ants, bees, cat]", 'order: no domain folder "cat" (did you mean "cats"?); there are: ants, bees, cats'),
        ("orders: {x: [ants, ants]}", 'orders.x: "ants" is named twice; once is right'),
        ("orders: {x: [bee]}", 'orders.x: no domain folder "bee" (did you mean "bees"?); there are: ants, bees, cats'),
        ("orders: {default: [ants]}", "orders.default: write the default order as `order`"),
        ("orders: {ants: [ants]}", "orders.ants: a domain is called so; give the order another name"),
        ("order: ants", "order: must be a list, got 'ants'"),
        ("orders: [ants]", "orders: must be lines of the form `key: value`, got ['ants']"),
        ("templates: a {}", "templates: must be a list, got 'a {}'"),
        ("templates: {}", "templates: must be a list, got {}"),
        ("templates: [[a]]", "templates.0: must be text, got ['a']"),
        ("licence: [MIT]", "licence: must be text, got ['MIT']"),
        ("domains: [ants]", "domains: must be lines of the form `key: value`, got ['ants']"),
        ("domains: {ants: Ants}", "domains.ants: must be lines of the form `key: value`, got 'Ants'"),
        ("just text", "must be lines of the form `key: value`, got 'just text'"),
        ("[ants]", "must be lines of the form `key: value`, got ['ants']"),
        (
            "domains: {cats: {class_names: {class0: a}}}",
            'domains.cats.class_names: no class folder "class0" (did you mean "class_0"?); '
            "there are: class_0, class_1, class_2",
        ),
        ("domains: {ants: {name: bees}}", 'domains ants and bees are both called "bees"; rename one'),
        ("licence: a\nlicence: b", "\"licence\" stands twice"),
        ("domains: {ants: {}, ants: {}}", '"ants" stands twice'),
        ("a: [", "not valid YAML: while parsing"),
        ("a: b: c", "not valid YAML: mapping values are not allowed here"),
        ("? [a]\n: b", "not valid YAML: while constructing a mapping"),
        ("[" * 1500, "not valid YAML: "),
        ("protocol:", "protocol: must not be empty, got ''"),
        ("orders: {x: []}", "orders.x: must not be empty, got []"),
    ],
)  # fmt: skip
def test_every_mistake_has_one_line(text: str, message: str, place: Path) -> None:
    found = refusal(place, text)
    assert message in found if "YAML" in message or "twice" in message else found == message


@pytest.mark.parametrize("template", ["a photo.", "{} and {}", "{", "{name}", "{} {x}", "{{}}", "{0}", "", "{}}"])
def test_templates_have_one_place_for_the_name(template: str, place: Path) -> None:
    rule = f"a template has exactly one {{}} and no other braces, got {template!r}"
    assert refusal(place, f"templates: ['{template}']") == f"templates.0: {rule}"
    assert (
        refusal(place, f"domains: {{ants: {{templates: ['a {{}}', '{template}']}}}}")
        == f"domains.ants.templates.1: {rule}"
    )


@pytest.mark.parametrize("name", ["a,b", "", " a", "a\\n", "a\\tb"])
def test_task_names_fit_on_the_command_line(name: str, place: Path) -> None:
    rule = "a name is one line of text without commas and without spaces around it"
    assert refusal(place, f'domains: {{ants: {{name: "{name}"}}}}').startswith(f"domains.ants.name: {rule}, got ")
    in_orders = refusal(place, f'orders: {{"{name}": [ants]}}')
    assert in_orders.startswith("orders.") and rule in in_orders


def test_class_names_are_told_apart(place: Path) -> None:
    found = refusal(place, "domains: {bees: {class_names: {class_0: class 1}}}")
    assert found == f'{place / "bees"}: class folders class_0 and class_1 are both called "class 1"; rename one'
    rule = "domains.bees.class_names.class_0: a class name is one line of text, got ''"
    assert refusal(place, "domains: {bees: {class_names: {class_0: }}}") == rule


def test_files_that_cannot_be_read(place: Path, tmp_path: Path) -> None:
    file = place / "stream.yaml"

    def message() -> str:
        with pytest.raises(UserError) as caught:
            build(str(place))
        return str(caught.value)

    file.write_bytes(b"licence: \xff\n")
    assert message() == f"{file}: cannot be read: it is not UTF-8 text"
    file.write_bytes(b"licence: \x00\n")
    assert message().startswith(f"{file}: not valid YAML: ")
    file.unlink()
    file.mkdir()
    assert message() == f"{file}: cannot be read: Is a directory"
    file.rmdir()
    os.symlink(file, file)
    assert message().startswith(f"{file}: a link that leads nowhere (Too many levels")
    file.unlink()
    (place / "stream.yml").write_text("")
    assert message() == f"{place / 'stream.yml'}: would not be read; call it stream.yaml"
