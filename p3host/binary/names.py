"""Import and export names: labels, annotated names, interface names and their versions (Explainer.md, "Import and
Export Definitions", "Name Uniqueness" and "Canonical Interface Name").

Pure functions over text. What is no valid name is a ValueError that quotes the part that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import total_ordering
from typing import Literal, TypeAlias

from ..records import Record

NameKind: TypeAlias = Literal["label", "constructor", "method", "static", "interface"]

# Each pattern is matched against one fragment, never against a whole name: no input makes them backtrack.
FRAGMENT = re.compile(r"[0-9a-z]+|[0-9A-Z]+")
FIRST_FRAGMENT = re.compile(r"[a-z][0-9a-z]*|[A-Z][0-9A-Z]*")
WORD = re.compile(r"[0-9a-z]+")
FIRST_WORD = re.compile(r"[a-z][0-9a-z]*")

NUMBER = re.compile(r"0|[1-9][0-9]*")
IDENTIFIER = re.compile(r"[0-9A-Za-z-]+")
CANONICAL_VERSION = re.compile(r"[1-9][0-9]*|0\.[1-9][0-9]*|0\.0\.(?:0|[1-9][0-9]*)")
MAX_VERSION_NUMBER = 2**64 - 1


@total_ordering
class Version(Record):
    """A semantic version, or a canonical one such as "0.3", whose missing numbers count as zero.

    Versions are ordered by precedence as semver.org defines it: a pre-release comes before its release, and build
    metadata doesn't count.
    """

    text: str
    major: int
    minor: int
    patch: int
    prerelease: str = ""
    build: str = ""

    @property
    def canonical(self) -> str:
        """The track of versions that are compatible with this one: "1", "0.3" or "0.0.7"."""
        if self.major:
            return str(self.major)
        if self.minor:
            return f"0.{self.minor}"
        return f"0.0.{self.patch}"

    @property
    def is_canonical(self) -> bool:
        """Whether the version is written as its track alone."""
        return self.text == self.canonical

    @property
    def precedence(self) -> tuple[object, ...]:
        identifiers = tuple((0, int(i), "") if i.isdecimal() else (1, 0, i) for i in self.prerelease.split("."))
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def __lt__(self, other: Version) -> bool:
        return self.precedence < other.precedence

    def __str__(self) -> str:
        return self.text


class ExternNameParts(Record):
    """An import's or export's name taken apart.

    `labels` is (label,) of a plain name, (resource,) of a constructor, (resource, function) of a method or static
    function, and (interface,) of an interface name, to which alone `namespace`, `package` and `version` belong.
    """

    kind: NameKind
    labels: tuple[str, ...]
    namespace: str = ""
    package: str = ""
    version: Version | None = None

    @property
    def resource(self) -> str | None:
        """The resource that a constructor, method or static function belongs to."""
        return self.labels[0] if self.kind in ("constructor", "method", "static") else None

    @property
    def projection(self) -> str:
        """The interface's own name within its package."""
        assert self.kind == "interface"
        return self.labels[0]

    @property
    def unversioned(self) -> str:
        """An interface name without its version, as "wasi:cli/run"."""
        assert self.kind == "interface"
        return f"{self.namespace}:{self.package}/{self.projection}"


def parse_extern_name(text: str) -> ExternNameParts:
    """Parses an `externname`: a plain name or an interface name.

    :raises ValueError: if the text is neither.
    """
    if text.startswith("["):
        return parse_annotated_name(text)
    if ":" in text:
        return parse_interface_name(text)
    return ExternNameParts("label", (check_label(text),))


def parse_annotated_name(text: str) -> ExternNameParts:
    annotation, bracket, rest = text[1:].partition("]")
    if not bracket or annotation not in ("constructor", "method", "static"):
        raise ValueError(f"`{text}` has no known annotation: expected [constructor], [method] or [static]")
    if annotation == "constructor":
        return ExternNameParts("constructor", (check_label(rest),))
    resource, dot, function = rest.partition(".")
    if not dot:
        raise ValueError(f"`{text}` has no `.` between the resource's name and the function's")
    return ExternNameParts(
        "method" if annotation == "method" else "static", (check_label(resource), check_label(function))
    )


def parse_interface_name(text: str) -> ExternNameParts:
    """Parses an `interfacename`, as "wasi:cli/run@0.3.0"; nested namespaces and packages are not part of the format.

    :raises ValueError: if the text is no interface name.
    """
    path, at, version = text.partition("@")
    namespace, colon, rest = path.partition(":")
    if not colon:
        raise ValueError(f"`{text}` is not an interface name: expected namespace:package/interface")
    package, slash, projection = rest.partition("/")
    check_words(namespace, "namespace", text)
    check_words(package, "package", text)
    if not slash:
        raise ValueError(f"`{text}` is not a valid name: expected `/` and an interface after the package")
    if "/" in projection:
        raise ValueError(f"`{text}` has more after its interface: nested interface names are not supported")
    return ExternNameParts(
        "interface", (check_label(projection),), namespace, package, parse_version(version) if at else None
    )


def is_label(text: str) -> bool:
    """Whether the text is a `label`: kebab case, each fragment all lower or all upper case, the first with a letter."""
    first, *others = text.split("-")
    return FIRST_FRAGMENT.fullmatch(first) is not None and all(map(FRAGMENT.fullmatch, others))


def check_label(text: str) -> str:
    """Returns the text if it is a `label`.

    :raises ValueError: if it is none.
    """
    if not is_label(text):
        raise ValueError(f"`{text}` is not in kebab case")
    return text


def check_words(text: str, what: str, name: str) -> None:
    first, *others = text.split("-")
    if FIRST_WORD.fullmatch(first) is None or not all(map(WORD.fullmatch, others)):
        raise ValueError(f"`{name}` is not a valid name: its {what} `{text}` is not in lower kebab case")


def parse_version(text: str) -> Version:
    """Parses a semantic version 2.0, or a `canonversion` such as "0.3".

    :raises ValueError: if the text is neither.
    """
    release, plus, build = text.partition("+")
    release, hyphen, prerelease = release.partition("-")
    numbers = release.split(".")
    if CANONICAL_VERSION.fullmatch(text):
        numbers += ["0"] * (3 - len(numbers))
    if len(numbers) != 3:
        raise ValueError(f"`{text}` is not a valid version: expected major.minor.patch")
    for number in numbers:
        # The length is looked at first: converting digits is not linear in their number.
        if NUMBER.fullmatch(number) is None or len(number) > 20 or int(number) > MAX_VERSION_NUMBER:
            raise ValueError(f"`{text}` is not a valid version: `{number}` is not a number below 2^64 in decimal")
    if hyphen:
        check_identifiers(prerelease, text, numbers_are_plain=True)
    if plus:
        check_identifiers(build, text, numbers_are_plain=False)
    major, minor, patch = map(int, numbers)
    return Version(text, major, minor, patch, prerelease, build)


def check_identifiers(identifiers: str, version: str, *, numbers_are_plain: bool) -> None:
    for identifier in identifiers.split("."):
        if IDENTIFIER.fullmatch(identifier) is None:
            raise ValueError(f"`{version}` is not a valid version: empty or malformed identifier `{identifier}`")
        if numbers_are_plain and identifier.isdecimal():
            if len(identifier) > 1 and identifier.startswith("0"):
                raise ValueError(f"`{version}` is not a valid version: `{identifier}` has a leading zero")
            if len(identifier) > 20:
                raise ValueError(f"`{version}` is not a valid version: `{identifier}` is too large")


def restore_version(name: ExternNameParts, suffix: str) -> Version:
    """The full version of an interface name with a `versionsuffix`.

    :raises ValueError: if the name has no canonical version, or its version and the suffix make no valid one.
    """
    if name.version is None or not name.version.is_canonical:
        raise ValueError(f"version suffix `{suffix}` follows a name without a canonical version")
    version = parse_version(name.version.text + suffix)
    if version.canonical != name.version.canonical or (version.is_canonical and version.text.count(".") < 2):
        raise ValueError(f"`{name.version}` and version suffix `{suffix}` make no valid semantic version")
    return version


def uniqueness_key(text: str) -> str:
    """What has to differ for two names (or two labels) to be strongly unique."""
    key = text.lower()
    for annotation in ("[method]", "[static]"):
        if key.startswith(annotation):
            key = key.removeprefix(annotation)
            resource, _, function = key.partition(".")
            return resource if resource == function else key
    return key


def find_conflict(names: Iterable[str]) -> tuple[str, str] | None:
    """The first name that is not strongly unique among those before it, and the one it conflicts with."""
    seen: dict[str, str] = {}
    for name in names:
        key = uniqueness_key(name)
        if key in seen:
            return name, seen[key]
        seen[key] = name
    return None
