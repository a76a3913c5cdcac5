"""Files that are whole or absent: written to a temporary name, synced and renamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ancestral.errors import InvalidInput


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, else removed.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: libraries that write pictures choose the format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; give the result the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path` so that the file is whole or unchanged."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    """Write `content` to `path` as UTF-8 so that the file is whole or unchanged."""
    write_bytes(path, content.encode())


def check_writable(path: Path | str) -> None:
    """Raise unless a file can be put at `path`; called before work whose result goes there.

    Nothing is left behind: a folder is made and removed in the nearest folder that exists, because permissions
    alone do not tell (an administrator, a read-only file system).

    Raises:
        InvalidInput: saying what is in the way.
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidInput(f"cannot write {path}: it is a folder; give the name of a file")
    place = path.parent
    while not place.exists():
        place = place.parent
    try:
        Path(tempfile.mkdtemp(dir=place, prefix=".ancestral-")).rmdir()
    except OSError as error:
        raise InvalidInput(f"cannot write {path} ({place}: {error.strerror}): choose another place with -o") from error
