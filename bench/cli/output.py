"""How commands write: their result to standard output in the format that was asked for, and what goes on beside it."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import typer

from bench.core.errors import system_refusal
from bench.report.values import printable_lines

if TYPE_CHECKING:
    from bench.cli.options import DataFormat, Format, TableFormat
    from bench.report.document import Document


class _Output(io.FileIO):
    """Standard output or error, of which nothing more is written once the system has refused it.

    What cannot be noted must not end a measurement, and what cannot be printed is reported once: the interpreter would
    try again while it ends, and end with a code of its own.
    """

    def __init__(self, descriptor: int, *, is_result: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_result, self._refused = is_result, False

    def write(self, content: Any) -> int:
        """As for any file, with the errors of the system made the user's.

        Raises:
            BrokenPipeError: whoever read it has gone away.
            UsageError: a result cannot be written.
        """
        if not self._refused:
            try:
                return super().write(content)
            except OSError as error:
                self._refused = True
                if error.errno == errno.EPIPE:
                    raise
                if self._is_result:
                    raise system_refusal(error, "cannot write to standard output") or error from error
        return memoryview(content).nbytes


def guard_streams() -> None:
    """Let standard output and error of this process bear a terminal without "×", a full disk and a closed pipe.

    Where one of the three standard streams is closed (`>&-`), the null device takes its place: the next file that is
    opened would, and get what a child prints.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            raw = _Output(stream.fileno(), is_result=name == "stdout")
            guarded = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, guarded)


def width() -> int:
    """The columns to fill: the terminal's, or 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def notify(line: str) -> None:
    """Write a line about what goes on to standard error, beside the output.

    It may name what a store or a repository of a stranger holds, which must not drive the terminal.
    """
    typer.echo(printable_lines(f"bench: {line}"), err=True)


class LogOutput(logging.Handler):
    """Writes what the library logs as `notify` does."""

    def emit(self, record: logging.LogRecord) -> None:
        notify(record.getMessage())


def put(fmt: Format | DataFormat | TableFormat, document: Callable[[], Document], data: Callable[[], object]) -> None:
    """Write a result in the format that was asked for; only that one is made.

    Args:
        fmt: the format.
        document: what a person reads.
        data: the same for programs, JSON-able, in SI units.
    """
    match fmt.value:
        case "json":
            put_json(data())
        case "md":
            from bench.report.markdown import render_markdown

            typer.echo(render_markdown(document()), nl=False)
        case "latex":
            from bench.report.latex import render_latex

            typer.echo(render_latex(document()), nl=False)
        case "html":
            from bench.report.html import render_fragment

            typer.echo(render_fragment(document()), nl=False)
        case _:
            put_text(document(), with_terms=True)


def put_text(document: Document, *, with_terms: bool = False) -> None:
    """Write a document as text, as wide as the terminal, and with colours where it is one.

    Args:
        document: what a person reads.
        with_terms: add a line that lists its terms of the glossary, and the command that explains them: at the end, or
            before a verdict in a line, which remains the last one.
    """
    from bench.report.document import Document, Either
    from bench.report.glossary import terms_line

    text = text_of(document, sys.stdout)
    if with_terms and (terms := terms_line(text)):
        *blocks, last = document.blocks
        if isinstance(last, Either):
            text = text_of(Document((*blocks, terms, last), document.title), sys.stdout)
        else:
            text += text_of(Document((terms,)), sys.stdout)
    typer.echo(text, nl=False)


def text_of(document: Document, stream: TextIO) -> str:
    """A document as text for a stream: as wide as the terminal, and with colours where the stream is one."""
    from bench.report.text import render_text

    return render_text(document, width(), styled=stream.isatty() and "NO_COLOR" not in os.environ)


def put_json(value: object) -> None:
    """Write a JSON-able object."""
    from bench.report.jsonout import render_json

    typer.echo(render_json(value), nl=False)
