"""What all answers share: the base model, the provenance, how detailed an answer is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema

Detail = Literal["concise", "full"]


def _short(schema: dict[str, Any]) -> None:
    """Drop from a schema what says nothing: models pay for every token.

    Titles repeat their keys. What has its default is left out of an answer, so a value that may be
    None is never null there, and defaults never matter.
    """
    schema.pop("title", None)
    schema.pop("description", None)  # the docstring is for who reads the code
    for value in schema.get("properties", {}).values():
        value.pop("title", None)
        value.pop("default", None)
        choices = value.get("anyOf", [])
        if {"type": "null"} in choices and len(choices) == 2:
            del value["anyOf"]
            value |= next(choice for choice in choices if choice != {"type": "null"})


class Result(BaseModel):
    """Base of all result models."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_short)


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
    # Seven tools answer it, and its keys are told by any answer: its schema is not repeated.
    provenance: Annotated[Provenance, WithJsonSchema({"type": "object"})]
