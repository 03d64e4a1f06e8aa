"""Tests of the CSV preflight: what it refuses and why, what it takes, and that it never tells.

Every faulty file is full of canaries, and the messages are compared whole, so that a test of a rule
is at once a test that line and column are right and that no cell's content comes with them. A last
test lets DuckDB and Python's csv module read damaged files that were accepted: all must agree.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb import environments
from dbt.adapters.duckdb.credentials import DuckDBCredentials, PluginConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
csv_checks = importlib.import_module("csv_checks")

COLUMNS = ["contact_id", "user_id", "channel", "value"]
CANARY = "canary_7f3a"  # a plain identifier, like many a name: that alone must not make it shown
HEADER = "contact_id,user_id,channel,value\n"
ROW = f"{CANARY}_c1,{CANARY}_u1,email,{CANARY}@example.com\n"
GOOD = HEADER + ROW + ROW
LIMIT = csv_checks.CELL_LIMIT
BOM = "\ufeff"


def crlf(text: str) -> str:
    """The same text with the line ends of RFC 4180."""
    return text.replace("\n", "\r\n")


def cell(value: str) -> str:
    """A row whose last cell is written exactly so."""
    return f"{CANARY}_c2,{CANARY}_u2,email,{value}\n"


@pytest.fixture
def faults(tmp_path: Path) -> Callable[..., list[str]]:
    """Write ``raw_contacts.csv`` and check it."""

    def check(content: str | bytes, columns: list[str] = COLUMNS, must_have_rows: bool = True) -> list[str]:
        path = tmp_path / "raw_contacts.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return csv_checks.csv_faults(str(path), columns, must_have_rows)

    return check


ACCEPTED = {
    "LF": GOOD,
    "CRLF": crlf(GOOD),
    "BOM-of-Excel": BOM + GOOD,
    "BOM-and-CRLF": BOM + crlf(GOOD),
    "no-newline-at-end": GOOD.rstrip("\n"),
    "no-newline-at-end-CRLF": crlf(GOOD).rstrip("\r\n"),
    "quoted-header": '"contact_id","user_id","channel","value"\n' + ROW,
    "quoted-comma": GOOD + cell('"a,b@example.com"'),
    "quoted-quote": GOOD + cell('"a""b@example.com"'),
    "quoted-newline-LF-in-LF": GOOD + cell('"a\nb"') + ROW,
    "quoted-newline-LF-in-CRLF": crlf(GOOD) + 'c2,u2,email,"a\nb"\r\n' + crlf(ROW),
    "quoted-newline-CRLF-in-LF": GOOD + cell('"a\r\nb"') + ROW,
    "quoted-CR": GOOD + cell('"a\rb"') + ROW,
    "quoted-blank-lines": GOOD + cell('"a\n\n\nb"') + ROW,
    "quoted-hash-is-data": GOOD + '"# c2",u2,email,a@example.com\n',
    "hash-in-the-middle": GOOD + cell("#a@example.com"),
    "empty-cells": GOOD + ",,,\n",
    "backslash-before-closing-quote": GOOD + cell('"C:\\"') + ROW,
    "apostrophe": GOOD + cell("o'neil@example.com"),
    "Unicode-line-breaks-are-data": GOOD + cell("a\u2028b\x85c\x0bd\x0ce\x1cf"),
    "padded-cells-are-data": GOOD + " c2 , u2 ,email,\t\n",
    "non-ASCII": GOOD + cell("grüße@exämple.com") + cell("\U0001f600"),
    "longest-cell": GOOD + cell("é" * LIMIT),
    "longest-cell-quoted": GOOD + cell('"' + '""' * LIMIT + '"'),
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(faults: Callable[..., list[str]], content: str) -> None:
    """Every way to write a good file is taken."""
    assert faults(content) == []


def test_accepts_the_widest_row(faults: Callable[..., list[str]]) -> None:
    """A row may be as long as its columns can hold, in characters of four bytes."""
    assert faults(HEADER + ",".join(['"' + "\U0001f600" * LIMIT + '"'] * 4) + "\n") == []


def test_accepts_one_column(faults: Callable[..., list[str]]) -> None:
    """A table of one column has no comma that would tell its dialect."""
    assert faults("contact_id\nc1\nc2\n", ["contact_id"]) == []


def test_accepts_header_only_where_allowed(faults: Callable[..., list[str]]) -> None:
    """An empty list is a list."""
    assert faults(HEADER, must_have_rows=False) == []
    assert faults(HEADER.rstrip("\n"), must_have_rows=False) == []


NOT_HEADER = (
    "line 1: not the header (expected 4 columns beginning with contact_id): "
    "it is missing, or something stands in its place"
)
SHORT = "a short row, 3 of 4 cells"
NOT_UTF_8 = "bytes that are not UTF-8"
BARE = "a quote inside a cell that is not quoted"
AFTER_QUOTE = "text after a closing quote, or a quote that was not closed before"
BACKSLASH = "a quote escaped by a backslash (RFC 4180 doubles it), or text after a quote"
LONE_CR = "a CR alone, outside quotes: lines must end in LF or CRLF"
SWALLOWS = "a backslash before a quote in a record of several lines: parsers end it differently"
REORDERED = "out of order, where expected is contact_id, user_id, channel, value"
TOO_LONG = "a cell over 131,072 characters"
OPEN_OR_TOO_LONG = f"a quote that is not closed, or {TOO_LONG}"

FAULTY: dict[str, tuple[str | bytes, str]] = {
    # The encoding
    "empty-file__StopIteration-in-dbt": (b"", "empty file: not even a header"),
    "only-a-BOM": (BOM, "empty file: not even a header"),
    "double-BOM__second-one-is-taken-as-data": (BOM + BOM + GOOD, "line 1: two byte order marks"),
    "UTF-16-LE-BOM": (
        BOM.encode("utf-16-le") + GOOD.encode("utf-16-le"),
        "the file is UTF-16, not UTF-8",
    ),
    "UTF-16-BE-BOM": (
        BOM.encode("utf-16-be") + GOOD.encode("utf-16-be"),
        "the file is UTF-16, not UTF-8",
    ),
    "UTF-32-LE-BOM": (
        BOM.encode("utf-32-le") + GOOD.encode("utf-32-le"),
        "the file is UTF-32, not UTF-8",
    ),
    "UTF-32-BE-BOM": (
        BOM.encode("utf-32-be") + GOOD.encode("utf-32-be"),
        "the file is UTF-32, not UTF-8",
    ),
    **{
        f"{encoding}-without-BOM": (
            GOOD.encode(encoding),
            "the file is UTF-16 or UTF-32 without a byte order mark, not UTF-8",
        )
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    },
    "Latin-1-byte": (
        (GOOD + cell("é")).encode("latin-1"),
        f"line 4, column value: {NOT_UTF_8}",
    ),
    "Latin-1-byte-in-the-last-line-without-end": (
        (GOOD + cell("é").rstrip()).encode("latin-1"),
        f"line 4, column value: {NOT_UTF_8}",
    ),
    "Latin-1-header": (GOOD.replace("value", "valué").encode("latin-1"), f"line 1: {NOT_UTF_8}"),
    "surrogate-in-UTF-8": (
        (GOOD + cell("x")).encode() + b"c,\xed\xa0\x80,email,x\n",
        f"line 5, column user_id: {NOT_UTF_8}",
    ),
    "bad-byte-on-the-third-line-of-a-cell": (
        (GOOD + cell('"a\nb\né"')).encode("latin-1"),
        f"lines 4 to 6, column value: {NOT_UTF_8}",
    ),
    "NUL-byte__DuckDB-loads-it": (GOOD + cell("a\0b"), "line 4, column value: a NUL byte"),
    "NUL-byte-in-quotes": (GOOD + cell('"a\n\0b"'), "lines 4 to 5, column value: a NUL byte"),
    "zero-filled-after-a-crash": (b"\0" * 5000, "line 1: a NUL byte"),
    # Line ends
    "CR-only__loaded-as-one-line": (GOOD.replace("\n", "\r"), f"line 1: {LONE_CR}"),
    "CR-only-header": (HEADER.replace("\n", "\r"), "line 1: a CR alone as line end"),
    "CR-in-an-LF-file": (GOOD + ROW[:-1] + "\r" + ROW, f"line 4, column value: {LONE_CR}"),
    "CR-at-the-end-of-an-LF-file__DuckDB-fails": (
        GOOD + ROW[:-1] + "\r",
        "line 4: a CR alone as line end",
    ),
    "CR-at-the-end-of-a-CRLF-file": (
        crlf(GOOD + ROW).rstrip("\n"),
        "line 4: a CR alone as line end",
    ),
    "CRLF-in-an-LF-file__fast-parser-aborts-slow-one-loads": (
        GOOD + crlf(ROW) + ROW,
        "line 4: mixed line ends, CRLF after LF on line 1",
    ),
    "LF-in-a-CRLF-file": (
        crlf(GOOD) + ROW,
        "line 4: mixed line ends, LF after CRLF on line 1",
    ),
    "CRCRLF-after-text-mode-twice": (
        crlf(GOOD) + ROW[:-1] + "\r\r\n",
        "line 4: a CR too many before the line end",
    ),
    "CRCRLF-header": (
        HEADER[:-1] + "\r\r\n" + crlf(ROW),
        "line 1: a CR too many before the line end",
    ),
    # Quotes
    "unterminated-quote__slow-parser-swallows-the-rest": (
        GOOD + cell('"a@example.com') + ROW + ROW,
        "lines 4 to 6, column value: a quote that is not closed before the end of the file",
    ),
    "unterminated-quote-before-another": (
        GOOD + cell('"a@example.com') + cell('"b"'),
        f"lines 4 to 5, column value: {AFTER_QUOTE}",
    ),
    "unterminated-quote-in-a-long-file": (
        GOOD + cell('"a@example.com') + ROW * (2 * LIMIT // len(ROW)),
        f"lines 4 to {5 + LIMIT // len(ROW)}, column value: {OPEN_OR_TOO_LONG}",
    ),
    "unterminated-quote-in-the-header": (
        'contact_id,user_id,channel,"value\n' + ROW,
        "lines 1 to 2: a quote that is not closed before the end of the file",
    ),
    "backslash-escaped-quote__two-parsers-two-values": (
        GOOD + cell('"a\\"b@example.com"'),
        f"line 4, column value: {BACKSLASH}",
    ),
    "backslash-escaped-quote-that-swallows-a-row": (
        GOOD + f'c2,"\\"",email,{CANARY}\n' + 'c3,u3\\",email,x\n' + ROW,
        f"lines 4 to 5: {SWALLOWS}",
    ),
    "text-after-a-closing-quote": (
        GOOD + f'c2,"u2" {CANARY},email,x\n',
        f"line 4, column user_id: {AFTER_QUOTE}",
    ),
    "quote-inside-an-unquoted-cell": (
        GOOD + f'c2,{CANARY}"u2",email,x\n',
        f"line 4, column user_id: {BARE}",
    ),
    "space-before-a-quote": (GOOD + 'c2, "u2",email,x\n', f"line 4, column user_id: {BARE}"),
    "quote-inside-a-header-name": (
        'contact_id,user_id,channel,val"ue\n' + ROW,
        "line 1: the header differs: missing value; not expected 1 more, names not shown",
    ),
    # The header
    "semicolons__one-column-table-exit-0": (
        GOOD.replace(",", ";"),
        "line 1: the delimiter is a semicolon, not a comma",
    ),
    "vertical-bars": (
        GOOD.replace(",", "|"),
        "line 1: the delimiter is a vertical bar, not a comma",
    ),
    "tabs": (GOOD.replace(",", "\t"), "line 1: the delimiter is a tab, not a comma"),
    "quoted-header-and-semicolons": (
        '"contact_id";"user_id";"channel";"value"\n' + ROW,
        "line 1: the delimiter is a semicolon, not a comma",
    ),
    "junk-preamble__skipped-by-the-sniffer": (
        f"Export of {CANARY}\n\n" + GOOD,
        "line 1: not the header, which stands on line 3: remove what is before it",
    ),
    "comment-before-the-header": (
        f"# {CANARY}\n" + GOOD,
        "line 1: not the header, which stands on line 2: remove what is before it",
    ),
    "blank-line-before-the-header": (
        "\n" + GOOD,
        "line 1: a blank line where the header should be",
    ),
    "header-missing__eats-the-first-person": (ROW + ROW, NOT_HEADER),
    "header-missing-before-a-broken-row": (ROW + cell('"a'), NOT_HEADER),
    "header-of-another-table": (f"list_id,name,{CANARY}\nl1,n1,x\n", NOT_HEADER),
    "first-row-glued-to-the-header": (
        GOOD.replace("\n", ",", 1),
        "line 1: the header differs: not expected 4 more, names not shown",
    ),
    "header-in-other-case": (
        GOOD.replace("user_id", "User_ID"),
        "line 1: the header has other case, or spaces, in user_id",
    ),
    "header-with-spaces__kept-in-the-name": (
        GOOD.replace("user_id", " user_id ").replace("value", "value\u200b"),
        "line 1: the header has other case, or spaces, in user_id, value",
    ),
    "column-renamed__ignored": (
        GOOD.replace("value", "email_address"),
        "line 1: the header differs: missing value; not expected 'email_address'",
    ),
    "column-renamed-to-what-is-no-identifier": (
        GOOD.replace("value", f"{CANARY}@example.com"),
        "line 1: the header differs: missing value; not expected 1 more, names not shown",
    ),
    "column-renamed-to-a-very-long-name": (
        GOOD.replace("value", "x" * 64),
        "line 1: the header differs: missing value; not expected 1 more, names not shown",
    ),
    "column-added": (
        GOOD.replace("value", "value,notes"),
        "line 1: the header differs: not expected 'notes'",
    ),
    "empty-column-added": (
        GOOD.replace("value", "value,"),
        "line 1: the header differs: not expected 1 more, names not shown",
    ),
    "column-dropped__NULLs-in-the-slow-parser": (
        GOOD.replace(",value", ""),
        "line 1: the header differs: missing value",
    ),
    "columns-reordered__loaded-by-position": (
        GOOD.replace("contact_id,user_id", "user_id,contact_id"),
        f"line 1: the header differs: {REORDERED}",
    ),
    "column-twice": (
        GOOD.replace("user_id", "contact_id"),
        "line 1: the header differs: missing user_id; more than once contact_id",
    ),
    "header-only__nobody-opted-out": (
        HEADER,
        "line 1: a header without rows, where rows are required",
    ),
    # The rows
    "short-row__NULLs-in-the-slow-parser": (
        GOOD + f"{CANARY},u2,email\n",
        f"line 4: {SHORT}",
    ),
    "long-row": (GOOD + cell("x,y"), "line 4: a long row, 5 cells instead of 4"),
    "semicolons-in-one-row": (GOOD + ROW.replace(",", ";"), "line 4: a short row, 1 of 4 cells"),
    "comment-line__loaded-as-data": (
        GOOD + f"# {CANARY}\n",
        "line 4: a comment line (if it is data, put its first cell in quotes)",
    ),
    "row-commented-out__as-wide-as-a-row": (
        GOOD + "#" + ROW,
        "line 4: a comment line (if it is data, put its first cell in quotes)",
    ),
    "blank-line-at-the-end": (GOOD + "\n", "line 4: a blank line"),
    "blank-line-in-the-middle": (crlf(HEADER + "\n" + ROW), "line 2: a blank line"),
    "line-of-spaces": (GOOD + "  \t\n", "line 4: a blank line"),
    "fault-after-quoted-newlines": (
        HEADER + cell('"a\nb\nc"') + "x\n",
        "line 5: a short row, 1 of 4 cells",
    ),
    "cell-over-the-limit": (
        GOOD + cell("x" * (LIMIT + 1)),
        f"line 4, column value: {TOO_LONG}",
    ),
    "cell-over-the-limit-quoted": (
        GOOD + 'c2,"' + "x" * (LIMIT + 1) + '",email,x\n',
        f"line 4, column user_id: {TOO_LONG}",
    ),
    "cell-over-the-limit-after-a-large-one": (
        GOOD + '"' + '""' * LIMIT + '",u2,' + "x" * (LIMIT + 1) + ",y\n",
        f"line 4, column channel: {TOO_LONG}",
    ),
    "endless-line": (GOOD + "😀" * (6 * LIMIT), f"line 4, column contact_id: {TOO_LONG}"),
    "endless-row": (
        GOOD + "x," * (10 * LIMIT),
        f"line 4: a long row, {8 * LIMIT + 8} cells instead of 4",
    ),
    "endless-record": (
        GOOD + '"\n",' * (6 * LIMIT),
        "lines 4 to 524295: a record longer than its columns can hold",
    ),
}


@pytest.mark.parametrize(("content", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_refuses(faults: Callable[..., list[str]], content: str | bytes, message: str) -> None:
    """Each fault is named with table, line, column and rule, and with nothing else."""
    found = faults(content)
    assert found == [f"raw_contacts: {message}"]


@pytest.mark.parametrize("content", [content for content, _ in FAULTY.values()], ids=FAULTY.keys())
def test_tells_no_content(faults: Callable[..., list[str]], content: str | bytes) -> None:
    """No canary is in a message, wherever the file is cut, and whatever is expected of it."""
    data = content.encode() if isinstance(content, str) else content
    cuts = [data, data[1:], data[len(HEADER) :], data[: len(data) // 2], data[::-1]]
    for piece in cuts if len(data) < 10_000 else cuts[:1]:
        for columns in (COLUMNS, ["contact_id"], ["a", "b"], [*COLUMNS[::-1], "x", "y"]):
            for message in faults(piece, columns):
                assert "canary" not in message.lower()
                assert "example" not in message


def test_canaries_are_there() -> None:
    """The twin of the test above: the files that must not be quoted hold what must not be seen."""
    planted = [content for content, _ in FAULTY.values() if CANARY in str(content)]
    assert len(planted) > 50


def test_says_the_first_few_faults(faults: Callable[..., list[str]]) -> None:
    """Rows of a wrong length do not stop the search, and do not flood it."""
    assert faults(GOOD + "a\n" + ROW + "b,c\n" + cell("\0")) == [
        "raw_contacts: line 4: a short row, 1 of 4 cells",
        "raw_contacts: line 6: a short row, 2 of 4 cells",
        "raw_contacts: line 7, column value: a NUL byte",
    ]
    assert len(faults(GOOD + "a\n" * 1000)) == csv_checks.FAULTS_SHOWN


def test_reads_to_the_end(faults: Callable[..., list[str]]) -> None:
    """A fault beyond the first buffers is found, and its line number is right."""
    rows = 3 * csv_checks.BUFFER // len(ROW)
    assert faults(HEADER + ROW * rows + "x\n") == [
        f"raw_contacts: line {rows + 2}: a short row, 1 of 4 cells"
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + ROW * 100_000, id="many-rows"),
        pytest.param(HEADER + "x" * 20_000_000, id="one-endless-line"),
        pytest.param("x" * 20_000_000, id="endless-first-line"),
        pytest.param(HEADER + 'c1,u1,email,"' + ROW * 200_000, id="open-quote"),
    ],
)
def test_memory_is_bounded(faults: Callable[..., list[str]], content: str) -> None:
    """A file of any size takes the memory of one record at most: here far less than the file."""
    data = content.encode()
    tracemalloc.start()
    try:
        faults(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data) // 2


def test_cell_limit_is_ours_and_only_while_reading(faults: Callable[..., list[str]]) -> None:
    """Another library's limit neither lifts ours nor is lost."""
    before = csv.field_size_limit(10 * LIMIT)
    try:
        assert faults(GOOD + cell("x" * (LIMIT + 1))) != []
        assert csv.field_size_limit() == 10 * LIMIT
    finally:
        csv.field_size_limit(before)


def test_columns_must_be_named(tmp_path: Path) -> None:
    """A caller that expects nothing would accept anything."""
    with pytest.raises(ValueError, match="at least one column"):
        csv_checks.csv_faults(str(tmp_path / "raw_contacts.csv"), [], True)


# The path


def path_faults(path: Path | str) -> list[str]:
    """Check a path whose content, if it has any, is good."""
    return csv_checks.csv_faults(str(path), COLUMNS, True)


NOT_REGULAR = "raw_contacts: not a regular file (a directory, symbolic link, FIFO or device)"


def test_missing_file(tmp_path: Path) -> None:
    """Absent is not empty: never "nobody opted out"."""
    expected = ["raw_contacts: missing file: nothing is at this path"]
    assert path_faults(tmp_path / "raw_contacts.csv") == expected
    assert path_faults(tmp_path / "nowhere" / "raw_contacts.csv") == expected


def test_directory(tmp_path: Path) -> None:
    """A folder of that name is no file."""
    (tmp_path / "raw_contacts.csv").mkdir()
    assert path_faults(tmp_path / "raw_contacts.csv") == [NOT_REGULAR]


def test_symlink(tmp_path: Path) -> None:
    """What a link points to can change between check and load."""
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "raw_contacts.csv").symlink_to(tmp_path / "good.csv")
    assert path_faults(tmp_path / "raw_contacts.csv") == [NOT_REGULAR]


def test_fifo_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO can be read once, and an open of it may wait for ever."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the FIFO was opened")

    os.mkfifo(tmp_path / "raw_contacts.csv")
    monkeypatch.setattr(os, "open", refuse)
    assert path_faults(tmp_path / "raw_contacts.csv") == [NOT_REGULAR]


def test_link_put_there_between_look_and_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The open itself refuses links, so that a swap gains nothing."""
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "raw_contacts.csv").symlink_to(tmp_path / "good.csv")
    monkeypatch.setattr(os, "lstat", os.stat)
    expected = "raw_contacts: the file cannot be opened (OSError)"
    assert path_faults(tmp_path / "raw_contacts.csv") == [expected]


def test_unopenable_file() -> None:
    """The error's type says enough; its text would repeat the path."""
    faults = path_faults("/" + "x" * 5000 + "/raw_contacts.csv")
    assert faults == ["raw_contacts: the file cannot be opened (OSError)"]


def test_read_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle is a fault of the file, not a crash."""

    class Failing(io.BytesIO):
        def peek(self, _: int) -> bytes:
            raise OSError(CANARY)

    monkeypatch.setattr(csv_checks, "_open_regular", lambda _: Failing())
    expected = "raw_contacts: the file cannot be read to its end (OSError)"
    assert path_faults(tmp_path / "raw_contacts.csv") == [expected]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("raw'contacts.csv", id="quote__ends-the-SQL-string"),
        pytest.param('raw"contacts.csv', id="double-quote"),
        pytest.param("raw\ncontacts.csv", id="newline"),
        pytest.param("raw\0contacts.csv", id="NUL"),
        pytest.param("raw..csv", id="two-dots"),
        pytest.param("raw*.csv", id="star__DuckDB-reads-other-files"),
        pytest.param("raw?.csv", id="question-mark"),
        pytest.param("raw[1].csv", id="bracket"),
        pytest.param("it's/raw_contacts.csv", id="quote-in-a-folder"),
    ],
)
def test_unsafe_path(tmp_path: Path, name: str) -> None:
    """The path goes into COPY ... FROM '...' as it is, and DuckDB expands patterns in it."""
    path = tmp_path / name
    if "\0" not in name:
        path.parent.mkdir(exist_ok=True)
        path.write_text(GOOD)
    (fault,) = path_faults(path)
    rule = "the path has a quote, a line end, a control character, '..' or a pattern character"
    assert fault.endswith(f": {rule}")
    assert "\n" not in fault


def test_table_name_is_shown_only_if_it_is_one(tmp_path: Path) -> None:
    """A file name can be a person's too."""
    path = tmp_path / f"{CANARY}@example.com.csv"
    path.write_text("")
    assert path_faults(path) == ["a file whose name is no table's: empty file: not even a header"]


# The plugin

CHECK = "select csv_faults(?, ?, ?)"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the plugin's functions."""
    connection = duckdb.connect()
    csv_checks.Plugin("csv_checks", {}).configure_connection(connection)
    yield connection
    connection.close()


def ask(connection: duckdb.DuckDBPyConnection, *arguments: object) -> list[str]:
    """Call the SQL function in a cursor, as dbt does."""
    row = connection.cursor().execute(CHECK, list(arguments)).fetchone()
    assert row is not None
    return json.loads(row[0])


def test_plugin_function(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """SQL gets the messages of the Python function, and an empty array for a good file."""
    path = tmp_path / "raw_contacts.csv"
    path.write_text(GOOD)
    assert ask(connection, str(path), json.dumps(COLUMNS), True) == []
    path.write_text(HEADER)
    assert ask(connection, str(path), json.dumps(COLUMNS), False) == []
    assert ask(connection, str(path), json.dumps(COLUMNS), True) == [
        "raw_contacts: line 1: a header without rows, where rows are required"
    ]


@pytest.mark.parametrize(
    ("columns", "must_have_rows", "path", "error"),
    [
        pytest.param('["a"]', True, None, "TypeError", id="NULL-path"),
        pytest.param(None, True, "x.csv", "TypeError", id="NULL-columns"),
        pytest.param('["a"]', None, "x.csv", "TypeError", id="NULL-is-not-false"),
        pytest.param('"a"', True, "x.csv", "TypeError", id="columns-are-no-array"),
        pytest.param("[1]", True, "x.csv", "TypeError", id="column-is-no-string"),
        pytest.param(CANARY, True, "x.csv", "JSONDecodeError", id="columns-are-no-JSON"),
        pytest.param("[]", True, "x.csv", "ValueError", id="no-columns"),
    ],
)
def test_plugin_fails_closed(
    connection: duckdb.DuckDBPyConnection,
    columns: str | None,
    must_have_rows: bool | None,
    path: str | None,
    error: str,
) -> None:
    """A call that makes no sense is a refusal, never NULL and never an empty array."""
    assert ask(connection, path, columns, must_have_rows) == [
        f"csv_faults: the check itself failed ({error})"
    ]


def test_plugin_hides_the_text_of_exceptions(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen exception may quote a cell."""

    def fail(*_: object) -> list[str]:
        raise KeyError(CANARY)

    monkeypatch.setattr(csv_checks, "csv_faults", fail)
    assert ask(connection, "x.csv", '["a"]', True) == ["csv_faults: the check itself failed (KeyError)"]


def test_plugin_function_is_never_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant arguments are no constant result: planning must not read files, running must."""
    calls = []
    monkeypatch.setattr(csv_checks, "csv_faults_json", lambda path, columns, rows: calls.append(path) or "[]")
    connection = duckdb.connect()
    csv_checks.Plugin("csv_checks", {}).configure_connection(connection)
    connection.execute("explain select csv_faults('x', '[]'::varchar, true)").fetchall()
    assert not calls
    connection.execute("select csv_faults('x', '[]'::varchar, true)").fetchall()
    assert calls


def test_file_exists(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Whatever is there is there, a broken link included: it must not be passed over."""

    def exists(path: object) -> bool:
        row = connection.execute("select file_exists(?)", [path]).fetchone()
        assert row is not None
        return row[0]

    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert exists(str(tmp_path)) is True
    assert exists(str(tmp_path / "link")) is True
    assert exists(str(tmp_path / "nowhere")) is False
    assert exists(None) is False


def test_plugin_twice_on_one_warehouse(tmp_path: Path) -> None:
    """dbt may open the same warehouse again in one process."""
    plugin = csv_checks.Plugin("csv_checks", {})
    first = duckdb.connect(tmp_path / "warehouse.duckdb")
    plugin.configure_connection(first)
    second = duckdb.connect(tmp_path / "warehouse.duckdb")
    plugin.configure_connection(second)
    first.close()
    assert ask(second, "x.csv", "[]", True) != []
    second.close()


def test_plugin_refuses_a_macro_of_its_name(tmp_path: Path) -> None:
    """A warehouse that brings its own csv_faults would answer in our place."""
    connection = duckdb.connect(tmp_path / "warehouse.duckdb")
    connection.execute("create macro csv_faults(path, columns, rows) as '[]'")
    with pytest.raises(duckdb.CatalogException):
        csv_checks.Plugin("csv_checks", {}).configure_connection(connection)
    connection.close()


def test_plugin_in_the_adapter(tmp_path: Path) -> None:
    """dbt-duckdb finds the plugin by its module, and the warehouse's folder is made."""
    (tmp_path / "raw_contacts.csv").write_text(HEADER)
    warehouse = tmp_path / "new" / "folder" / "warehouse.duckdb"
    environment = environments.create(
        DuckDBCredentials(
            schema="main",
            database="warehouse",
            path=str(warehouse),
            plugins=[PluginConfig(module="csv_checks")],
        )
    )
    cursor = environment.handle().cursor()
    cursor.execute(CHECK, [str(tmp_path / "raw_contacts.csv"), json.dumps(COLUMNS), True])
    assert "rows are required" in cursor.fetchone()[0]
    environment.close()
    assert warehouse.exists()


@pytest.mark.parametrize("path", [":memory:", ":memory:name", "md:name", "s3://bucket/a/b.duckdb"])
def test_plugin_makes_no_folder_for_what_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Nothing is made for a warehouse that is in memory or elsewhere."""

    class Credentials:
        def __init__(self, path: str) -> None:
            self.path = path

    monkeypatch.chdir(tmp_path)
    csv_checks.Plugin("csv_checks", {}).update_connection_config(Credentials(path), {})
    assert list(tmp_path.iterdir()) == []


# Agreement of the parsers

ATOMS = [
    *('"', '""', ",", "\n", "\r\n", "\r", '\\"', "\\", "#", " ", ";", BOM, "\0", "é", "\u2028"),
    *("\x85", "\x0b", "\t", "'", "", "x", "\n\n", '"x,y"', '"x\ny"', '"x\r\ny"', '"C:\\"'),
]
CELLS = [
    *("v1", "", '"q,1"', '"a""b"', '"l\nm"', '"l\r\nm"', '"l\rm"', '"C:\\"', '""', "x y ", "  x"),
    *('"a\\""', "it's", "x;y", "x|y", "é"),
]
READ = """
    select coalesce(a, ''), coalesce(b, ''), coalesce(c, '')
    from read_csv(?, header = true, auto_detect = false, delim = ',', quote = '"', escape = '"',
        columns = {'a': 'varchar', 'b': 'varchar', 'c': 'varchar'}, parallel = PARALLEL)
"""
SEED = "copy seed from 'PATH' (format csv, header true, delimiter ',')"  # as dbt-duckdb's seeds do


def damaged_file(randomly: random.Random) -> bytes:
    """A small CSV file of three columns with up to two edits at random places."""
    newline = randomly.choice(["\n", "\r\n"])
    rows = [
        f"i{number},{randomly.choice(CELLS)},{randomly.choice(CELLS)}"
        for number in range(randomly.randrange(1, 6))
    ]
    text = newline.join(["a,b,c", *rows]) + randomly.choice(["", newline])
    for _ in range(randomly.randrange(3)):
        place = randomly.randrange(5, len(text) + 1)
        rest = place + randomly.randrange(3)
        text = text[:place] + randomly.choice(ATOMS) + text[rest:]
    return text.encode()


def test_parsers_agree_on_what_is_accepted(tmp_path: Path) -> None:
    """The promise of the preflight: an accepted file has one meaning, whoever reads it.

    Python's csv module, both of DuckDB's parsers and the sniffing COPY of dbt-duckdb's seeds must
    read the same cells. Each kind of refusal has its own test; this one finds the missing ones.
    """
    randomly = random.Random(2019)
    connection = duckdb.connect()
    connection.execute("create table seed (a varchar, b varchar, c varchar)")
    path = tmp_path / "seed.csv"
    accepted = 0
    for _ in range(1500):
        data = damaged_file(randomly)
        path.write_bytes(data)
        if csv_checks.csv_faults(str(path), ["a", "b", "c"], True):
            continue
        accepted += 1
        text = io.StringIO(data.decode(), newline="")
        wanted = [tuple(row) for row in csv.reader(text, strict=True)][1:]
        for parallel in ("true", "false"):
            query = READ.replace("PARALLEL", parallel)
            assert connection.execute(query, [str(path)]).fetchall() == wanted, data
        connection.execute("delete from seed")
        connection.execute(SEED.replace("PATH", str(path)))
        loaded = "select coalesce(a, ''), coalesce(b, ''), coalesce(c, '') from seed"
        assert connection.execute(loaded).fetchall() == wanted, data
    assert 300 < accepted < 1200  # neither everything is refused nor everything taken


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("contact_id,user_id,channel,value", ["contact_id", "user_id", "channel", "value"]),
        ("contact_id,user_id,channel", ["contact_id", "user_id", "channel"]),
        (BOM + '"contact_id",user_id,channel', ["contact_id", "user_id", "channel"]),
        ("contact_id,user_id, Value", ["contact_id", "user_id", "value"]),
        ("contact_id", ["contact_id", "user_id"]),
        (f"{CANARY}_c1,{CANARY}_u1,email", ["contact_id", "user_id"]),
        ("", COLUMNS),
        ("contact_id,\0", COLUMNS),
        ('"contact_id', COLUMNS),
    ],
)
def test_optional_columns_are_those_of_the_header(tmp_path: Path, line: str, expected: list[str]) -> None:
    """What must be there is asked for, the rest where it stands; never a name of the file's own."""
    path = tmp_path / "raw_contacts.csv"
    path.write_text(line)
    assert csv_checks.csv_columns(str(path), COLUMNS, ["channel", "value"]) == expected
    assert csv_checks.csv_columns(str(path), COLUMNS, []) == COLUMNS
    answer = csv_checks.csv_columns_json(str(path), json.dumps(COLUMNS), '["channel", "value"]')
    assert json.loads(answer) == expected


def test_optional_columns_of_no_file(tmp_path: Path) -> None:
    """Where nothing can be read every column is asked for, and csv_faults says why nothing is."""
    for path in (tmp_path / "missing.csv", tmp_path, tmp_path / "a'b.csv"):
        assert csv_checks.csv_columns(str(path), COLUMNS, ["value"]) == COLUMNS
    assert json.loads(csv_checks.csv_columns_json("x", json.dumps(COLUMNS), "{")) == COLUMNS
