"""Rules of docs/architecture.md that import-linter can't check."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "devvm"
#: Names of what errors, events and results say to people.
TEXTS = {"detail", "details", "label", "message", "note", "reason", "resolution", "title", "why"}
LOOKS = {
    "count", "endswith", "find", "index", "partition", "removeprefix", "removesuffix",
    "rpartition", "split", "startswith",
}  # fmt: skip
MATCHES = {"findall", "fullmatch", "match", "search"}


def is_text(node):
    """Whether a node is such a text: `error.message`, `event["why"]`."""
    match node:
        case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=name)):
            return name in TEXTS
    return False


def is_words(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != ""


def decisions(source):
    """The conditions that depend on the content of a text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
                found = any(map(is_text, parts)) and any(map(is_words, parts))
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=args):
                found = (name in LOOKS and is_text(value)) or (
                    name in MATCHES and any(map(is_text, args))
                )
            case _:
                found = False
        if found:
            yield ast.unparse(node)


def test_nothing_is_decided_by_the_text_of_a_message():
    """Use enums and fields instead. Only adapters parse what tools print."""
    found = [
        f"{file.relative_to(PACKAGE)}: {expression}"
        for file in PACKAGE.rglob("*.py")
        if "adapters" not in file.parts
        for expression in decisions(file.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["error.message == 'gone'", "'gone' in event['why']", "a.note.startswith('x')",
     "re.match('x', result.reason)"],
)  # fmt: skip
def test_a_decision_is_seen(source):
    assert list(decisions(source)) == [source]


@pytest.mark.parametrize(
    "source", ["why == ''", "a.message or 'x'", "a.state == 'off'", "a.why == b"]
)
def test_what_is_none_is_not(source):
    assert list(decisions(source)) == []
