"""Streams of a file's bytes: packed or plain, in UTF-8, with errors that name the file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, BinaryIO

import pyarrow as pa

from pfmsmtrec_flwr.errors import UserError

UTF_8 = "utf-8"

_READ_BYTES = 1 << 20


def _zstandard(packed: BinaryIO) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")


UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=packed),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}
"""Function that unpacks a stream, by the ending of the file's name."""


def unpacked_name(name: str) -> str:
    """Return the name of a file after unpacking: without the ending that says how it is packed."""
    ending = PurePath(name).suffix
    return name.removesuffix(ending) if ending.lower() in UNPACKERS else name


class ClearReader(io.RawIOBase):
    """Stream whose errors become a `UserError` that names the file."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        super().__init__()
        self._name = name
        self._stream = stream

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read into a buffer, and return the number of bytes; 0 at the end."""
        with clear_reading(self._name):
            return self._stream.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


class Utf8Reader(io.RawIOBase):
    """Stream of text in another encoding, read as UTF-8.

    Parameters
    ----------
    name
        Name of the file for messages.
    stream
        Stream of the text.
    encoding
        Encoding of the text, as Python names it.

    Raises
    ------
    UserError
        Reading raises it where bytes are no text in this encoding. The message names the line.
    """

    def __init__(self, name: str, stream: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._name = name
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._lines = LineCounter()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read into a buffer, and return the number of bytes; 0 at the end."""
        while not self._ready and not self._ended:
            self._read()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _read(self) -> None:
        data, before = self._stream.read(_READ_BYTES), self._decoder.getstate()
        self._ended = not data
        try:
            self._ready = self._decoder.decode(data, final=self._ended).encode()
        except UnicodeDecodeError as wrong:
            self._decoder.setstate(before)
            self._lines.add(self._decoder.decode(data[: max(0, wrong.start - len(before[0]))]).encode())
            byte = wrong.object[wrong.start : wrong.start + 1].hex()
            raise UserError(
                f"{self._name}, line {1 + self._lines.count}: got the byte 0x{byte}, expected text in {self._encoding}"
            ) from None
        except UnicodeError as wrong:  # UTF-16 without a mark of the order of bytes
            raise UserError(
                f"{self._name}: it is no text in {self._encoding} ({wrong}): correct table.encoding"
            ) from None
        self._lines.add(self._ready)


class LineCounter:
    """Number of line ends in bytes that arrive in parts."""

    def __init__(self) -> None:
        self.count = 0
        self._before = b""

    def add(self, data: bytes) -> None:
        """Count the line ends of the next bytes. A carriage return and a line feed are one, in two parts too."""
        self.count += line_ends(self._before + data) - line_ends(self._before)
        self._before = data[-1:] or self._before


def line_ends(data: bytes) -> int:
    """Count the line ends of every kind."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


@contextmanager
def clear_reading(name: str) -> Iterator[None]:
    """Turn an error while reading a file into an error for the user.

    Raises
    ------
    UserError
        The file cannot be read, or is packed and damaged.
    """
    damaged = f"{name}: the archive is damaged or incomplete"
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise UserError(f"{damaged} ({error}): download it again") from None
    except OSError as error:
        if error.errno is None:  # not of the file system
            raise UserError(f"{damaged} ({error}): download it again") from None
        raise UserError(f"cannot read {name}: {error.strerror or error}") from None
    except RuntimeError as error:  # zipfile raises this when a password is needed
        raise UserError(f"cannot read {name}: {error}") from None
