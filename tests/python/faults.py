"""The table of faults: what happens for each line of FAULTS.md, and what proves it.

faults.csv has a row per line: its text up to the arrow, what this project does, the proofs, and, where it
does less than the line asks or nothing can be tested, the reason. Run as a script this writes docs/faults.md.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import click

FILE = Path(__file__).with_name("faults.csv")


@dataclass(frozen=True)
class Fault:
    """A row of faults.csv; proofs are `test_file.py::test[case]`, `unit test NAME` or `data test NAME`."""

    fault: str
    what_happens: str
    proofs: tuple[str, ...]
    why_not_more: str


def read() -> list[Fault]:
    """The rows, in the order of FAULTS.md."""
    with FILE.open(newline="") as stream:
        return [
            Fault(
                row["fault"],
                row["what_happens"],
                tuple(proof for proof in row["proofs"].split("; ") if proof),
                row["why_not_more"],
            )
            for row in csv.DictReader(stream)
        ]


def table() -> str:
    """The rows as Markdown."""
    lines = ["| fault | what happens | proved by |", "|---|---|---|"]
    for fault in read():
        proofs = ", ".join(f"`{proof}`" for proof in fault.proofs)
        why = f"{'; ' if proofs else ''}{fault.why_not_more}" if fault.why_not_more else ""
        cells = (fault.fault, fault.what_happens, proofs + why)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option(
    "--table",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/faults.md"),
    show_default=True,
    help="Markdown file to write.",
)
def main(target: Path) -> None:
    """Write the table."""
    target.write_text(table())


if __name__ == "__main__":
    main()
