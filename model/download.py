"""Download a file: resumed where an earlier attempt stopped, and in place only when it is complete."""

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from psahw.callbacks import Log
from psahw.errors import UserError
from psahw.files import writing

__all__ = ["download"]

CHUNK = 1 << 20
REPORT_SECONDS = 5


def download(url: str, path: Path, log: Log, timeout: float = 20) -> None:
    """Download a file.

    Until it is complete, the file is called `path`.part. A later attempt asks only for the bytes that are missing
    there, if the server supports that.

    Parameters
    ----------
    url
        The address of the file.
    path
        Where it goes.
    log
        Called with a message at the start, and every `REPORT_SECONDS` with the size so far.
    timeout
        Seconds without an answer after which the download fails.

    Raises
    ------
    OSError
        If the server cannot be reached, or the file ends early.
    UserError
        If the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    size = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={size}-"} if size else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # range not satisfiable: the partial file is not the beginning of this one
            raise
        part.unlink()
        size = 0
        response = urllib.request.urlopen(url, timeout=timeout)
    with response:
        if size and response.status != 206:  # the server sends the whole file again
            size = 0
        length = response.headers.get("Content-Length")
        total = size + int(length) if length else None
        log(f"downloading {url}" + (f" ({total / 1e6:.0f} MB)" if total else ""))
        reported = time.monotonic()
        with writing(path):
            file = open(part, "ab" if size else "wb", buffering=0)  # noqa: SIM115 - errors of reading are others
        with file:
            while chunk := response.read(CHUNK):
                size += len(chunk)
                try:
                    with writing(path):
                        while chunk:
                            chunk = chunk[file.write(chunk) :]
                except UserError:
                    part.unlink()  # it would fill the disk
                    raise
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    log(f"{size / 1e6:.0f} MB" + (f" of {total / 1e6:.0f}" if total else ""))
    if total is not None and size != total:
        raise OSError(f"{url} ended after {size} of {total} bytes; run again to continue from there")
    os.replace(part, path)
