"""Files of a data set below its source folder: plain, gzipped, or in zip archives.

A file has the name that it would have after unpacking everything in place: ``NL/train.csv`` may be a file of this name,
``NL/train.csv.gz``, or a member of ``NL.zip``. The plain file is preferred, so that an archive may stay beside its
unpacked files.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

_DEPTH = 2  # levels below the source folder that are searched
_GZIP = ".gz"
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
        return bool(self.member) or self.path.suffix.lower() == _GZIP

    @property
    def file(self) -> tuple[Path, str]:
        """Path and member, which identify the file on disk."""
        return self.path, self.member

    @property
    def packing(self) -> int:
        """Level of packing: 0 plain, 1 gzipped, 2 in an archive."""
        return 2 if self.member else int(self.packed)

    @property
    def ending(self) -> str:
        """Ending of the unpacked file, with its dot, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    def size(self) -> int:
        """Return the number of bytes on disk, packed if the file is."""
        if not self.member:
            return self.path.stat().st_size
        with _clear(self), zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).compress_size

    def identity(self) -> list[str | int]:
        """Return what identifies this version of the file: name, size and time of change."""
        status = self.path.stat()
        return [self.name, self.member, status.st_size, status.st_mtime_ns]

    @contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
        """Open the unpacked file; yield it and a function that returns the number of bytes read from the disk so far.

        Raises
        ------
        UserError
            The file cannot be read, or the archive is damaged or incomplete. Reading raises it too.
        """
        with ExitStack() as stack:
            with _clear(self):
                handle = stack.enter_context(self.path.open("rb", buffering=-1 if self.packed else 0))
                stream: BinaryIO = handle
                if self.member:
                    archive = stack.enter_context(zipfile.ZipFile(handle))
                    stream = stack.enter_context(archive.open(self.member))  # type: ignore[assignment]
                elif self.path.suffix.lower() == _GZIP:
                    stream = stack.enter_context(gzip.GzipFile(fileobj=handle))  # type: ignore[assignment]
            yield io.BufferedReader(_ClearReader(self, stream)), handle.tell  # type: ignore[type-var]


class _ClearReader(io.RawIOBase):
    """Stream whose errors become a `UserError` that names the file."""

    def __init__(self, source: SourceFile, stream: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        with _clear(self._source):
            return self._stream.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


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
        self._listed: dict[int, dict[str, SourceFile]] = {}
        self._clashes: dict[str, tuple[SourceFile, SourceFile]] = {}
        self._broken: list[str] = []

    def find(self, pattern: str) -> list[SourceFile]:
        """Return the files that match a pattern, sorted by name.

        The folder itself is searched first, then folders one and two levels below it.

        Raises
        ------
        UserError
            No file matches, or files in several folders match.
        """
        parts = pattern.lower().split("/")
        for depth in range(_DEPTH + 1):
            listed = self._at_depth(len(parts) + depth)
            found = [source for name, source in sorted(listed.items()) if _matches(name, ["*"] * depth + parts)]
            if not found:
                continue
            above = {"/".join(source.name.split("/")[:depth]) for source in found}
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

    def _at_depth(self, parts: int) -> dict[str, SourceFile]:
        """Return the files whose unpacked name has `parts` parts, by that name in lower case."""
        if parts not in self._listed:
            listed: dict[str, SourceFile] = {}
            for path in self._files(parts):
                name = path.relative_to(self.path).as_posix()
                if path.suffix.lower() == _GZIP:
                    unpacked = name[: -len(_GZIP)]
                    self._list(listed, SourceFile(unpacked, path))
                elif path.suffix.lower() != _ZIP:
                    self._list(listed, SourceFile(name, path))
            for depth in range(1, parts + 1):
                for archive in self._files(depth):
                    if archive.suffix.lower() == _ZIP:
                        for name, source in self._members(archive):
                            if name.count("/") + 1 == parts:
                                self._list(listed, source)
            self._listed[parts] = listed
        return self._listed[parts]

    def _list(self, listed: dict[str, SourceFile], source: SourceFile) -> None:
        """Add a file unless a less packed one has the same name. Two files that are packed alike clash."""
        key = source.name.lower()
        known = listed.get(key)
        if known is None or source.packing < known.packing:
            listed[key] = source
            self._clashes.pop(key, None)
        elif source.packing == known.packing and source.file != known.file:
            self._clashes[key] = known, source

    def _files(self, parts: int) -> list[Path]:
        found = self.path.glob("/".join(["*"] * parts))
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
            if member.lower().endswith((_ZIP, _GZIP)):
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


def _matches(name: str, parts: Sequence[str]) -> bool:
    own = name.split("/")
    return len(own) == len(parts) and all(map(fnmatchcase, own, parts))


@contextmanager
def _clear(source: SourceFile) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{source}: the archive is damaged or incomplete ({error}): download it again") from None
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror or error}") from None
    except RuntimeError as error:  # zipfile raises this when a password is needed
        raise UserError(f"cannot read {source}: {error}") from None
