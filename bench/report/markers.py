"""The place between two marker lines of a file, where `bench table --write` puts its table."""

from __future__ import annotations

import re
from pathlib import Path

from bench.core.errors import UsageError
from bench.store.files import refused, replace_file

BEGIN = "<!-- bench:table -->"
END = "<!-- /bench:table -->"


def write_between_markers(path: Path, markdown: str) -> bool:
    """Replace what stands between the two marker lines of a file, in one step; whether its bytes changed.

    Raises:
        UsageError: the file cannot be read or written, or hasn't each marker once, on a line of its own, in order.
    """
    target = path.resolve()
    try:
        old = target.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"can't read {path} ({why}): give a text file with the lines {BEGIN} and {END}.") from error
    begins, ends = (list(re.finditer(rf"^{re.escape(mark)}[ \t]*(?:\r?\n|\Z)", old, re.M)) for mark in (BEGIN, END))
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        raise UsageError(
            f"{path} needs the line {BEGIN} once, and after it the line {END} once (found {len(begins)} and "
            f"{len(ends)}): the table is written between them."
        )
    newline = "\r\n" if begins[0].group().endswith("\r\n") else "\n"
    body = "\n".join(["", *markdown.strip("\n").splitlines(), "", ""]).replace("\n", newline)
    new = old[: begins[0].end()] + body + old[ends[0].start() :]
    if new == old:
        return False
    with refused(path, "name another file"):
        replace_file(target, new.encode())
    return True
