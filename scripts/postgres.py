"""Run a command beside a PostgreSQL server of its own, which is gone when the command has ended.

\b
    python scripts/postgres.py dbt build --target postgres

The server is Debian's; where it is missing and this runs as root, `apt-get install postgresql` comes first.
It keeps its data in a temporary folder and listens on loopback alone, on a free port, behind a password. The
command finds it through libpq's own variables (PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE), which
profiles.yml reads, and a key in CONSENTED_AUDIENCES_SIZE_KEY goes to its sessions. The exit code is the
command's, or 1 when there is no server to be had.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import debian

DATABASE = "consented_audiences"
# text sorts by code point, and moments without an offset are UTC: what the run's start asks for
LOCALE = "C.UTF-8"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "jit": "off",  # compiling the long expressions of normalization takes longer than computing them
    "enable_nestloop": "off",  # nobody counts the rows of a table between its making and its reading
    "fsync": "off",
}


def programs() -> Path:
    """The folder of Debian's newest server programs, installed first where they are missing.

    Raises:
        click.ClickException: they are missing and cannot be installed.
    """
    debian.install("PostgreSQL server", debian.POSTGRES)
    found = debian.files(debian.POSTGRES["postgresql"])
    return max(found, key=lambda path: int(path.parts[-3])).parent


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """A fresh server with an empty database, as the variables that libpq finds it by; it ends with the block.

    Raises:
        click.ClickException: there is no server to be had.
        subprocess.CalledProcessError: it does not start; its log is in the error.
    """
    folder = programs()
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()  # the server refuses to run as root
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        data, log, password = (Path(directory) / name for name in ("data", "log", "password"))
        variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(free_port()),
            "PGUSER": "postgres",
            "PGPASSWORD": secrets.token_hex(16),
            "PGDATABASE": DATABASE,
        }
        password.write_text(variables["PGPASSWORD"])
        shutil.chown(directory, owner)
        shutil.chown(password, owner)

        def run(program: str, *arguments: str | Path) -> None:
            command = [folder / program, *arguments]
            try:
                # not through a pipe: the server would hold it open
                with tempfile.TemporaryFile() as output:
                    subprocess.run(command, check=True, user=owner, cwd="/", stdout=output, stderr=output)
            except subprocess.CalledProcessError as error:
                error.add_note(log.read_text() if log.exists() else "")
                raise

        cluster = ["--encoding=UTF8", f"--locale={LOCALE}", "--auth=scram-sha-256", f"--pwfile={password}"]
        run("initdb", "--pgdata", data, "--username", variables["PGUSER"], *cluster)
        settings = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
        run("pg_ctl", "-D", data, "-l", log, "-o", f"-p {variables['PGPORT']} {settings}", "-w", "start")
        try:
            # in the template, so that every database of this server has it
            extension = ["--dbname=template1", "--command=create extension pgcrypto"]
            for command in (
                ["psql", "--quiet", *extension],
                ["createdb", "--maintenance-db=postgres", DATABASE],
            ):
                subprocess.run(
                    [folder / command[0], *command[1:]], check=True, env={**os.environ, **variables}
                )
            yield variables
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def key_option(key: str) -> dict[str, str]:
    """The variable by which libpq makes the key of sizes a setting of every session."""
    escaped = key.replace("\\", "\\\\").replace(" ", "\\ ")
    return {"PGOPTIONS": f"-c consented_audiences.size_key={escaped}"}


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(command: tuple[str, ...]) -> None:
    """Run the command and exit as it does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server ends with this process, too
    with server() as variables:
        # the key of sizes (scripts/size_noise.py) goes to the server as a setting of each session
        if key := os.environ.get("CONSENTED_AUDIENCES_SIZE_KEY"):
            variables |= key_option(key)
        code = subprocess.run(command, env={**os.environ, **variables}).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
