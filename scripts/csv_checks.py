"""Preflight of CSV inputs: is this file plain RFC 4180 with exactly the header we expect?

Where it stands: dbt's ``on-run-start`` calls ``csv_faults`` (the SQL function this plugin registers)
for every CSV input, before the first seed is loaded and before the first model reads a file. dbt
loads seeds by position and never compares the header, and DuckDB's two CSV parsers disagree about
broken files: on the same bytes one aborts and the other swallows the rest of the file into one cell,
takes a comment for a row, or fills a short row with NULLs. A suppression lost that way is a person
matched against their will. So the bytes are checked before either parser sees them, and a file whose
meaning depends on the parser is refused.

What is checked is written in RFC 4180, https://www.rfc-editor.org/rfc/rfc4180 (sections 2.1 to 2.7),
and stricter where that text leaves a choice: UTF-8 only, one kind of line end per file, a header in
the contract's own order, no blank and no comment lines, no cell above the csv module's limit.

Messages name table, line, column and rule, and never what a cell holds: cells are personal data. The
first line of a file that lost its header is a person's record, so even header names are shown only
when the line is a header beyond doubt and the name is a plain identifier.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

try:
    from duckdb.func import FunctionNullHandling
    from duckdb.sqltypes import BOOLEAN, VARCHAR
except ImportError:  # duckdb before 1.4
    from duckdb.functional import FunctionNullHandling  # type: ignore[no-redef]
    from duckdb.typing import BOOLEAN, VARCHAR  # type: ignore[no-redef]

CELL_LIMIT = 131_072
"""Characters in one cell: the default limit of Python's csv module, which dbt's seeds meet too."""

FAULTS_SHOWN = 3
"""A file with one short row often has a million: the first few say enough."""

LINES_SEARCHED = 50
"""How far down a header that is not on line 1 is looked for."""

BUFFER = 1 << 20  # bytes per read

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
UNSAFE_IN_PATH = re.compile(r"['\"\x00-\x1f\x7f*?\[]")
WRITTEN = {sign: rf'(?:"(?:[^"]++|"")*+"|[^"{sign}\r\n]*+)' for sign in ",\t"}  # RFC 4180, section 2.5 to 2.7
CELL = {sign: re.compile(rf"{cell}({sign}|\Z)") for sign, cell in WRITTEN.items()}
RECORD = {sign: re.compile(rf"{cell}(?:{sign}{cell})*+") for sign, cell in WRITTEN.items()}
PADDING = " \t\u00a0\u200b\u200c\u200d\u2060\ufeff"  # seen around header names in exports
DELIMITERS = {";": "a semicolon", "|": "a vertical bar", "\t": "a tab"}
ENDINGS = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # begins with the mark of UTF-16, so it comes first
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnreadableFile(Exception):
    """A file that cannot be read, or not to its first record; the text is a rule, never a content."""


class UnreadableLine(Exception):
    """A line that cannot be given to the CSV parser; the text is a rule, never a content."""


class Lines:
    """The physical lines of a UTF-8 stream, ended by LF alone, as ``csv.reader`` wants them.

    A line is one item whatever other characters Unicode would break it at. ``record`` collects the
    lines of the record in progress; the consumer clears it after each record, so that memory stays
    bounded by one record however long the file is.
    """

    def __init__(self, stream: BinaryIO, width: int) -> None:
        """Read ``stream`` from where it stands; ``width`` is the number of columns of a record."""
        self.stream = stream
        # No good record is longer: four bytes a character, two quotes and a comma a cell, CRLF.
        self.longest = width * (4 * CELL_LIMIT + 3) + 2
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """Yield each line with its end.

        Raises:
            UnreadableLine: at a NUL byte, at bytes that are not UTF-8, or at a record so long that
                it has too many cells or one that is too large.
        """
        room = self.longest
        for line in iter(partial(self.stream.readline, self.longest), b""):
            if b"\0" in line:
                self._keep_before(line, line.index(b"\0"))
                raise UnreadableLine("a NUL byte")
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                # The longest piece may end inside a character: that is too long, not ill-formed.
                if len(line) < self.longest or error.end < len(line) or error.start < len(line) - 3:
                    self._keep_before(line, error.start)
                    raise UnreadableLine("bytes that are not UTF-8") from None
                text = line[: error.start].decode()
            room = (room if self.record else self.longest) - len(line)
            self.record.append(text)
            yield text
            if self.record and room <= 0:
                raise UnreadableLine("a record longer than its columns can hold")
            if len(line) == self.longest:
                return  # the parser took this piece for a row, and that row is too long

    def _keep_before(self, line: bytes, position: int) -> None:
        """Keep what stands before a bad byte, so that the column of the byte can be named."""
        self.record.append(line[:position].decode(errors="replace"))


@contextmanager
def standard_cell_limit() -> Iterator[None]:
    """Give the csv module its documented cell limit, and put back what another library had set."""
    before = csv.field_size_limit(CELL_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def csv_faults(path: str, columns: list[str], must_have_rows: bool) -> list[str]:
    """Say what keeps a file from being a plain RFC 4180 CSV in UTF-8 with exactly this header.

    The file is read once, from its start to its end or to the first fault that leaves the rest
    without a meaning, in memory bounded by one record, however long the file or its first line is.

    Args:
        path: the file; its stem is the table's name in messages.
        columns: the header, name by name, in order. Shape: at least one name.
        must_have_rows: whether a header without rows is a fault: an empty list of suppressions
            must never be taken for "nobody opted out".

    Returns:
        An empty list for a good file, else up to ``FAULTS_SHOWN`` messages, without any content.

    Raises:
        ValueError: ``columns`` is empty.

    Source: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180, section 2.
    """
    if not columns:
        raise ValueError("columns must name at least one column")
    stem = Path(path).stem
    table = stem if IDENTIFIER.fullmatch(stem) else "a file whose name is no table's"
    with standard_cell_limit():
        faults = list(islice(_faults(path, columns, must_have_rows), FAULTS_SHOWN))
    return [f"{table}: {fault}" for fault in faults]


def csv_columns(path: str, columns: list[str], optional: list[str]) -> list[str]:
    """The contract's columns that a file has: all that must be there, and the optional ones in its header.

    Only names of the contract come back, whatever line 1 holds. Whether line 1 is a header at all,
    and exactly the header of these columns, is for ``csv_faults`` to say.

    Args:
        path: the file.
        columns: the columns of the contract, in order.
        optional: those of them that a file may lack.

    Returns:
        The names in the contract's order; of a file whose line 1 cannot be read, all of them.
    """
    if not optional:
        return columns
    try:
        present = {_plain(name) for name in first_record(path, ",")}
    except UnreadableFile:
        return columns
    return [name for name in columns if name in present or name not in optional]


def _faults(path: str, columns: list[str], must_have_rows: bool) -> Iterator[str]:
    """Yield the faults of the path, then of the encoding, then of header and rows."""
    try:
        with open_text(path) as stream:
            yield from _record_faults(stream, columns, must_have_rows)
    except UnreadableFile as error:
        yield str(error)


@contextmanager
def open_text(path: str) -> Iterator[BinaryIO]:
    """Open a regular file of UTF-8 text behind the one byte order mark it may have.

    Raises:
        UnreadableFile: the path could be read as another, the file cannot be opened, is in another
            encoding or empty, or fails while it is read.
    """
    if unsafe := path_fault(path):
        raise UnreadableFile(unsafe)
    try:
        stream = _open_regular(path)
    except FileNotFoundError:
        raise UnreadableFile("missing file: nothing is at this path") from None
    except IsADirectoryError:
        raise UnreadableFile("not a regular file (a directory, symbolic link, FIFO or device)") from None
    except OSError as error:
        raise UnreadableFile(f"the file cannot be opened ({type(error).__name__})") from None
    with stream:
        try:
            if fault := _encoding_fault(stream):
                raise UnreadableFile(fault)
            yield stream
        except OSError as error:
            raise UnreadableFile(f"the file cannot be read to its end ({type(error).__name__})") from None


def path_fault(path: str) -> str | None:
    """Say whether a path could be taken for several, or for other SQL: it goes into COPY ... FROM '...',
    and DuckDB expands patterns in it."""
    if UNSAFE_IN_PATH.search(path) or ".." in Path(path).name:
        return "the path has a quote, a line end, a control character, '..' or a pattern character"
    return None


def first_record(path: str, delimiter: str) -> list[str]:
    """Read the cells of the first record of a file that may have any header, or none.

    Args:
        path: the file.
        delimiter: a comma or a tab.

    Raises:
        UnreadableFile: there is none that can be read.
    """
    with standard_cell_limit(), open_text(path) as stream:
        lines = Lines(stream, 1)
        try:
            record = next(csv.reader(lines, strict=True, delimiter=delimiter))
        except csv.Error as error:
            rule = _parser_rule(str(error), "".join(lines.record), spans_lines=len(lines.record) > 1)
            raise UnreadableFile(f"line 1: {rule}") from None
        except UnreadableLine as error:
            raise UnreadableFile(f"line 1: {error}") from None
    if len("".join(lines.record).encode()) >= lines.longest:
        raise UnreadableFile("line 1: a record longer than a header can be")
    if not record:
        raise UnreadableFile("line 1: a blank line")
    return record


def list_faults(stream: BinaryIO, first: list[str], labels: list[str], delimiter: str) -> list[str]:
    """Say what keeps the rest of a file from being plain RFC 4180, as ``csv_faults`` does.

    Args:
        stream: the file, from ``open_text``.
        first: its ``first_record``, whether that is a header or not.
        labels: what messages call the columns, as many as ``first`` has cells.
        delimiter: a comma or a tab.

    Raises:
        OSError: the file cannot be read to its end.
    """
    with standard_cell_limit():
        faults = _record_faults(stream, first, False, labels, delimiter)
        return list(islice(faults, FAULTS_SHOWN))


def _open_regular(path: str) -> BinaryIO:
    """Open a file that is neither a link nor anything that could block or never end.

    Raises:
        FileNotFoundError: nothing is there.
        IsADirectoryError: something other than a regular file is there. It is not opened: opening
            a FIFO waits for its writer. A swap between look and open finds the flags in its way.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise IsADirectoryError
    return open(path, "rb", buffering=BUFFER, opener=lambda name, _: os.open(name, flags))


def _encoding_fault(stream: BinaryIO) -> str | None:
    """Judge the first bytes, and leave the stream behind the one byte order mark it may have."""
    head = stream.peek(BUFFER)[:1024]  # type: ignore[attr-defined]
    for mark, name in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return f"the file is {name}, not UTF-8"
    if any(head) and max(head[0::2].count(0), head[1::2].count(0)) > len(head) // 4:
        return "the file is UTF-16 or UTF-32 without a byte order mark, not UTF-8"
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head[len(codecs.BOM_UTF8) :]
    if head.startswith(codecs.BOM_UTF8):
        return "line 1: two byte order marks"
    if not head:
        return "empty file: not even a header"
    return None


def _record_faults(
    stream: BinaryIO,
    columns: list[str],
    must_have_rows: bool,
    labels: list[str] | None = None,
    delimiter: str = ",",
) -> Iterator[str]:
    """Yield the faults of header and rows. A fault of the syntax is the last: nothing after it is
    certain to be where it seems to be. Messages call the columns by their labels, if they have any."""
    lines = Lines(stream, len(columns))
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    width = len(columns)
    located = partial(_located, labels=labels or columns, cell_pattern=CELL[delimiter])
    start = 1
    try:
        header = next(reader)
        if labels is None:
            fault = _header_fault(header, "".join(lines.record), columns, lines, reader)
        else:  # the columns may be somebody's record, of which a comparison could show a part
            fault = None if header == columns else "not what was read before: the file changed"
        if fault:
            yield f"line 1: {fault}"
            return
        text = lines.record[-1]
        newline = next((end for end in ("\r\n", "\n") if text.endswith(end)), "")
        if fault := _end_fault("".join(lines.record), newline):
            yield f"line 1: {fault}"
            return
        crlf = newline == "\r\n"
        lines.record.clear()
        start = reader.line_num + 1
        rows = 0
        for row in reader:
            rows += 1
            record = lines.record
            text = record[0] if len(record) == 1 else "".join(record)
            # Cheap signs, seldom there in a good row, that it deserves the closer look.
            if (
                len(row) != width
                or '"' in text
                or text[0] == "#"
                or text[-1] != "\n"
                or text.endswith("\r\n") is not crlf
                or (crlf and text.endswith("\r\r\n"))
            ):
                if fault := _row_fault(len(row), text, width):
                    yield f"line {start}: {fault}"
                elif fault := _end_fault(text, newline):
                    yield f"{_lines(start, reader.line_num)}: {fault}"
                    return
                elif not RECORD[delimiter].fullmatch(text.rstrip("\r\n")):
                    rule = "a quote inside a cell that is not quoted"
                    yield located(start, reader.line_num, text, rule)
                    return
            record.clear()
            start = reader.line_num + 1
        if must_have_rows and not rows:
            yield "line 1: a header without rows, where rows are required"
    except csv.Error as error:
        text = "".join(lines.record)
        hint = _delimiter_fault(text, columns) if start == 1 else None
        rule = hint or _parser_rule(str(error), text, spans_lines=reader.line_num > start)
        yield located(start, reader.line_num, text, rule)
    except UnreadableLine as error:
        # The parser counts the lines it was given; a line refused here comes after them.
        end = max(start, start + len(lines.record) - 1)
        yield located(start, end, "".join(lines.record), str(error))


def _row_fault(cells: int, text: str, width: int) -> str | None:
    """Say what is wrong with the shape of a row, if anything."""
    if not text.strip():
        return "a blank line"
    if text[0] == "#":
        return "a comment line (if it is data, put its first cell in quotes)"
    if cells < width:
        return f"a short row, {cells} of {width} cells"
    if cells > width:
        return f"a long row, {cells} cells instead of {width}"
    return None


def _end_fault(text: str, newline: str) -> str | None:
    """Say why it is not certain where a record ends, though the csv module takes it.

    Args:
        text: the record with its line end.
        newline: the end of line 1, the only one that the file may use; empty if line 1 has none.
    """
    body = text.rstrip("\r\n")
    ending = text[len(body) :]
    if ending not in ("", newline):
        if ending == "\r":
            return "a CR alone as line end"
        if ending not in ENDINGS:
            return "a CR too many before the line end"
        return f"mixed line ends, {ENDINGS[ending]} after {ENDINGS[newline]} on line 1"
    if "\n" in body and '\\"' in body:
        # In a file that escapes by backslash, "a\"" is a whole cell; here it swallows lines until
        # the next quote. Within one line RFC 4180 decides, so a value may end in a backslash.
        return "a backslash before a quote in a record of several lines: parsers end it differently"
    return None


def _parser_rule(message: str, text: str, spans_lines: bool) -> str:
    """Translate an error of the csv module. Its own words are matched and not repeated."""
    if message.startswith("new-line character"):
        return "a CR alone, outside quotes: lines must end in LF or CRLF"
    if message.startswith("field larger"):
        if spans_lines:
            return f"a quote that is not closed, or a cell over {CELL_LIMIT:,} characters"
        return f"a cell over {CELL_LIMIT:,} characters"
    if message.startswith("unexpected end"):
        return "a quote that is not closed before the end of the file"
    if "expected after" in message:
        if '\\"' in text:
            return "a quote escaped by a backslash (RFC 4180 doubles it), or text after a quote"
        return "text after a closing quote, or a quote that was not closed before"
    return "not RFC 4180"


def _lines(start: int, end: int) -> str:
    """Name the lines of a record."""
    return f"line {start}" if end <= start else f"lines {start} to {end}"


def _located(
    start: int, end: int, text: str, rule: str, labels: list[str], cell_pattern: re.Pattern[str]
) -> str:
    """Put line and column before a rule: the column is the first cell that is not well-formed."""
    where = _lines(start, end)
    cell = position = 0
    while (match := cell_pattern.match(text, position)) and match[1]:
        if match.end() - position > CELL_LIMIT and _is_too_long(match[0][:-1]):
            break
        cell, position = cell + 1, match.end()
    if start > 1 and cell < len(labels):
        where += f", column {labels[cell]}"
    return f"{where}: {rule}"


def _is_too_long(cell: str) -> bool:
    """Whether a cell, given as it is written, has more characters than a cell may have."""
    value = cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
    return len(value) > CELL_LIMIT


def _header_fault(
    header: list[str], text: str, columns: list[str], lines: Lines, reader: Iterator[list[str]]
) -> str | None:
    """Compare line 1 with the contract; the reader is used up only if line 1 is no header."""
    if header == columns:
        return None
    if not text.strip():
        return "a blank line where the header should be"
    if fault := _delimiter_fault(text, columns):
        return fault
    if not _is_mostly(header, columns):
        found = _line_of_header(columns, lines, reader)
        wanted = f"expected {len(columns)} columns beginning with {columns[0]}"
        if found:
            return f"not the header, which stands on line {found}: remove what is before it"
        return f"not the header ({wanted}): it is missing, or something stands in its place"
    return _header_difference(header, columns)


def _delimiter_fault(text: str, columns: list[str]) -> str | None:
    """Say so if line 1 is a header once it is split at something other than a comma."""
    for delimiter, name in DELIMITERS.items():
        cells = text.replace('"', "").split(delimiter)
        if len(cells) > 1 and _is_mostly(cells, columns):
            return f"the delimiter is {name}, not a comma"
    return None


def _plain(name: str) -> str:
    """A header name without the case and padding in which exports differ."""
    return name.strip(PADDING + "\r\n").casefold()


def _is_mostly(cells: list[str], columns: list[str]) -> bool:
    """Whether a line is a header beyond doubt: half its cells are expected names, and half of the
    expected names are there."""
    plain = [_plain(cell) for cell in cells]
    known = sum(cell in columns for cell in plain)
    return 2 * known >= len(cells) and 2 * len(set(plain) & set(columns)) >= len(columns)


def _line_of_header(columns: list[str], lines: Lines, reader: Iterator[list[str]]) -> int | None:
    """Look for the header in the lines after the first; a broken line ends the search."""
    lines.record.clear()
    try:
        for row in islice(reader, LINES_SEARCHED):
            lines.record.clear()
            if [_plain(cell) for cell in row] == columns:
                return reader.line_num  # type: ignore[attr-defined,no-any-return]
    except (csv.Error, UnreadableLine):
        pass
    return None


def _header_difference(header: list[str], columns: list[str]) -> str:
    """Name what differs between a header and the contract.

    Expected names are the project's own and are shown. Others are shown only as identifiers.
    """
    plain = [_plain(name) for name in header]
    if plain == columns:
        respelt = [name for name, given in zip(columns, header, strict=True) if name != given]
        return f"the header has other case, or spaces, in {', '.join(respelt)}"
    missing = [name for name in columns if name not in plain]
    unknown = [name for name, key in zip(header, plain, strict=True) if key not in columns]
    known = [key for key in plain if key in columns]
    # A row glued to the header, its line end lost, brings as many unknown cells as known ones.
    shown = [repr(name) for name in unknown if IDENTIFIER.fullmatch(name)]
    if len(known) <= len(unknown):
        shown = []
    unnamed = len(unknown) - len(shown)
    twice = sorted({name for name in known if known.count(name) > 1}, key=columns.index)
    parts = []
    if missing:
        parts.append(f"missing {', '.join(missing)}")
    if shown:
        parts.append(f"not expected {', '.join(shown)}")
    if unnamed:
        parts.append(f"not expected {unnamed} more, names not shown")
    if twice:
        parts.append(f"more than once {', '.join(twice)}")
    elif known != [name for name in columns if name in known]:
        parts.append(f"out of order, where expected is {', '.join(columns)}")
    return f"the header differs: {'; '.join(parts)}"


def csv_faults_json(path: str, columns: str, must_have_rows: bool) -> str:
    """``csv_faults`` for SQL: a JSON array of messages.

    Fails closed: whatever goes wrong here, a NULL argument included, is a message and therefore a
    refusal. It names the exception's type alone, since its text may quote a cell.

    Args:
        path: the file.
        columns: a JSON array of names.
        must_have_rows: as in ``csv_faults``.
    """
    try:
        names = json.loads(columns)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError
        if not isinstance(must_have_rows, bool):
            raise TypeError
        return json.dumps(csv_faults(path, names, must_have_rows))
    except Exception as error:
        return json.dumps([f"csv_faults: the check itself failed ({type(error).__name__})"])


def csv_columns_json(path: str, columns: str, optional: str) -> str:
    """``csv_columns`` for SQL: JSON arrays of names in and out.

    Fails closed: whatever goes wrong here, every column is asked for, and ``csv_faults`` refuses.
    """
    try:
        return json.dumps(csv_columns(path, json.loads(columns), json.loads(optional)))
    except Exception:
        return columns


def file_exists(path: str | None) -> bool:
    """Whether anything is at a path. A broken link counts: it is refused later, not passed over."""
    return path is not None and os.path.lexists(path)


class Plugin(BasePlugin):
    """The dbt-duckdb plugin that lets SQL call these checks.

    Source: https://github.com/duckdb/dbt-duckdb, "Writing your own plugins".
    """

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Make the folder of the warehouse file, which DuckDB does not do.

        Raises:
            OSError: the folder cannot be made.
        """
        if not re.match(r":memory:|\w{2,}:", creds.path):  # in memory; md:, ducklake:, s3://
            Path(creds.path).parent.mkdir(parents=True, exist_ok=True)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Register ``csv_faults``, ``csv_columns`` and ``file_exists`` as SQL functions.

        All have side effects, so that no result is folded or kept while a file changes, and all
        are given NULLs, so that no NULL comes back and is read as "no fault". A second connection
        to the same warehouse in one process finds them there.

        Raises:
            duckdb.CatalogException: the warehouse holds something else of the same name.
        """
        there = conn.execute(
            "select function_name from duckdb_functions()"
            " where database_name = 'system' and function_type = 'scalar'"
        ).fetchall()
        for name, function, parameters, result in (
            ("csv_faults", csv_faults_json, [VARCHAR, VARCHAR, BOOLEAN], VARCHAR),
            ("csv_columns", csv_columns_json, [VARCHAR, VARCHAR, VARCHAR], VARCHAR),
            ("file_exists", file_exists, [VARCHAR], BOOLEAN),
        ):
            if (name,) not in there:
                conn.create_function(
                    name,
                    function,
                    parameters,
                    result,
                    null_handling=FunctionNullHandling.SPECIAL,
                    side_effects=True,
                )
