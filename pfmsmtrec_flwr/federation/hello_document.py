"""Document with which a node answers the handshake, read before anything is made of its sizes."""

from __future__ import annotations

from typing import Annotated, Self

from flwr.app import ConfigRecord, RecordDict
from pydantic import ConfigDict, Field, model_validator

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.reasons import readable_reason
from pfmsmtrec_flwr.training.description import Description, ScenarioName
from pfmsmtrec_flwr.validation import Section, parse_json

HELLO_KEY = "hello"
"""Name of the record, and its only key."""
LONGEST_HELLO = 1 << 24
"""Largest number of characters of the document."""


class HelloHead(Section):
    """Part of the document that all versions have."""

    model_config = ConfigDict(extra="ignore")

    version: Annotated[str, Field(max_length=100)]
    partitions: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Nodes of a simulation; 0 for a deployed node, which does not know how many there are."""
    error: str = ""


class HelloDocument(HelloHead):
    """Scenarios that a node hosts."""

    model_config = ConfigDict(extra="forbid")

    partitions: Annotated[int, Field(ge=0, le=1_000_000)]
    scenarios: Annotated[list[Description], Field(max_length=100_000)]
    failed: Annotated[dict[ScenarioName, str], Field(max_length=100_000)] = Field(default_factory=dict)
    """Reason by name why a scenario that the node should host cannot take part."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [description.scenario for description in self.scenarios]
        if len(set(names)) < len(names):
            raise ValueError("a scenario is there twice")
        return self


def read_hello(content: RecordDict, node: str) -> HelloDocument:
    """Read a node's answer to the handshake.

    Parameters
    ----------
    content
        Content of the answer.
    node
        Name of the node, for the message of an error.

    Raises
    ------
    UserError
        The node reports an error, runs another version, or answers something else.
    """
    text = _text_of(content)
    if text is None:
        raise UserError(f"{node}: the answer to the handshake is not a document of pfmsmtrec-flwr")
    try:
        head = parse_json(HelloHead, text, node)
        if head.error:
            raise UserError(f"{node}: {head.error}")
        if head.version != pfmsmtrec_flwr.__version__:
            raise UserError(
                f"{node} runs pfmsmtrec-flwr {head.version}, the server {pfmsmtrec_flwr.__version__}: install the same"
            )
        return parse_json(HelloDocument, text, node)
    except UserError as error:
        raise UserError(readable_reason(str(error))) from None


def partitions_of(content: RecordDict) -> int:
    """Return the number of nodes of a simulation that an answer names, even if it is refused; 0 if it names none."""
    try:
        return parse_json(HelloHead, _text_of(content) or "", "").partitions
    except UserError:
        return 0


def _text_of(content: RecordDict) -> str | None:
    """Return the text of the document; None if there is none, or it is too long."""
    record = content.get(HELLO_KEY)
    text = record.get(HELLO_KEY) if isinstance(record, ConfigRecord) else None
    return text if isinstance(text, str) and len(content) == 1 and len(text) <= LONGEST_HELLO else None
