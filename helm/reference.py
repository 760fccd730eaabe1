"""The reference of the chart's values: values.yaml's comments and defaults as a table, by the schema's structure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_TITLE = """# Values of codegemma-serving

Made from values.yaml's comments by `make chart-schema`. values.schema.json refuses what cannot be meant, by name.

| key | default | what it sets |
|---|---|---|
"""


@dataclass(frozen=True)
class Value:
    """A value that can be set: its path, its default as YAML in one line, and its comment."""

    key: str
    default: str
    comment: str


def reference(text: str, schema: Mapping[str, Any]) -> str:
    """The page for a values.yaml of this schema."""
    return _TITLE + "".join(f"| `{each.key}` | `{each.default}` | {each.comment} |\n" for each in values(text, schema))


def values(text: str, schema: Mapping[str, Any]) -> Iterator[Value]:
    """Every value in the order of the file; a comment above a mapping stands before that of its first value."""
    node = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    yield from _of(node, text.splitlines(), schema, "", "")


def _of(
    node: yaml.MappingNode, lines: list[str], schema: Mapping[str, Any], prefix: str, above: str
) -> Iterator[Value]:
    for key, child in node.value:
        path = f"{prefix}{key.value}"
        comment = " ".join(filter(None, (above, _comment(lines, key.start_mark.line))))
        known = schema.get("properties", {}).get(key.value, {})
        if isinstance(child, yaml.MappingNode) and child.value and "properties" in known:
            yield from _of(child, lines, known, f"{path}.", comment)
        else:
            yield Value(path, _default(child), comment)
        above = ""


def _default(node: yaml.Node) -> str:
    value = yaml.load(yaml.serialize(node), yaml.SafeLoader)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _comment(lines: list[str], line: int) -> str:
    """The comment right above a line, without its examples, which are indented further."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    texts = [each.strip().removeprefix("#").removeprefix(" ") for each in lines[first:line]]
    return _escaped(" ".join(_paragraphs(texts)))


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        if text.startswith("  "):
            yield f"<br>`{' '.join(text.split())}`"
        elif text:
            yield text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
