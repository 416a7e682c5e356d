"""Compare results with the integer model, and measure latencies and frame intervals."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Scoreboard", "unpack_result"]

REPORTED = 5  # number of mismatches that are described


def unpack_result(payload: int, classes: int, logit_bits: int) -> tuple[list[int], int]:
    """Return the logits and the class index in an output payload.

    The payload contains the logits, beginning at its low end, and then the index of the largest one.

    Examples
    --------
    >>> unpack_result(0b1_0001_1110, classes=2, logit_bits=4)
    ([-2, 1], 1)
    """
    sign, mask = 1 << (logit_bits - 1), (1 << logit_bits) - 1
    logits = [(((payload >> (logit_bits * c)) & mask) ^ sign) - sign for c in range(classes)]
    return logits, payload >> (logit_bits * classes)


@dataclass
class Scoreboard:
    """The results of a simulation, compared with the expected logits.

    A reset divides the results into segments. The first frame of each segment enters an idle accelerator.

    Attributes
    ----------
    expected
        Expected logits, integers (frames, classes).
    logit_bits
        Width of a logit.
    settling, draining
        Number of frame intervals at the beginning and at the end of a segment that do not count, because the pipeline
        is filling, or because no frame follows.
    results
        Number of results.
    mismatched_logits, mismatched_classes
        Number of wrong logits (or other outputs), and of wrong indices of the greatest one.
    mismatches
        Descriptions of the first wrong results.
    predictions
        Class index by frame.
    segments
        For each segment the cycles in which the first beat and the result of each frame were transferred, and its
        number.
    """

    expected: np.ndarray
    logit_bits: int
    settling: int = 0
    draining: int = 0
    results: int = 0
    mismatched_logits: int = 0
    mismatched_classes: int = 0
    mismatches: list[str] = field(default_factory=list)
    predictions: dict[int, int] = field(default_factory=dict)
    segments: list[list[tuple[int, int, int]]] = field(default_factory=lambda: [[]])

    def restart(self) -> None:
        """Begin a new segment after a reset."""
        self.segments.append([])

    def add(self, frame: int, first: int, cycle: int, payload: int) -> None:
        """Add the result of a frame.

        Parameters
        ----------
        frame
            Number of the frame.
        first
            Cycle in which the frame's first beat was transferred.
        cycle
            Cycle in which the result was transferred.
        payload
            The result.
        """
        expected = self.expected[frame].tolist()
        logits, index = unpack_result(payload, len(expected), self.logit_bits)
        best = int(np.argmax(expected))
        wrong = [c for c in range(len(expected)) if logits[c] != expected[c]]
        self.results += 1
        self.predictions[frame] = index
        self.segments[-1].append((first, cycle, frame))
        self.mismatched_logits += len(wrong)
        self.mismatched_classes += index != best
        if (wrong or index != best) and len(self.mismatches) < REPORTED:
            parts = [f"output {c} is {logits[c]}, not {expected[c]}" for c in wrong[:3]]
            parts += ["..."] if len(wrong) > 3 else []
            parts += [f"the greatest is output {index}, not {best}"] if index != best else []
            self.mismatches.append(f"frame {frame}: {', '.join(parts)}")

    def summary(self) -> dict:
        """Return the number of results and mismatches, and the smallest and largest of all measured cycles.

        ``first_latency`` is the latency of frames that enter an idle accelerator and are followed by others, the
        first ones of all segments, and of a single frame. ``latency`` is that of all frames. ``frame_interval``
        counts the cycles between two results of a segment after settling and before draining. A value is None if
        nothing was measured.
        """
        segments = [np.array(segment, np.int64) for segment in self.segments if segment]
        empty = [np.empty(0, np.int64)]
        # Behind the last frame no other follows. A segment may consist of it alone.
        followed = [segment for segment in segments if segment[0, 2] < len(self.expected) - 1] or segments
        first = np.array([segment[0, 1] - segment[0, 0] for segment in followed], np.int64)
        latency = np.concatenate([segment[:, 1] - segment[:, 0] for segment in segments] or empty)
        interval = np.concatenate(
            [np.diff(segment[:, 1])[self.settling : max(len(segment) - 1 - self.draining, 0)] for segment in segments]
            or empty
        )
        return {
            "results": self.results,
            "mismatched_logits": self.mismatched_logits,
            "mismatched_classes": self.mismatched_classes,
            "mismatches": self.mismatches,
            **_extremes("first_latency", first),
            **_extremes("latency", latency),
            **_extremes("frame_interval", interval),
        }


def _extremes(name: str, values: np.ndarray) -> dict[str, int | None]:
    """Return the smallest and the largest of some cycles, for `Scoreboard.summary`."""
    return {
        f"{name}_min": int(values.min()) if len(values) else None,
        f"{name}_max": int(values.max()) if len(values) else None,
    }
