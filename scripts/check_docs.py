"""Check the documentation: every link leads somewhere, every public name is described.

Reads ``README.md`` and ``docs/**/*.md``. Links between files, and to headings within them, must resolve. Every
operator, sensor, error class and YAML setting of the package must be mentioned. The package is read, not imported, so
this costs milliseconds. Prints one line per mistake and exits 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+<?(\S+?)>?\s*$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicName:
    """A name that users meet and that the documentation must mention."""

    kind: str
    name: str
    source: str


def pages(root: Path, /) -> list[Path]:
    """Return the documentation files of a checkout."""
    return [page for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if page.is_file()]


def anchors(text: str, /) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page, repeated headings numbered."""
    found: set[str] = set()
    counts: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        number = counts.get(slug, 0)
        counts[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(text: str, /) -> Iterator[str]:
    """Yield the targets of the links of a page, those inside code left out."""
    prose = _CODE_SPAN.sub("", _FENCE.sub("", text))
    yield from _LINK.findall(prose)
    yield from _REFERENCE.findall(prose)


def broken_links(root: Path, /) -> Iterator[str]:
    """Yield a complaint for every link that leads outside the checkout, to no file, or to no heading."""
    for page in pages(root):
        for target in links(page.read_text(encoding="utf-8")):
            complaint = None if _EXTERNAL.match(target) else _link_fault(root=root, page=page, target=target)
            if complaint:
                yield f"{page.relative_to(root)}: link {target!r} {complaint}"


def _link_fault(*, root: Path, page: Path, target: str) -> str | None:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page.resolve()
    if not file.is_relative_to(root.resolve()):
        return "leaves the repository; link to a file in it"
    if not file.exists():
        return "leads to no file; correct it or write the file"
    if anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
        return f"names no heading of {file.relative_to(root.resolve())}; correct the part after '#'"
    return None


def public_names(package: Path, /) -> Iterator[PublicName]:
    """Yield every operator, sensor, error class and YAML setting that the package's sources define."""
    yield from _classes(package, pattern="operators/*.py", kind="operator", suffix="Operator")
    yield from _classes(package, pattern="sensors/*.py", kind="sensor", suffix="Sensor")
    yield from _classes(package, pattern="core/errors.py", kind="error", suffix="")
    yield from _settings(package)


def _class_definitions(package: Path, *, pattern: str) -> Iterator[tuple[Path, ast.ClassDef]]:
    for file in sorted(package.glob(pattern)):
        for node in ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield file, node


def _classes(package: Path, *, pattern: str, kind: str, suffix: str) -> Iterator[PublicName]:
    for file, node in _class_definitions(package, pattern=pattern):
        if node.name.endswith(suffix):
            yield PublicName(kind=kind, name=node.name, source=file.relative_to(package.parent).as_posix())


def _settings(package: Path) -> Iterator[PublicName]:
    """Yield the fields of the pydantic models in ``config/``: annotated names, private and class variables left out."""
    for file, node in _class_definitions(package, pattern="config/*.py"):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                name = field.target.id
                if not name.startswith("_") and name != "model_config" and "ClassVar" not in ast.dump(field.annotation):
                    yield PublicName(kind="setting", name=_alias(field) or name, source=f"config/{file.name}")


def _alias(field: ast.AnnAssign) -> str | None:
    call = field.value
    if isinstance(call, ast.Call):
        for keyword in call.keywords:
            if keyword.arg == "alias" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return None


def undescribed(names: Iterable[PublicName], /, *, text: str) -> Iterator[str]:
    """Yield a complaint for every name that ``text`` does not hold as a whole word."""
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
    seen: set[tuple[str, str]] = set()
    for public in names:
        key = (public.kind, public.name)
        if public.name not in words and key not in seen:
            seen.add(key)
            yield f"{public.kind} {public.name!r} of {public.source} is in no page; describe it in docs/"


def complaints(root: Path, /) -> list[str]:
    """Return all mistakes of the documentation of a checkout; empty if there is none."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages(root))
    return [*broken_links(root), *undescribed(public_names(root / "airflow_model_ops"), text=text)]


def main() -> int:
    """Check the checkout this file belongs to."""
    root = Path(__file__).resolve().parent.parent
    found = complaints(root)
    for complaint in found:
        print(complaint)
    print(f"{len(pages(root))} pages checked, {len(found)} mistakes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
