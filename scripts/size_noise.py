"""The number behind the noise in published sizes: a keyed hash of what is counted.

Where it stands: this plugin of dbt-duckdb registers the SQL function ``keyed_number``, which the models
of sizes call with a digest of an audience's members (macro ``keyed_number``). The same content gives the
same number, so that asking again teaches nothing, and without the key nobody can compute it.

The key is the environment variable ``CONSENTED_AUDIENCES_SIZE_KEY`` and is read here, in Python, each
time: it passes through no Jinja, no SQL, no log and no compiled file. Without a key, or with one that
is too short to be secret, the number is NULL, and then sizes are withheld.
"""

import hashlib
import hmac
import importlib.util
import os
import sys

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

try:
    from duckdb.func import FunctionNullHandling
    from duckdb.sqltypes import BIGINT, VARCHAR
except ImportError:  # duckdb before 1.4
    from duckdb.functional import FunctionNullHandling  # type: ignore[no-redef]
    from duckdb.typing import BIGINT, VARCHAR  # type: ignore[no-redef]

KEY_VARIABLE = "CONSENTED_AUDIENCES_SIZE_KEY"

SHORTEST_KEY = 32
"""Characters: 128 bits, written in hex."""

# Of every value that a Python function returns DuckDB asks whether it is one of pandas', and looks for a
# missing pandas each time anew, which takes far longer than the hash. One known to be missing is not sought.
if importlib.util.find_spec("pandas") is None:
    sys.modules["pandas"] = None  # type: ignore[assignment]


def keyed_number(text: str | None) -> int | None:
    """A number that only the key's holder can compute, uniform over 62 bits and fixed per text.

    Args:
        text: what is counted, rendered so that the same content is the same text.

    Returns:
        The first 62 bits of HMAC-SHA-256 over the text's UTF-8 bytes; None for no text, and for a
        key that is missing or shorter than ``SHORTEST_KEY``.

    Source: RFC 2104, https://www.rfc-editor.org/rfc/rfc2104.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if text is None or len(key) < SHORTEST_KEY:
        return None
    return int.from_bytes(hmac.digest(key.encode(), text.encode(), hashlib.sha256)[:8]) >> 2


class Plugin(BasePlugin):
    """The dbt-duckdb plugin that lets SQL call ``keyed_number``.

    Source: https://github.com/duckdb/dbt-duckdb, "Writing your own plugins".
    """

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Register ``keyed_number``; a second connection in one process finds it there.

        It has a side effect in DuckDB's words, so that no result outlives a change of the key.

        Raises:
            duckdb.CatalogException: the warehouse holds something else of the same name.
        """
        there = conn.execute(
            "select 1 from duckdb_functions() where function_name = 'keyed_number'"
            " and database_name = 'system' and function_type = 'scalar'"
        ).fetchall()
        if not there:
            conn.create_function(
                "keyed_number",
                keyed_number,
                [VARCHAR],
                BIGINT,
                null_handling=FunctionNullHandling.SPECIAL,
                side_effects=True,
            )
