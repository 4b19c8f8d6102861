"""Prompts as a model reads them: its tokenizer may cut a long one, and make one of two that differ."""

from collections.abc import Sequence

from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.experiment.backbones.loading import Tokenizer, tokenize_prompts
from benchmarks.runtime import processes
from benchmarks.streams.base import Stream


def tokenized(tokenize: Tokenizer, stream: Stream) -> list[Tensor]:
    """Returns for each task the token ids (K, C, L) int64 of its C class names in its K templates, L the context length.

    A line on stderr names prompts that are longer than the context, which the tokenizer cuts.

    Args:
        tokenize: turns a list of n prompts into token ids (n, L) int64.
        stream: the tasks.

    Raises:
        UserError: two classes of a task have the same tokens in a template, so that the model can't tell them apart.
    """
    return [of_classes(tokenize, task.name, task.class_names, task.templates) for task in stream.tasks]


def of_classes(tokenize: Tokenizer, where: str, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Returns the token ids (K, C, L) int64 of C class names in K templates, L the context length.

    A line on stderr says how many prompts are longer than the context, which the tokenizer cuts.

    Args:
        tokenize: turns a list of n prompts into token ids (n, L) int64.
        where: what the classes are of, for messages.
        names: the C class names.
        templates: K prompts with one `{}`.

    Raises:
        UserError: two classes have the same tokens in a template, so that the model can't tell them apart.
    """
    tokens, cut = tokenize_prompts(tokenize, names, templates), set[int]()
    for template, of_template in zip(templates, tokens, strict=True):
        cut |= _check(tokenize, where, names, template, of_template)
    _say_cut(f"{where}: the prompt of", "classes", names, sorted(cut), tokens.shape[2])
    return tokens


def of_captions(tokenize: Tokenizer, where: str, captions: Sequence[str]) -> Tensor:
    """Returns the token ids (1, C, L) int64 of C captions, L the context length; a line on stderr says how many are cut.

    Args:
        tokenize: turns a list of n texts into token ids (n, L) int64.
        where: what the captions are of, for the line.
        captions: the texts, of which several may be equal.
    """
    tokens = tokenize_prompts(tokenize, captions, ["{}"])
    cut = sorted(_cut(tokenize, list(captions), tokens[0]))
    _say_cut(f"{where}:", "captions", captions, cut, tokens.shape[2])
    return tokens


def _say_cut(where: str, what: str, texts: Sequence[str], cut: list[int], length: int) -> None:
    """Says how many texts are cut, if any: `where` is the line's beginning, and `what` what the texts are."""
    if cut and processes.is_first():
        say(
            f"{where} {len(cut)} of {len(texts)} {what} is longer than the {length} tokens that the model reads, and is cut "
            f'there; the first is that of "{texts[cut[0]]}"'
        )


def _check(tokenize: Tokenizer, where: str, names: Sequence[str], template: str, tokens: Tensor) -> set[int]:
    """Returns which prompts are cut, and raises UserError for equal ones; tokens (C, L) int64 are those of the classes."""
    cut = _cut(tokenize, [template.replace("{}", name) for name in names], tokens)
    first: dict[bytes, str] = {}
    for name, row in zip(names, tokens, strict=True):
        if (other := first.setdefault(row.numpy().tobytes(), name)) is not name:
            why = "cut to the model's context, " if cut else ""
            raise UserError(
                f'{where}: the classes "{other}" and "{name}" have the same prompt for this model '
                f'({why}template "{template}"); give them names that its tokenizer tells apart'
            )
    return cut


def _cut(tokenize: Tokenizer, texts: list[str], tokens: Tensor) -> set[int]:
    """Returns the indices of the texts that are longer than the context: those that fill it, and whose length says so."""
    padding = tokenize([""])[0, -1]
    full = (tokens[:, -1] != padding).nonzero().flatten().tolist()
    encode = getattr(
        tokenize, "encode", None
    )  # open_clip's own tokenizer has it; other kinds may only fill the context
    return {index for index in full if encode is None or len(encode(texts[index])) + 2 > tokens.shape[1]}


def one_name_each(tokenize: Tokenizer, stream: Stream) -> list[list[str]]:
    """Returns for each task its class names, where names that are the same tokens in several tasks are written alike.

    Classes of several tasks count as one where their names are equal; `Polo` and `polo` are for most tokenizers.

    Args:
        tokenize: turns a list of n texts into token ids (n, L) int64.
        stream: the tasks.
    """
    names = [name for task in stream.tasks for name in task.class_names]
    tokens = tokenize(names)
    cut = _cut(tokenize, names, tokens)
    first: dict[bytes, str] = {}
    alike = {
        name: name if index in cut else first.setdefault(tokens[index].numpy().tobytes(), name)
        for index, name in enumerate(names)
    }
    return [[alike[name] for name in task.class_names] for task in stream.tasks]
