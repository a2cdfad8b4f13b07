"""The page docs/benchmarks.md, of which each benchmark writes one section."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Measured on one machine of two cores, which does other things, too: ratios within one run
mean something, seconds do not.
"""


def write_section(section, page=PAGE):
    """Put `section`, which begins with `## `, in the place of that of the same heading."""
    head, *sections = re.split(
        r"(?m)^(?=## )", page.read_text() if page.exists() else HEAD
    )
    titles = [text.partition("\n")[0] for text in sections]
    title = section.partition("\n")[0]
    if title not in titles:
        sections.append("")
        titles.append(title)
    sections[titles.index(title)] = section
    parts = [part.strip() + "\n" for part in (head, *sections)]
    page.write_text("\n".join(parts))
    print(section)
