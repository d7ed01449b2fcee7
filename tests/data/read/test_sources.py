"""Sources: plain files, gzip files and members of zip archives; which file a pattern stands for."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.read.sources import SourceFile, SourceFolder, find_files
from pfmsmtrec_flwr.errors import UserError


def put(path: Path, data: bytes = b"a\n1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def names(folder: Path, pattern: str) -> list[str]:
    return [source.name for source in SourceFolder(folder, "shop").find(pattern)]


def read(source: SourceFile) -> bytes:
    with source.open() as (stream, _):
        return stream.read()


def refuse(folder: Path, pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SourceFolder(folder, "shop").find(pattern)


def refuse_reading(source: SourceFile, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(source)


def test_files_of_a_pattern_by_name(tmp_path: Path) -> None:
    for name in ("log10.csv", "log2.csv", "log1.csv", "users.csv"):
        put(tmp_path / name)
    assert names(tmp_path, "log*.csv") == ["log1.csv", "log10.csv", "log2.csv"]
    found = find_files(SourceFolder(tmp_path, "shop"), ["log2.csv", "log*.csv"])
    assert [source.name for source in found] == ["log2.csv", "log1.csv", "log10.csv"]


@pytest.mark.parametrize("name", ["NL/train.csv", "NL/train.csv.gz", "nl/TRAIN.CSV", "NL/Train.csv.GZ"])
def test_upper_and_lower_case_are_alike_plain_or_gzipped(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, gzip.compress(b"text") if name.lower().endswith(".gz") else b"text")
    (source,) = SourceFolder(tmp_path, "shop").find("NL/train.csv")
    assert read(source) == b"text"
    assert source.ending == ".csv"
    assert source.packed == name.lower().endswith(".gz")
    assert str(source) == str(tmp_path / name)


@pytest.mark.parametrize("archive", ["NL.zip", "all.ZIP", "below/NL.zip", "NL/packed.zip"])
@pytest.mark.parametrize("member", ["NL/train.csv", "nl/train.CSV"])
def test_members_of_zip_archives(tmp_path: Path, archive: str, member: str) -> None:
    path = put_zip(tmp_path / archive, {member: b"text", "other.csv": b"", "__MACOSX/NL/train.csv": b"no"})
    (source,) = SourceFolder(tmp_path, "shop").find("NL/train.csv")
    assert read(source) == b"text"
    assert str(source) == f"{path} ({member})"
    assert source.packed


def test_a_member_is_also_known_as_if_unpacked_into_a_folder_of_the_archives_name(tmp_path: Path) -> None:
    put_zip(tmp_path / "NL.zip", {"train.csv": b"text"})
    assert names(tmp_path, "NL/train.csv") == ["NL/train.csv"]
    assert names(tmp_path, "train.csv") == ["train.csv"]


def test_a_plain_file_is_taken_before_a_packed_one(tmp_path: Path) -> None:
    put_zip(tmp_path / "log.zip", {"log.csv": b"zipped"})
    assert read(SourceFolder(tmp_path, "shop").find("log*")[0]) == b"zipped"
    put(tmp_path / "log.csv.gz", gzip.compress(b"gzipped"))
    assert read(SourceFolder(tmp_path, "shop").find("log*")[0]) == b"gzipped"
    put(tmp_path / "log.csv", b"plain")
    (source,) = SourceFolder(tmp_path, "shop").find("log*")
    assert read(source) == b"plain"
    assert not source.packed


@pytest.mark.parametrize("place", ["data", "shop/data", "shop/data.zip", "shop.zip"])
def test_files_are_found_in_folders_below(tmp_path: Path, place: str) -> None:
    if place.endswith(".zip"):
        put_zip(tmp_path / place, {"log.csv": b"text"})
    else:
        put(tmp_path / place / "log.csv", b"text")
    assert [read(source) for source in SourceFolder(tmp_path, "x").find("log.csv")] == [b"text"]


def test_too_deep_is_not_found(tmp_path: Path) -> None:
    put(tmp_path / "a/b/c/log.csv")
    refuse(tmp_path, "log.csv", rf"^no file 'log\.csv' in {tmp_path}: is this the folder of the data set\?$")


def test_the_folder_itself_goes_before_those_below(tmp_path: Path) -> None:
    put(tmp_path / "log1.csv")
    put(tmp_path / "old/log2.csv")
    assert names(tmp_path, "log*.csv") == ["log1.csv"]


def test_several_folders_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a/log.csv")
    put_zip(tmp_path / "b.zip", {"b/log.csv": b""})
    places = rf"\({tmp_path}/a, {tmp_path}/b\)"
    message = rf"^'log\.csv' is found in several folders {places}: give one of them as the source$"
    refuse(tmp_path, "log.csv", message)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^source folder .*none does not exist: give the folder .* files of shop$"):
        SourceFolder(tmp_path / "none", "shop")


def test_a_zip_file_that_is_none_or_was_cut_off_is_reported(tmp_path: Path) -> None:
    put(tmp_path / "page.zip", b"<html>please log in</html>")
    why = r"^no file 'log\.csv' in .* \(page\.zip is no whole zip archive: File is not a zip file; download it again\)"
    refuse(tmp_path, "log.csv", why)
    (tmp_path / "page.zip").unlink()
    whole = put_zip(tmp_path / "log.zip", {"log.csv": bytes(range(256)) * 40}).read_bytes()
    put(tmp_path / "log.zip", whole[: len(whole) // 2])
    refuse(tmp_path, "log.csv", r"\(log\.zip is no whole zip archive: .*; download it again\)")


@pytest.mark.parametrize("within", ["log.zip", "log.csv.gz"])
def test_an_archive_within_an_archive_is_reported(tmp_path: Path, within: str) -> None:
    put_zip(tmp_path / "all.zip", {within: b""})
    why = r"\(all\.zip holds further archives: unpack it once, what is within may stay packed\): is this the folder"
    refuse(tmp_path, "log.csv", why)


def test_damaged_members_and_gzip_files_are_reported(tmp_path: Path) -> None:
    path = put_zip(tmp_path / "log.zip", {"log.csv": b"text" * 1000})
    (source,) = SourceFolder(tmp_path, "shop").find("log.csv")
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 0xFF
    path.write_bytes(damaged)
    refuse_reading(source, r"^.*log\.zip \(log\.csv\): the archive is damaged or incomplete \(.*\): download it again$")
    put(path, b"nothing")
    refuse_reading(source, r"log\.zip \(log\.csv\): the archive is damaged or incomplete \(File is not a zip file\)")
    packed = gzip.compress(b"text" * 1000)
    source = SourceFile("log.csv", put(tmp_path / "log.csv.gz", packed[:-20]))
    refuse_reading(source, r"^.*log\.csv\.gz: the archive is damaged or incomplete \(Compressed file ended before")
    put(tmp_path / "log.csv.gz", b"<html>")
    refuse_reading(source, r"log\.csv\.gz: the archive is damaged or incomplete \(Not a gzipped file")


def test_a_password_and_a_file_that_is_gone(tmp_path: Path) -> None:
    path = put_zip(tmp_path / "log.zip", {"log.csv": b"text"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption, in the member's header and in the archive's list
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    (source,) = SourceFolder(tmp_path, "shop").find("log.csv")
    refuse_reading(source, r"^cannot read .*log\.zip \(log\.csv\): .*password required")
    path.unlink()
    refuse_reading(source, r"^cannot read .*log\.zip \(log\.csv\): No such file or directory$")


def test_a_file_that_changes_is_another_one(tmp_path: Path) -> None:
    source = SourceFile("log.csv", put(tmp_path / "log.csv", b"text"))
    before = source.identity()
    assert source.identity() == before
    put(tmp_path / "log.csv", b"text and more")
    assert source.identity() != before


def test_bytes_read_from_the_disk(tmp_path: Path) -> None:
    put_zip(tmp_path / "all.zip", {"a.csv": bytes(range(256)) * 9, "b.csv": b"text" * 100_000})
    (source,) = SourceFolder(tmp_path, "shop").find("b.csv")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert source.size() == archive.getinfo("b.csv").compress_size
    with source.open() as (stream, position):
        before = position()
        stream.read()
        assert position() - before == source.size()
    assert SourceFile("a.csv", put(tmp_path / "a.csv", b"12345")).size() == 5


def test_two_that_stand_for_the_same_file_are_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        put_zip(tmp_path / f"part{number}.zip", {"log.csv": b"a\n1\n"})
    with pytest.raises(
        UserError, match=r"part1\.zip \(log\.csv\) and .*part2\.zip .* both stand for 'log\.csv': keep one"
    ):
        SourceFolder(tmp_path, "shop").find("log*.csv")
    put(tmp_path / "log.csv")  # unpacked, it goes before both
    assert names(tmp_path, "log*.csv") == ["log.csv"]
    put(tmp_path / "LOG.csv")
    with pytest.raises(UserError, match="both stand for"):
        SourceFolder(tmp_path, "shop").find("log.csv")


def test_one_file_under_two_patterns_is_read_once(tmp_path: Path) -> None:
    put_zip(tmp_path / "a.zip", {"log.csv": b"a\n1\n"})
    assert len(find_files(SourceFolder(tmp_path, "shop"), ["log.csv", "*/log.csv"])) == 1


def test_hidden_files_are_none(tmp_path: Path) -> None:
    put(tmp_path / "._log.csv")
    put_zip(tmp_path / "log.zip", {"log.csv": b"a\n1\n", "__MACOSX/._log.csv": b"?"})
    assert names(tmp_path, "*log.csv") == ["log.csv"]


def test_a_damaged_archive_beside_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "log1.csv")
    put(tmp_path / "log2.zip", b"not a zip")
    assert names(tmp_path, "log*.csv") == ["log1.csv"]
    assert "log2.zip is no whole zip archive" in caplog.text


def test_folders_that_are_keys_are_one_place_at_any_level(tmp_path: Path) -> None:
    for country in ("NL", "DE"):
        put(tmp_path / f"country={country}/part-0.csv")
        put(tmp_path / f"log/year=2024/month=01/day=0{len(country)}/country={country}/deep.csv")
    assert names(tmp_path, "*.csv") == ["country=DE/part-0.csv", "country=NL/part-0.csv"]
    assert names(tmp_path, "country=*/*.csv") == names(tmp_path, "*.csv")
    assert names(tmp_path, "country=NL/*.csv") == ["country=NL/part-0.csv"]
    deep = [f"log/year=2024/month=01/day=02/country={country}/deep.csv" for country in ("DE", "NL")]
    assert names(tmp_path, "deep.csv") == deep
    put(tmp_path / "other/year=2024/deep.csv")
    assert names(tmp_path, "deep.csv") == ["other/year=2024/deep.csv"]  # nearer


def test_folders_that_are_keys_in_an_archive(tmp_path: Path) -> None:
    put_zip(tmp_path / "log.zip", {f"country={country}/part-0.csv": b"a\n1\n" for country in ("NL", "DE")})
    assert names(tmp_path, "*.csv") == ["country=DE/part-0.csv", "country=NL/part-0.csv"]
    assert names(tmp_path, "log/country=*/*.csv") == ["log/country=DE/part-0.csv", "log/country=NL/part-0.csv"]


def test_two_tables_of_folders_that_are_keys_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "one/country=NL/log.csv")
    put(tmp_path / "two/country=NL/log.csv")
    refuse(tmp_path, "log.csv", rf"found in several folders \({tmp_path}/one, {tmp_path}/two\): give one of them")


def test_what_lies_beside_the_files_of_spark_is_left_out(tmp_path: Path) -> None:
    for name in (
        "_SUCCESS",
        "_committed_12",
        "_temporary/0/part-1.csv",
        ".part-0.csv.crc",
        ".DS_Store",
        "._part-0.csv",
    ):
        put(tmp_path / "log" / name)
    put(tmp_path / "log/part-0.csv")
    put(tmp_path / "log/_part=1/part-1.csv")
    assert names(tmp_path / "log", "*") == ["part-0.csv"]
    assert names(tmp_path, "log/*") == ["log/part-0.csv"]
    assert names(tmp_path / "log", "part-1.csv") == ["_part=1/part-1.csv"]
    put(tmp_path / "log/_own.csv")
    assert names(tmp_path / "log", "*.csv") == ["_own.csv", "part-0.csv"]
    assert names(tmp_path / "log", "_SUCC*") == ["_SUCCESS"]


def packed(path: Path, text: bytes) -> None:
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(text)
    else:
        path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[path.suffix].compress(text))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_packed_files(tmp_path: Path, ending: str) -> None:
    text = bytes(range(256)) * 4000
    path = tmp_path / f"log.csv{ending}"
    packed(path, text)
    (source,) = SourceFolder(tmp_path, "shop").find("log.csv")
    assert source.packed and source.name == "log.csv" and source.ending == ".csv"
    assert read(source) == text
    with source.open() as (stream, position):
        stream.read()
        assert position() == source.size()
    path.write_bytes(path.read_bytes() * 2)  # as of parallel writers
    assert read(source) == text * 2
    path.write_bytes(path.read_bytes()[:-30])
    refuse_reading(source, rf"^.*log\.csv\{ending}: the archive is damaged or incomplete \(.*\): download it again$")
    path.write_bytes(b"nothing of the kind")
    refuse_reading(source, rf"^.*log\.csv\{ending}: the archive is damaged or incomplete \(.*\): download it again$")
