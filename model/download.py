"""A file from a URL: resumed where an earlier attempt stopped, in place only when complete."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

__all__ = ["download"]

CHUNK = 1 << 20


def download(url: str, path: Path, log: Callable[[str], None], timeout: float = 20) -> None:
    """Fetches `url` into `path`. Bytes that an interrupted attempt left in `path`.part are asked for no
    second time; `path` itself appears only when all have come. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # range not satisfiable: what is there is no prefix of the file
            raise
        part.unlink()
        have = 0
        response = urllib.request.urlopen(url, timeout=timeout)
    with response:
        if have and response.status != 206:  # the server sends all of it again
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        log(f"downloading {url}" + (f" ({total / 1e6:.0f} MB)" if total else ""))
        last = time.monotonic()
        with open(part, "ab" if have else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if time.monotonic() - last > 5:
                    last = time.monotonic()
                    log(f"{have / 1e6:.0f} MB" + (f" of {total / 1e6:.0f}" if total else ""))
    if total is not None and have != total:
        raise OSError(f"{url} ended after {have} of {total} bytes; run again to go on from there")
    os.replace(part, path)
