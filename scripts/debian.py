"""Debian's packages behind the engines beside DuckDB: a PostgreSQL server, and what Spark runs on."""

import os
import shutil
import subprocess
from pathlib import Path

import click

# package -> a file of it, as a glob from the root, which tells whether it is there
POSTGRES = {"postgresql": "usr/lib/postgresql/*/bin/initdb"}
SPARK = {"openjdk-17-jre-headless": "usr/bin/java", "libicu4j-java": "usr/share/java/icu4j.jar"}


def files(pattern: str) -> list[Path]:
    """Files that a glob from the root finds."""
    return sorted(Path("/").glob(pattern))


def missing(packages: dict[str, str]) -> list[str]:
    """Those of the packages that are not here."""
    return [package for package, pattern in packages.items() if not files(pattern)]


def can_install() -> bool:
    """Whether this is Debian and we are root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(program: str, packages: dict[str, str]) -> None:
    """Install those of the packages that are missing; the program is what the error calls them.

    Raises:
        click.ClickException: they are missing and cannot be installed.
        subprocess.CalledProcessError: apt-get failed.
    """
    wanted = missing(packages)
    if wanted and can_install():
        for arguments in (["update"], ["install", "--yes", *wanted]):
            subprocess.run(["apt-get", "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)
        wanted = missing(packages)
    if wanted:
        names = "package" if len(wanted) == 1 else "packages"
        raise click.ClickException(f"no {program} here: install Debian's {names} {' and '.join(wanted)}")
