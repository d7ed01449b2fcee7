"""What the start script of a machine would start, read from the script itself, edits included."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError

SCRIPT_NAME = "start.sh"


@dataclass(frozen=True, slots=True)
class Started:
    """Command of a start script.

    Attributes
    ----------
    kind
        ``superlink`` or ``supernode``.
    options
        Values by option, as ``--port``; options without a value have an empty one.
    """

    kind: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> Started:
        """Read the start script of a machine's folder.

        Raises
        ------
        UserError
            There is none, or it starts something else.
        """
        path = folder / SCRIPT_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            raise UserError(
                f"no {SCRIPT_NAME} in {folder}: name the folder of one machine, such as DIR/server or DIR/sites/NL"
            ) from None
        _, _, command = text.partition("exec pfmsmtrec deploy ")
        kind, *words = shlex.split(command.replace("\\\n", " ").replace("$here", str(folder))) or [""]
        if kind not in ("superlink", "supernode"):
            raise UserError(f"{path} starts no `pfmsmtrec deploy superlink` and no `pfmsmtrec deploy supernode`")
        options: dict[str, str] = {}
        name = ""
        for word in words:
            if word.startswith("--"):
                name = word
                options[name] = ""
            elif name:
                options[name] = word
        return cls(kind, options)

    def path(self, option: str) -> Path:
        """Return the path that an option names.

        Raises
        ------
        UserError
            The script does not set the option.
        """
        if not (value := self.options.get(option, "")):
            raise UserError(f"{SCRIPT_NAME} sets no {option}")
        return Path(value)

    @property
    def node_config(self) -> dict[str, str]:
        """Keys of ``--node-config`` whose values are texts."""
        return dict(re.findall(r'(\S+?)="([^"]*)"', self.options.get("--node-config", "")))
