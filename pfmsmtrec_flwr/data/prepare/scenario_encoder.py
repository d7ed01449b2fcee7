"""Everything that turns raw rows of a scenario into inputs of its model, and its files.

``schema.yaml`` is the schema. ``encoders.json`` holds the names and order of the columns, the number of table rows of
each field, and the means and standard deviations of the numeric columns. ``vocabularies.safetensors`` holds the
vocabulary of each field that learned one: the 64-bit hashes of its values, in the order of their rows, the first of
which is row 1. Where no field learned a vocabulary this file does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import pfmsmtrec_flwr
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.encoders import NO_HASH, declared_encoder
from pfmsmtrec_flwr.data.encode.hashes import Buckets, HashedEncoder, LearnedVocabulary
from pfmsmtrec_flwr.data.prepare.columns import field_output, is_hashed, number_output
from pfmsmtrec_flwr.data.prepare.moments import Standardiser
from pfmsmtrec_flwr.data.prepare.scenario_rows import columns_of_field
from pfmsmtrec_flwr.data.schema.document import SCHEMA_NAME, DatasetSchema, has, load_schema
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.store.manifest import ENCODERS_NAME, VOCABULARIES_NAME, Field
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import dump_yaml

ENCODERS_FORMAT = 1
"""Version of the files; a higher one is refused."""


@dataclass(frozen=True, slots=True)
class ScenarioEncoder:
    """Encoders and moments of a scenario, with the schema that they belong to.

    Attributes
    ----------
    schema
        Schema of the data set.
    scenario
        Name of the scenario.
    encoders
        Encoder of each field whose values are hashed first.
    standardiser
        Standardiser of the numeric columns.
    """

    schema: DatasetSchema
    scenario: str
    encoders: Mapping[str, HashedEncoder]
    standardiser: Standardiser

    def stored_fields(self) -> tuple[Field, ...]:
        """Return the categorical fields in their order, with the rows of their tables."""
        return tuple(
            Field(name, self._table_rows(name, spec), spec.embedding == "federated", columns_of_field(spec))
            for name, spec in self.schema.fields.items()
        )

    def inputs(
        self, derived: Mapping[str, Array], rows: npt.NDArray[np.int64] | slice
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the inputs of the model: the values of the fields (n, C), and the numeric columns (n, N).

        Parameters
        ----------
        derived
            Outputs of `columns.feature_outputs` by name, (m,) or (m, width) each.
        rows
            Rows of the outputs that belong to the scenario.
        """
        first = next(iter(derived.values()))
        count = len(first[rows])
        fields, numeric = self.schema.fields, self.schema.numeric

        def field_values(name: str) -> Array:
            spec = fields[name]
            if not has(spec.scenarios, self.scenario):
                return np.full((count, columns_of_field(spec)), NO_HASH, np.uint64 if is_hashed(spec) else np.int32)
            return derived[field_output(name)][rows].reshape(count, columns_of_field(spec))

        numbers = np.full((count, len(numeric)), np.nan)
        for place, (name, spec) in enumerate(numeric.items()):
            if has(spec.scenarios, self.scenario):
                numbers[:, place] = derived[number_output(name)][rows]
        return self.categorical(field_values, count), self.standardiser.apply(numbers)

    def categorical(self, values: Callable[[str], Array], count: int) -> npt.NDArray[np.int32]:
        """Return the rows of the embedding tables (n, C).

        Parameters
        ----------
        values
            Function that returns the hashes of a field, or its rows where the schema declares them, (n, width).
        count
            Number of rows.
        """
        encoded = [
            self.encoders[name].rows(values(name)) if name in self.encoders else values(name).clip(0)
            for name in self.schema.fields
        ]
        return np.concatenate([*encoded, np.empty((count, 0), np.int32)], 1, dtype=np.int32)

    def save(self, folder: Path) -> list[str]:
        """Write the files into a folder, and return their names.

        Raises
        ------
        OSError
            The file system refuses.
        """
        moments = zip(
            self.schema.numeric, self.standardiser.mean.tolist(), self.standardiser.deviation.tolist(), strict=True
        )
        document = {
            "format": ENCODERS_FORMAT,
            "package": pfmsmtrec_flwr.__version__,
            "scenario": self.scenario,
            "fields": [[field.name, field.size, field.most] for field in self.stored_fields()],
            "numeric": [[name, mean, deviation] for name, mean, deviation in moments],
            "tasks": list(self.schema.tasks_of(self.scenario)),
        }
        (folder / ENCODERS_NAME).write_text(json.dumps(document, indent=1), encoding="utf-8")
        schema = _plain(self.schema.model_dump(exclude_unset=True))
        (folder / SCHEMA_NAME).write_text(dump_yaml(schema), encoding="utf-8")
        vocabularies = {
            name: encoder.hashes for name, encoder in self.encoders.items() if isinstance(encoder, LearnedVocabulary)
        }
        if not vocabularies:
            return [ENCODERS_NAME, SCHEMA_NAME]
        save_file(vocabularies, folder / VOCABULARIES_NAME)
        return [ENCODERS_NAME, SCHEMA_NAME, VOCABULARIES_NAME]

    @classmethod
    def load(cls, folder: Path) -> ScenarioEncoder:
        """Read what `save` wrote.

        Raises
        ------
        UserError
            A file is missing, damaged or of a later format, or the files do not belong together.
        """
        path = folder / ENCODERS_NAME
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] > ENCODERS_FORMAT:
                raise UserError(
                    f"{path} has format {document['format']}, this version reads up to {ENCODERS_FORMAT}: "
                    "install the version that wrote it"
                )
            schema = load_schema(folder / SCHEMA_NAME)
            _, means, deviations = zip(*document["numeric"], strict=True) if document["numeric"] else ((), (), ())
            standardiser = Standardiser(np.array(means, np.float64), np.array(deviations, np.float64))
            learned = any(spec.vocabulary is not None for spec in schema.fields.values())
            vocabularies = load_file(folder / VOCABULARIES_NAME) if learned else {}
            encoders = {
                name: _encoder(spec, vocabularies.get(name)) for name, spec in schema.fields.items() if is_hashed(spec)
            }
            found = cls(schema, document["scenario"], encoders, standardiser)
            stored = [[field.name, field.size, field.most] for field in found.stored_fields()]
            if stored != document["fields"] or len(means) != len(schema.numeric):
                raise ValueError("its fields differ from those of its schema and vocabularies")
        except OSError as error:
            raise UserError(f"no encoders in {folder} ({error.strerror or error})") from None
        except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is damaged or does not belong to its folder: {error!r}") from None
        return found

    def _table_rows(self, name: str, spec: FieldSection) -> int:
        if name in self.encoders:
            return self.encoders[name].size
        encoder = declared_encoder(spec, self.schema.form_of(spec.columns(name)[0]))
        if encoder is None:
            raise ValueError(f"field '{name}' has no encoder")
        return encoder.size


def _plain(document: Any) -> Any:
    """Return a document with lists in place of tuples."""
    if isinstance(document, dict):
        return {key: _plain(value) for key, value in document.items()}
    return [_plain(each) for each in document] if isinstance(document, tuple | list) else document


def _encoder(spec: FieldSection, vocabulary: npt.NDArray[np.uint64] | None) -> HashedEncoder:
    if spec.hash is not None:
        return Buckets(spec.hash.buckets)
    if vocabulary is None:
        raise ValueError("a vocabulary is missing")
    return LearnedVocabulary(vocabulary)
