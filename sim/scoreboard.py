"""Compares results with the integer model and measures the cadence."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Scoreboard", "unpack_result"]

REPORTED = 5  # mismatches described one by one


def unpack_result(payload: int, classes: int, logit_bits: int) -> tuple[list[int], int]:
    """The output payload's logits and class index: logits from the low end, then the index."""
    sign, mask = 1 << (logit_bits - 1), (1 << logit_bits) - 1
    logits = [(((payload >> (logit_bits * c)) & mask) ^ sign) - sign for c in range(classes)]
    return logits, payload >> (logit_bits * classes)


@dataclass
class Scoreboard:
    """``expected`` is (frames, classes). `add` takes results in order; `restart` begins a new segment, after a
    reset, whose first frame enters an idle accelerator again. The first ``settling`` intervals of a segment do not
    count: the pipeline is still filling."""

    expected: np.ndarray
    logit_bits: int
    settling: int = 0
    results: int = 0
    mismatched_logits: int = 0
    mismatched_classes: int = 0
    mismatches: list[str] = field(default_factory=list)
    predictions: dict[int, int] = field(default_factory=dict)
    segments: list[list[tuple[int, int]]] = field(default_factory=lambda: [[]])

    def restart(self) -> None:
        self.segments.append([])

    def add(self, frame: int, first: int, cycle: int, payload: int) -> None:
        """``first`` and ``cycle``: when the frame's first beat and its result moved."""
        want = self.expected[frame].tolist()
        logits, index = unpack_result(payload, len(want), self.logit_bits)
        best = int(np.argmax(want))
        wrong = [c for c in range(len(want)) if logits[c] != want[c]]
        self.results += 1
        self.predictions[frame] = index
        self.segments[-1].append((first, cycle))
        self.mismatched_logits += len(wrong)
        self.mismatched_classes += index != best
        if (wrong or index != best) and len(self.mismatches) < REPORTED:
            parts = [f"logit {c} is {logits[c]}, not {want[c]}" for c in wrong[:3]]
            parts += ["..."] if len(wrong) > 3 else []
            parts += [f"class is {index}, not {best}"] if index != best else []
            self.mismatches.append(f"frame {frame}: {', '.join(parts)}")

    def summary(self) -> dict:
        """Latencies of frames that enter an idle accelerator (the first of every segment) and of all frames;
        intervals between results within a segment, once settled. None where nothing was measured."""
        segments = [np.array(segment, np.int64) for segment in self.segments if segment]
        empty = [np.empty(0, np.int64)]
        first = np.array([segment[0, 1] - segment[0, 0] for segment in segments], np.int64)
        latency = np.concatenate([segment[:, 1] - segment[:, 0] for segment in segments] or empty)
        interval = np.concatenate([np.diff(segment[:, 1])[self.settling :] for segment in segments] or empty)
        return {
            "results": self.results,
            "mismatched_logits": self.mismatched_logits,
            "mismatched_classes": self.mismatched_classes,
            "mismatches": self.mismatches,
            **_extremes("first_latency", first),
            **_extremes("latency", latency),
            **_extremes("frame_interval", interval),
        }


def _extremes(name, values):
    return {
        f"{name}_min": int(values.min()) if len(values) else None,
        f"{name}_max": int(values.max()) if len(values) else None,
    }
