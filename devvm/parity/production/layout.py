"""The layout of a manifest file: the order that a capture writes, and its comments."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from devvm.parity.production.manifest import Manifest, dump

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ALL = 1_000_000


def first_out_of_order(text: str, manifest: Manifest) -> int | None:
    """The first line that a capture would write differently; None if there is none.

    Comments and empty lines of their own are allowed anywhere.
    """
    wanted = dump(manifest).split("\n")
    count, lines = 0, text.split("\n")
    for number, line in enumerate(lines, 1):
        if count < len(wanted) and line == wanted[count]:
            count += 1
        elif line.strip() and not line.lstrip().startswith("#"):
            return number
    return None if count == len(wanted) else len(lines)


def rewritten(text: str, manifest: Manifest) -> str:
    """The text as a capture would write it, with the comment at the top preserved."""
    return "".join(f"{line}\n" for line in _top(text)) + dump(manifest)


def comments_inside(text: str) -> list[int]:
    """Lines with a comment below the top; `rewritten` would drop these."""
    said: dict[int, int] = {}  # the column where the YAML of a line ends
    for node in _nodes(yaml.compose(text, Loader=_Loader)):
        start, end = node.start_mark, node.end_mark
        if isinstance(node, yaml.ScalarNode):
            said.update(dict.fromkeys(range(start.line, end.line), _ALL))
            whole = node.style not in ("|", ">")
        else:
            whole = isinstance(node, yaml.CollectionNode) and bool(node.flow_style)
        if whole:  # it ends on this line
            said[end.line] = max(said.get(end.line, 0), end.column)
    first = len(_top(text))
    return [
        number + 1
        for number, line in enumerate(text.split("\n"))
        if number >= first and "#" in line[said.get(number, 0) :]
    ]


def lines_of_items(text: str) -> dict[tuple[str, str], int]:
    """The line on which each item of a manifest begins."""
    root = yaml.compose(text, Loader=_Loader)
    found = {}
    for key, areas in _pairs(root):
        if key.value == "areas":
            for area, items in _pairs(areas):
                for item, _ in _pairs(items):
                    found[area.value, item.value] = item.start_mark.line + 1
    return found


def _top(text: str) -> list[str]:
    lines = []
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if node is not None:
        yield node
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for one in child if isinstance(child, tuple) else (child,):
                yield from _nodes(one)


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []
