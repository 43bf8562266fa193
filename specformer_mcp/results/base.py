"""What all answers share: the base model, the provenance, how detailed an answer is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Detail = Literal["concise", "full"]


def _without_titles(schema: dict[str, Any]) -> None:
    """Drop the titles that pydantic adds: each repeats its key, and models pay for every token."""
    schema.pop("title", None)
    for value in schema.get("properties", {}).values():
        value.pop("title", None)


class Result(BaseModel):
    """Base of all result models."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_without_titles)


class Provenance(Result):
    """What gave the answer."""

    release: str
    release_sha256: str
    index: str
    server: str


class Answer(Result):
    """Base of the answers of the tools.

    `next` is one line of what to try next.
    """

    notes: list[str] = []
    next: str = ""
    provenance: Provenance
