"""Which simulators the cache keeps."""

import fcntl
import os
import time

import pytest

building = pytest.importorskip("psahw.sim.building")
HOUR = 3600


def builds(cache, hours):
    """One that was last used so many hours ago, for each."""
    for n, ago in enumerate(hours):
        (cache / f"build{n}").mkdir()
        (cache / f"build{n}" / "build.log").write_text("")
        os.utime(cache / f"build{n}", (time.time() - ago * HOUR,) * 2)


@pytest.mark.parametrize(
    ("hours", "kept"),
    [
        ([48 - n for n in range(14)], range(2, 14)),  # the twelve that were used last
        ([23 - n for n in range(14)], range(14)),  # a run of batches may be at work with any of them
        ([26, 25, *[1] * 13], range(2, 15)),
        ([26, 25], range(2)),
    ],
)
def test_old_builds_are_forgotten(hours, kept, tmp_path):
    builds(tmp_path, hours)
    building._forget_old_builds(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(f"build{n}" for n in kept)


def test_a_build_that_another_process_holds_is_not_forgotten(tmp_path):
    builds(tmp_path, [48 - n for n in range(14)])
    with open(tmp_path / "build0.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building._forget_old_builds(tmp_path)
    assert (tmp_path / "build0").is_dir() and not (tmp_path / "build1").exists()
