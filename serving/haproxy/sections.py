"""HAProxy's configuration as its sections, and changes that fail where the text is not what they know.

Format: https://docs.haproxy.org/2.8/configuration.html
"""

import re
from dataclasses import dataclass


class HardeningError(Exception):
    """The configuration is not what it is known to be."""


@dataclass(slots=True)
class Section:
    """One section of the configuration: its first line, and those below it."""

    name: str
    lines: list[str]

    def replace(self, pattern: str, replacement: str) -> re.Match[str]:
        """Replaces the one line that matches; answers the match."""
        found = [(at, match) for at, line in enumerate(self.lines) if (match := re.fullmatch(pattern, line.strip()))]
        if len(found) != 1:
            raise HardeningError(f"section {self.name!r} has {len(found)} lines like {pattern!r}, not one")
        [(at, match)] = found
        self.lines[at] = f"    {match.expand(replacement)}"
        return match

    def remove(self, pattern: str) -> None:
        """Removes all lines that match, of which there has to be one."""
        kept = [line for line in self.lines if not re.fullmatch(pattern, line.strip())]
        if len(kept) == len(self.lines):
            raise HardeningError(f"section {self.name!r} has no line like {pattern!r}")
        self.lines = kept

    def begin(self, *lines: str) -> None:
        """Puts lines before all others: HAProxy takes rules in their order."""
        self.lines[:0] = [f"    {line}" for line in lines]

    @property
    def servers(self) -> list[str]:
        """The lines of its servers."""
        return [line for line in self.lines if line.split()[:1] == ["server"]]

    @property
    def is_http(self) -> bool:
        """Whether its servers speak HTTP/1."""
        return bool(self.servers) and not self.is_grpc

    @property
    def is_grpc(self) -> bool:
        """Whether its servers speak gRPC."""
        return any(" proto h2" in line for line in self.servers)


def parse(text: str) -> dict[str, Section]:
    """The sections by their first line.

    Raises:
      HardeningError: text outside, or a section twice.
    """
    sections: dict[str, Section] = {}
    section = None
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            name = " ".join(line.split())
            if name in sections:
                raise HardeningError(f"there are two sections {name!r}; was it hardened before?")
            section = sections[name] = Section(name, [])
        elif section is not None:
            section.lines.append(line)
        elif line.strip():
            raise HardeningError(f"{line!r} belongs to no section")
    return sections


def one(sections: dict[str, Section], name: str) -> Section:
    """The section of this name.

    Raises:
      HardeningError: there is none.
    """
    if name not in sections:
        raise HardeningError(f"there is no section {name!r}")
    return sections[name]
