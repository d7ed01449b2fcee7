"""Files of a data set below its source folder: plain, packed one by one, or in zip archives.

A file has the name that it would have after unpacking everything in place: ``NL/train.csv`` may be a file of this name,
``NL/train.csv.gz``, or a member of ``NL.zip``. The plain file is preferred, so that an archive may stay beside its
unpacked files.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pfmsmtrec_flwr.data.read.streams import UNPACKERS, UTF_8, ClearReader, Utf8Reader, clear_reading, unpacked_name
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

_DEPTH = 2  # levels below the source folder that are searched
_KEY_FOLDERS = 6  # further levels that are searched if their folders are keys
_ANY_KEY = "*=*"
_ZIP = ".zip"
_FOREIGN = "__MACOSX"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a data set."""

    name: str
    """Name after unpacking, below the source folder."""
    path: Path
    """Path on disk, or path of the archive that holds the file."""
    member: str = ""
    """Name in the zip archive; empty outside of archives."""

    def __str__(self) -> str:
        """Return the name for messages."""
        return f"{self.path} ({self.member})" if self.member else str(self.path)

    @property
    def packed(self) -> bool:
        """True if the file can only be read from front to back."""
        return bool(self.member) or self.path.suffix.lower() in UNPACKERS

    @property
    def file(self) -> tuple[Path, str]:
        """Path and member, which identify the file on disk."""
        return self.path, self.member

    @property
    def packing(self) -> int:
        """Level of packing: 0 plain, 1 packed by itself, 2 in an archive."""
        return 2 if self.member else int(self.packed)

    @property
    def ending(self) -> str:
        """Ending of the unpacked file, with its dot, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    def size(self) -> int:
        """Return the number of bytes on disk, packed if the file is."""
        if not self.member:
            return self.path.stat().st_size
        with clear_reading(str(self)), zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).compress_size

    def identity(self) -> list[str | int]:
        """Return what identifies this version of the file: name, size, time of change, and keys above it."""
        status = self.path.stat()
        keys = [part for part in self.path.parts[:-1] if is_key_folder(part)]
        return [self.name, self.member, status.st_size, status.st_mtime_ns, *keys]

    @contextmanager
    def open(self, encoding: str = UTF_8) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
        """Open the unpacked file; yield it and a function that returns the number of bytes read from the disk so far.

        Parameters
        ----------
        encoding
            Encoding of a file of text, which is read as UTF-8.

        Raises
        ------
        UserError
            The file cannot be read, or the archive is damaged or incomplete. Reading raises it too.
        """
        name, ending = str(self), self.path.suffix.lower()
        with ExitStack() as stack:
            with clear_reading(name):
                handle = stack.enter_context(self.path.open("rb", buffering=-1 if self.packed else 0))
                stream: BinaryIO = handle
                if self.member:
                    archive = stack.enter_context(zipfile.ZipFile(handle))
                    stream = stack.enter_context(archive.open(self.member))  # type: ignore[assignment]
                elif ending in UNPACKERS:
                    stream = stack.enter_context(UNPACKERS[ending](handle))
            clear: BinaryIO = io.BufferedReader(ClearReader(name, stream))  # type: ignore[type-var]
            if encoding != UTF_8:
                clear = io.BufferedReader(Utf8Reader(name, clear, encoding))  # type: ignore[type-var]
            yield clear, handle.tell


class SourceFolder:
    """Source folder, in which files are found by patterns.

    Raises
    ------
    UserError
        The folder does not exist.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        if not path.is_dir():
            raise UserError(f"source folder {path} does not exist: give the folder that holds the files of {dataset}")
        self.path = path
        self._listed: dict[str, dict[str, SourceFile]] = {}
        self._clashes: dict[str, tuple[SourceFile, SourceFile]] = {}
        self._broken: list[str] = []

    def find(self, pattern: str) -> list[SourceFile]:
        """Return the files that match a pattern, sorted by name.

        The folder itself is searched first, then folders one and two levels below it. Folders such as ``country=NL``
        together are one place, and are searched at any level below these.

        Raises
        ------
        UserError
            No file matches, or files in several folders match.
        """
        parts = pattern.lower().split("/")
        for depth in range(_DEPTH + _KEY_FOLDERS + 1):
            folders = ["*"] * min(depth, _DEPTH) + [_ANY_KEY] * (depth - _DEPTH)
            if depth > _DEPTH and not any(self.path.glob("/".join(folders))):
                break
            listed = self._listed_as([*folders, *["*"] * len(parts)])
            found = [source for name, source in sorted(listed.items()) if _matches(name, folders + parts)]
            if not found:
                continue
            above = {
                "/".join(part for part in source.name.split("/")[:depth] if not is_key_folder(part)) for source in found
            }
            if len(above) > 1:
                places = ", ".join(str(self.path / each) for each in sorted(above))
                raise UserError(f"'{pattern}' is found in several folders ({places}): give one of them as the source")
            for source in found:
                if source.name.lower() in self._clashes:
                    one, other = self._clashes[source.name.lower()]
                    raise UserError(f"{one} and {other} both stand for '{source.name}': keep one of them")
            for problem in self._broken:
                logger.warning(problem)
            self._broken = []
            return found
        broken = f" ({'; '.join(self._broken)})" if self._broken else ""
        raise UserError(f"no file '{pattern}' in {self.path}{broken}: is this the folder of the data set?")

    def _listed_as(self, globs: Sequence[str]) -> dict[str, SourceFile]:
        """Return the files whose unpacked name has a part for each glob, by that name in lower case."""
        place = "/".join(globs)
        if place not in self._listed:
            listed: dict[str, SourceFile] = {}
            for path in self._files(globs):
                name = path.relative_to(self.path).as_posix()
                if path.suffix.lower() != _ZIP:
                    self._list(listed, SourceFile(unpacked_name(name), path))
            for depth in range(1, len(globs) + 1):
                for archive in self._files([*globs[: depth - 1], "*"]):
                    if archive.suffix.lower() == _ZIP:
                        for name, source in self._members(archive):
                            if name.count("/") + 1 == len(globs):
                                self._list(listed, source)
            self._listed[place] = listed
        return self._listed[place]

    def _list(self, listed: dict[str, SourceFile], source: SourceFile) -> None:
        """Add a file unless a less packed one has the same name. Two files that are packed alike clash."""
        key = source.name.lower()
        known = listed.get(key)
        if known is None or source.packing < known.packing:
            listed[key] = source
            self._clashes.pop(key, None)
        elif source.packing == known.packing and source.file != known.file:
            self._clashes[key] = known, source

    def _files(self, globs: Sequence[str]) -> list[Path]:
        found = self.path.glob("/".join(globs))
        return sorted(path for path in found if path.is_file() and not _hidden(path.relative_to(self.path).as_posix()))

    def _members(self, archive: Path) -> Iterator[tuple[str, SourceFile]]:
        """Yield each member under its two possible names: unpacked here, or into a folder with the archive's name."""
        try:
            with zipfile.ZipFile(archive) as opened:
                members = [info.filename for info in opened.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            problem = f"{archive.name} is no whole zip archive: {error}; download it again"
            if problem not in self._broken:
                self._broken.append(problem)
            return
        here = archive.parent.relative_to(self.path)
        for member in members:
            if _hidden(member):
                continue
            if member.lower().endswith((_ZIP, *UNPACKERS)):
                problem = f"{archive.name} holds further archives: unpack it once, what is within may stay packed"
                if problem not in self._broken:
                    self._broken.append(problem)
            for folder in (here, here / archive.stem):
                name = (folder / member).as_posix()
                yield name, SourceFile(name, archive, member)


def find_files(folder: SourceFolder, patterns: Sequence[str]) -> list[SourceFile]:
    """Return the files that match any of the patterns, each once, in the order of the patterns and by name."""
    found: list[SourceFile] = []
    for pattern in patterns:
        known = {source.file for source in found}
        found += [source for source in folder.find(pattern) if source.file not in known]
    return found


def _hidden(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, or was added to an archive by macOS."""
    return any(part == _FOREIGN or (part.startswith(".") and part not in {".", ".."}) for part in name.split("/"))


def is_key_folder(name: str) -> bool:
    """Return whether a folder's name is a key and its value, such as ``country=NL``."""
    return name.find("=") > 0


def _matches(name: str, parts: Sequence[str]) -> bool:
    """Return whether a name matches. What Spark keeps beside its tables, such as ``_SUCCESS``, matches no ``*``."""
    *folders, file = name.split("/")
    own = [*folders, file]
    kept = [*folders, "" if "." in file else file]
    return len(own) == len(parts) and all(
        fnmatchcase(each, part) and (not beside.startswith("_") or is_key_folder(beside) or part.startswith("_"))
        for each, beside, part in zip(own, kept, parts, strict=True)
    )
