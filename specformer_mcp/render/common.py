"""What all texts share: untrusted names on one line, the last lines of every answer."""

from __future__ import annotations

from specformer_mcp.results import Answer, Provenance

NOTE_WIDTH = 320


def clean(text: str, *, width: int = 60) -> str:
    r"""Return untrusted text on one line, printable and of limited length.

    Examples
    --------
    >>> clean("tumour\n2")
    'tumour 2'
    """
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def finish(lines: list[str], answer: Answer) -> str:
    """Return the text of an answer: its lines, notes, what to try next, provenance."""
    notes = [f"note: {clean(note, width=NOTE_WIDTH)}" for note in answer.notes]
    following = [f"next: {clean(answer.next, width=NOTE_WIDTH)}"] if answer.next else []
    return "\n".join([*lines, *notes, *following, provenance(answer.provenance)])


def provenance(source: Provenance) -> str:
    """Render the provenance on one line."""
    return (
        f"[{source.release} sha256 {source.release_sha256[:12]}, index {source.index}, "
        f"server {source.server}]"
    )


def counted(counts: dict[str, int]) -> str:
    """Render counts by name.

    Examples
    --------
    >>> counted({"TCGA-OV": 3, "TCGA-UCEC": 1})
    'TCGA-OV 3, TCGA-UCEC 1'
    """
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"
