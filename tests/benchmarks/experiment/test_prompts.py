"""Class names as the micro CLIP's tokenizer reads them: which prompts are one, which are cut, which names are one class."""

import pytest
import torch

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import MICRO, VOCABULARY, make_tokenizer
from benchmarks.experiment.prompts import one_name_each, tokenized
from benchmarks.images.sets import split_of
from benchmarks.streams.base import Source, Stream, Task


LENGTH = 20


class Context:
    context_length = LENGTH


tokenize = make_tokenizer("micro", MICRO, Context)


def stream(*tasks: tuple[str, ...], template: str = "a photo of a {}.") -> Stream:
    nothing = split_of("nothing", [], [])
    made = [Task(f"task{n}", names, (template,), nothing, nothing, Source("own")) for n, names in enumerate(tasks)]
    return Stream(tuple(made), {}, "")


def test_tokens_are_those_of_the_tokenizer() -> None:
    (found,) = tokenized(tokenize, stream(("red", "blue {}")))
    assert torch.equal(found[0], tokenize(["a photo of a red.", "a photo of a blue {}."]))
    assert found.shape == (1, 2, LENGTH) and (MICRO / VOCABULARY).is_file()


@pytest.mark.parametrize(
    ("one", "other"),
    [("Polo", "polo"), ("caf\u00e9", "cafe\u0301"), ("a  b", "a b"), ("AT&amp;T", "AT&T"), ("a-b", "a b"), ("a", "b")],
)
def test_two_classes_with_one_prompt_are_refused_by_name(one: str, other: str) -> None:
    if torch.equal(*(tokenize([name]) for name in (one, other))):
        with pytest.raises(UserError, match="have the same prompt for this model") as error:
            tokenized(tokenize, stream(("red", one, other)))
        assert f'"{one}" and "{other}"' in str(error.value) and "\n" not in str(error.value)
    else:
        tokenized(tokenize, stream(("red", one, other)))
    # In several tasks they are one class, if the tokenizer takes them for one.
    alike = one_name_each(tokenize, stream(("red", one), (other, "blue")))
    assert (alike[0][1] == alike[1][0]) == torch.equal(*(tokenize([name]) for name in (one, other)))


def test_case_and_unicode_form_are_not_told_apart() -> None:
    for one, other in (("Polo", "polo"), ("caf\u00e9", "cafe\u0301")):
        assert torch.equal(tokenize([one]), tokenize([other]))


def test_a_prompt_that_is_cut_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = "small bird which sits on a branch over the water in the early morning light of spring with a"
    with pytest.raises(UserError, match=r"same prompt for this model \(cut to the model's context"):
        tokenized(tokenize, stream((f"{words} red belly", f"{words} blue belly")))
    tokenized(tokenize, stream(("red", f"{words} red belly")))
    said = capsys.readouterr().err
    assert "1 of 2 classes is longer than the 20 tokens" in said and f'"{words} red belly"' in said


def test_a_prompt_that_just_fits_is_not_called_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a"
    while len(tokenize.encode(f"{name} a")) + 2 <= LENGTH:  # type: ignore[attr-defined]
        name += " a"
    (found,) = tokenized(tokenize, stream((name,), template="{}"))
    assert found[0, 0, -1] != 0 and not capsys.readouterr().err
    tokenized(tokenize, stream((f"{name} a",), template="{}"))
    assert "is cut there" in capsys.readouterr().err
