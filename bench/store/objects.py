"""Stores in an object store: `s3://bucket/prefix` as a path, so that they are read and written as those in a folder.

A store needs little of its folder: to list it, to read files or ranges of them, to make a file that only one process
can make, and to delete. All four exist in an object store. An object appears whole or not at all, so that nothing has a
temporary name; a file that only one can make is a conditional put (`If-None-Match: *`). What needs more, a lock or a
file that grows, is refused with the address and the way out.

The client is obstore, since pyarrow's S3FileSystem has no conditional put. It takes its settings from AWS's usual
environment variables, and sends a request again where the server or the network has failed. It is an extra, and is
imported with the first request.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any

from bench.core.errors import UsageError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

_SCHEME = "s3://"
_TAIL_BYTES = 64 << 10
"""What is got of an object first, its last bytes: the whole of a run's part, or the footer of a folded one."""
_TAILS = 2048
"""The last bytes of so many objects are kept: a report reads each part three times, and it never changes."""
_RETRIES = 5
"""How often a request is sent again: after 0.1 s at first, then after twice as long each, about 3 s in all."""
_MORE_RETRIES = 9
"""How often one that keeps what was measured is: about 50 s in all."""
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_METADATA_SERVICE = ("/latest/api/token", "/latest/meta-data/")
"""What is asked for credentials, of the machine that EC2 lends, where no setting gives any."""


def store_path(name: str | Path) -> Path:
    """The results folder or file of a name: a path of this machine, or `s3://bucket/prefix`; a path is what it is.

    Raises:
        UsageError: it is an address that isn't of S3, or names no bucket.
    """
    if isinstance(name, Path):
        return name
    scheme, is_address, rest = name.partition("://")
    if not is_address:
        return Path(name)
    if f"{scheme}://" != _SCHEME or not rest.strip("/"):
        raise UsageError(f"cannot use {name} as results: name a folder, or an S3 bucket as in s3://bucket/prefix.")
    return ObjectPath(name)


class ObjectPath(PosixPath):
    """The address of an object, or of all objects below it, with what readers and writers of stores ask of a path.

    Whatever else is asked of it needs a file of this machine, and is refused (`__fspath__`).
    """

    _listed: ObjectMeta | None = None
    """What a listing gave of the object; None where it did not come from one."""

    def __str__(self) -> str:
        plain = super().__str__()  # without a slash: two are one in a path
        return plain.replace("s3:/", _SCHEME, 1) if plain.startswith("s3:/") else plain

    def __fspath__(self) -> str:
        raise UsageError(f"{self} is in an object store, and this needs a folder of this machine: name one.")

    def absolute(self) -> ObjectPath:
        """The same: an address is absolute."""
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """The kind and the size in bytes, as of a file or a folder; nothing else in it means anything.

        Raises:
            FileNotFoundError: there is no such object, and none below it.
            UsageError: the object store cannot be asked, as in all other methods.
        """
        if self._listed is not None:
            return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self._listed["size"], 0, 0, 0))
        with self._asked() as (obstore, client):
            if not self._key or next(iter(obstore.list(client, self._key, chunk_size=1)), None):
                return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 1, 0, 0, 0, 0, 0, 0))
            self._listed = obstore.head(client, self._key)
        return self.stat()

    def exists(self, **_: Any) -> bool:
        """Whether there is such an object, or one below it."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: Any) -> bool:
        """Whether there is an object below it."""
        return self.exists() and stat.S_ISDIR(self.stat().st_mode)

    def is_symlink(self) -> bool:
        """False: an object store has no links."""
        return False

    def iterdir(self) -> Generator[ObjectPath, None, None]:
        """The objects and the folders right below it; none where there is nothing."""
        with self._asked() as (obstore, client):
            listed = obstore.list_with_delimiter(client, self._key or None)
        for prefix in listed["common_prefixes"]:
            yield self / prefix.rpartition("/")[2]
        for meta in listed["objects"]:
            child = self / meta["path"].rpartition("/")[2]
            child._listed = meta
            yield child

    def glob(self, pattern: str, **_: Any) -> Iterator[ObjectPath]:  # type: ignore[override]
        """The paths below it that match, a name for each part of the pattern; `**` is a name like any other."""
        name, _slash, rest = pattern.partition("/")
        for child in self.iterdir():
            if fnmatchcase(child.name, name):
                if not rest:
                    yield child
                elif child._listed is None:
                    yield from child.glob(rest)

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """The object for reading, of which only those bytes are fetched that are read.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if mode != "rb":
            self.__fspath__()
        return _ObjectFile(self)

    def read_bytes(self) -> bytes:
        """The whole content.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return self.stamped()[0]

    def stamped(self) -> tuple[bytes, int]:
        """The content as it is now, and when it was written last, by the server's clock: nanoseconds since 1970.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self._asked() as (obstore, client):
            got = obstore.get(client, self._key)
            return bytes(got.bytes()), int(got.meta["last_modified"].timestamp() * 1e9)

    def create(self, content: bytes) -> bool:
        """Makes the object, which only one process can; an existing one is kept.

        Returns:
            True where it holds this content now: a request whose reply was lost is sent again, and then refused though
            it had succeeded.
        """
        while True:
            try:
                with self._asked(_MORE_RETRIES) as (obstore, client):
                    obstore.put(client, self._key, content, mode="create", use_multipart=False)
            except FileExistsError:
                try:
                    return self.read_bytes() == content
                except FileNotFoundError:  # deleted meanwhile
                    continue
            return True

    def renew(self, content: bytes) -> None:
        """Writes an object's content once more, so that it was written now, unless it holds another one or is gone."""
        try:
            with self._asked() as (obstore, client):
                got = obstore.get(client, self._key)
                if bytes(got.bytes()) == content:
                    unchanged: Any = {"e_tag": got.meta["e_tag"]}
                    obstore.put(client, self._key, content, mode=unchanged, use_multipart=False)
        except (FileNotFoundError, FileExistsError):
            return

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object; one that is missing is deleted already."""
        with self._asked() as (obstore, client):
            obstore.delete(client, self._key)

    def replace(self, target: ObjectPath) -> ObjectPath:  # type: ignore[override]
        """Gives the object another name, first to a copy."""
        with self._asked() as (obstore, client):
            obstore.rename(client, self._key, target._key)
        return target

    def tail(self) -> tuple[bytes, int]:
        """Its last bytes, all of a small one, and its size in bytes; what a listing knows is fetched once."""
        if self._listed is None:
            return self._fetch_tail()
        return _kept_tail(self, self._listed["e_tag"], self._listed["last_modified"])

    def fetch(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`."""
        with self._asked() as (obstore, client):
            return bytes(obstore.get_range(client, self._key, start=start, end=stop))

    def _fetch_tail(self) -> tuple[bytes, int]:
        with self._asked() as (obstore, client):
            got = obstore.get(client, self._key, options={"range": {"suffix": _TAIL_BYTES}})
            return bytes(got.bytes()), got.meta["size"]

    @property
    def _key(self) -> str:
        return "/".join(self.parts[2:])

    @contextmanager
    def _asked(self, retries: int = _RETRIES) -> Iterator[tuple[Any, S3Store]]:
        """The library and the client to ask with.

        Args:
            retries: how often a request is sent again, where the server or the network fails.

        Raises:
            FileNotFoundError: there is no such object.
            FileExistsError: there is one already, or it isn't the one any more that it was to be.
            UsageError: whatever else goes wrong.
        """
        obstore, bucket, endpoint = _obstore(), self.parts[1], _endpoint()
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield obstore, _client(bucket, endpoint, retries)
        except (FileNotFoundError, BaseError) as error:
            if "NoSuchBucket" in str(error):
                raise UsageError(
                    f"there is no bucket {bucket!r} ({self}, at {endpoint or 'AWS'}): make it, or name another one; "
                    "AWS_ENDPOINT_URL names the server that is asked."
                ) from error
            if isinstance(error, FileNotFoundError):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from error
            if isinstance(error, AlreadyExistsError | PreconditionError):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self)) from error
            raise _refusal(str(self), endpoint, error) from error


@functools.lru_cache(_TAILS)
def _kept_tail(path: ObjectPath, _version: str | None, _written: object) -> tuple[bytes, int]:
    return path._fetch_tail()


class _ObjectFile(io.RawIOBase):
    """An object, opened for reading at any place."""

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._place = path, 0
        self._tail, self._size = path.tail()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        stop = min(self._place + len(buffer), self._size)
        if stop <= self._place:
            return 0
        tail_at = self._size - len(self._tail)
        if self._place >= tail_at:
            content = self._tail[self._place - tail_at : stop - tail_at]
        else:
            content = self._path.fetch(self._place, stop)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _obstore() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise UsageError(
            "results in an object store need obstore, which is not installed: "
            "`pip install -e '.[s3]'` in the checkout adds it."
        ) from error
    return obstore


def _endpoint() -> str:
    """The server that is asked; empty for AWS itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


@functools.cache
def _client(bucket: str, endpoint: str, retries: int) -> S3Store:
    from datetime import timedelta

    from obstore.store import S3Store

    return S3Store(
        bucket,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s"},
        retry_config={
            "max_retries": retries,
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=30), "base": 2},
        },
    )


def _refusal(address: str, endpoint: str, error: Exception) -> UsageError:
    """The user's error for what the object store, or the way to it, has refused."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    first = str(error).partition("\n")[0]
    why = first.rpartition(" - ")[2].partition(": <")[0]
    if any(part in first for part in _METADATA_SERVICE):
        why = "there are no credentials"
        way = f"set {' and '.join(_CREDENTIALS)}, or AWS_SKIP_SIGNATURE=true for a public bucket"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in first:
        why, way = "access denied", f"check {' and '.join(_CREDENTIALS)}, and what they may do in this bucket"
    elif "redirect" in first:
        way = "set AWS_REGION to the bucket's"
    else:
        way = "check the network and AWS_ENDPOINT_URL, and give the command again (what is finished is kept)"
    return UsageError(f"cannot use {address} at {endpoint or 'AWS'} ({why}): {way}.")
