"""Files of a scenario on its own disk.

Its memory (local parameters, batch normalization, optimiser state) lies in one file per exchange. A file appears whole
or not at all, and the last two are kept, so that a repeated exchange starts from the same memory: the scenario may be
one exchange ahead of a server that goes on from a checkpoint. Large tables lie in files of their own, to which these
refer (`whole_tables`). Flower's own client state is lost at a restart and travels with every message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.tensor_files import errors_in_a_line, load_tensors, numbers_of, save_tensors
from pfmsmtrec_flwr.federation.client.whole_tables import WholeTables
from pfmsmtrec_flwr.results.predictions import SCENARIO_FILE, save_predictions
from pfmsmtrec_flwr.scoring.saved_model import DESCRIPTION_NAME, PARAMETERS_NAME, read_description

GENERATIONS = 2
NOISE_KEY = "noise.key"
"""File of the key from which a scenario draws the noise on its updates; it is deleted with the memory in the end."""
_COPIES = "tables/"
"""Start of the names of copies of tables in a file of memory."""
_STATE = re.compile(r"state-(\d+)\.safetensors")
_EVALUATED = re.compile(r"evaluated-(\d+)\.safetensors")


class LocalState:
    """Files of a scenario for one method of one run.

    Parameters
    ----------
    folder
        Folder of the files, made when the first one is written.
    start
        Folder of the scenario's model of an earlier run, from which it starts if there is one; None: it starts anew.
    """

    def __init__(self, folder: Path, start: Path | None = None) -> None:
        self.folder = folder
        self.start = start
        self._tables = WholeTables(folder)

    def load(self, exchange: int, counted: int = 0) -> ClientMemory:
        """Return the memory that an exchange left; an exchange that this scenario missed changed nothing.

        Parameters
        ----------
        exchange
            Number of the exchange.
        counted
            Last exchange of this scenario whose update counted at the server; 0: none has.

        Returns
        -------
        ClientMemory
            Empty before the first exchange.

        Raises
        ------
        UserError
            The file is damaged, or the memory of an exchange that counted is not there.
        """
        numbers = numbers_of(self.folder, _STATE)
        last = max((number for number in numbers if number <= exchange), default=0)
        if last < counted:
            raise UserError(_no_memory(self.folder.name, exchange, counted, numbers))
        if not last:
            return ClientMemory()
        tensors = load_tensors(self.folder / f"state-{last}.safetensors")
        copies = {name.removeprefix(_COPIES): tensors.pop(name) for name in [*tensors] if name.startswith(_COPIES)}
        return ClientMemory.from_tensors(self._tables.completed(tensors), self._tables.copies(copies))

    def settled(self, copies: Mapping[str, TableCopy]) -> dict[str, TableCopy]:
        """Return copies that are the same tables; large ones that are far from a whole one in a file are written."""
        return self._tables.settled(copies)

    def save(self, exchange: int, memory: ClientMemory) -> None:
        """Keep the memory that an exchange left and the one before it; drop all others.

        Files of later exchanges come from a run that was broken off in the same folder, or are made again now.
        """
        copies = self._tables.entries(self._tables.settled(memory.tables))
        tensors = self._tables.shortened(memory.to_tensors(), renew=True)
        tensors |= {_COPIES + name: tensor for name, tensor in copies.items()}
        save_tensors(self.folder / f"state-{exchange}.safetensors", tensors)
        numbers = numbers_of(self.folder, _STATE)
        kept = [number for number in numbers if number <= exchange][-GENERATIONS:]
        for number in set(numbers) - set(kept):
            (self.folder / f"state-{number}.safetensors").unlink(missing_ok=True)
        states = [self.folder / f"state-{number}.safetensors" for number in kept]
        measured = [self.folder / f"evaluated-{number}.safetensors" for number in numbers_of(self.folder, _EVALUATED)]
        self._tables.drop_all_but([*states, *measured])
        self._drop_unfinished()

    def save_evaluated(
        self,
        round_number: int,
        tensors: Mapping[str, Tensor],
        selected: int,
        tables: Mapping[str, TableCopy] | None = None,
    ) -> None:
        """Keep the whole model that was measured after a round, and drop all others but the selected round's.

        Parameters
        ----------
        round_number
            Number of the round.
        tensors
            State of the model, by name.
        selected
            Number of the best round so far.
        tables
            Tables of the model that are not among the tensors, settled, by name.
        """
        short = self._tables.shortened(tensors, renew=False) | self._tables.entries(tables or {})
        save_tensors(self.folder / f"evaluated-{round_number}.safetensors", short)
        for number in numbers_of(self.folder, _EVALUATED):
            if number not in (round_number, selected):
                (self.folder / f"evaluated-{number}.safetensors").unlink(missing_ok=True)

    def load_evaluated(self, round_number: int) -> dict[str, Tensor]:
        """Return the whole model that was measured after a round; an order to test that is repeated finds it saved.

        Raises
        ------
        UserError
            The model is missing or damaged.
        """
        path = self.folder / f"evaluated-{round_number}.safetensors"
        if not path.exists() and self._saved_round() == round_number:
            save_tensors(
                path, load_tensors(self.folder / PARAMETERS_NAME)
            )  # the final model is about to be written once more
        if not path.exists():
            raise UserError(
                f"the model of round {round_number} is not in {self.folder}: was the folder emptied meanwhile?"
            )
        return self._tables.completed(load_tensors(path))

    def save_predictions(self, probabilities: NDArray[np.float32]) -> None:
        """Write the predicted probabilities (n, T) of test rows, which stay with the scenario."""
        save_predictions(probabilities, self.folder / SCENARIO_FILE)

    def save_model(self, tensors: Mapping[str, Tensor], describe: Callable[[Path], str]) -> Path:
        """Write the final model and its description, and drop the files that only further rounds would need.

        Parameters
        ----------
        tensors
            State of the model, by name.
        describe
            Function from the folder, which holds the parameters by then, to the JSON text from which the model can be
            built again. It may put further files into the folder.

        Returns
        -------
        Path
            File of the parameters.
        """
        path = self.folder / PARAMETERS_NAME
        save_tensors(path, tensors)
        with errors_in_a_line(path):
            description = path.with_name(DESCRIPTION_NAME)
            description.unlink(missing_ok=True)  # one of a run before, which does not fit the new parameters
            unfinished = description.with_name(f".{description.name}-{os.getpid()}")
            unfinished.write_text(describe(self.folder), encoding="utf-8")
            unfinished.replace(description)
        (self.folder / NOISE_KEY).unlink(missing_ok=True)
        for pattern, name in ((_STATE, "state"), (_EVALUATED, "evaluated")):
            for number in numbers_of(self.folder, pattern):
                (self.folder / f"{name}-{number}.safetensors").unlink(missing_ok=True)
        self._tables.drop_all_but([])
        self._drop_unfinished()
        return path

    def _saved_round(self) -> int | None:
        """Return the round of the final model; None if there is none, or it is not complete."""
        try:
            return read_description(self.folder).selected_round
        except UserError:
            return None

    def _drop_unfinished(self) -> None:
        """Remove what processes that were killed have left of files that they were writing."""
        for pattern in (".*.safetensors-*", ".*.json-*"):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)


def _no_memory(scenario: str, exchange: int, counted: int, kept: Sequence[int]) -> str:
    """Say why a scenario cannot go on."""
    if later := [number for number in kept if number > exchange]:
        return (
            f"scenario {scenario} cannot go back to exchange {counted}, which the server goes on from: it keeps the "
            f"memory of exchange {later[0]} and of none before; nothing was changed: start a new run"
        )
    return (
        f"the memory of scenario {scenario} after exchange {counted} is gone, and the server counts on it: bring its "
        "files back, or start a new run"
    )
