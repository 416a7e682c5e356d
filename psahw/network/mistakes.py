"""The worst errors of a network with their images, and predicted beside right values.

They are parts of what ``psahw evaluate --json`` prints, and bounded, whatever the size of the images and of the
network.
"""

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from .graph import Output

__all__ = ["MOST_ERRORS", "MOST_POINTS", "MOST_VALUES", "Raw", "mistakes", "worst"]

MOST_ERRORS = 16
"""The most errors that are shown."""

MOST_POINTS = 500
"""The most images of which right and predicted values are given."""

MOST_VALUES = 6
"""The most values of which they are given, and the most values or labels that are named for an error."""

Raw = Callable[[np.ndarray], Mapping[str, float]]
"""Turns the bytes of a row, uint8 [columns], into the values of its columns by name."""

_SIDE = 96  # most pixels across and down; even noise is then a PNG file of less than 48 KiB
_ROW = 64  # most values of a row or of a signal


def worst(output: Output, codes: np.ndarray, answers: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the images with the worst errors, the worst one first.

    Images without an error are left out.
    For classes, an error is as bad as the answer's code exceeds that of the right class; for labels, as far as the
    codes of wrong labels are from 0; for values, as large as the sum of squared errors, each relative to the
    spread of its right values.

    Parameters
    ----------
    output, codes
        As for `psahw.network.evaluation.predictions`.
    answers
        What that function returns.
    right
        The right answers, as for `psahw.network.evaluation.score`.
    count
        The most indices.
    """
    if output.kind == "class":
        badness = codes.max(1) - codes[np.arange(len(codes)), right]
        badness = np.where(answers == right, 0, np.maximum(badness, 0.5))
    else:
        badness = _errors(output, codes, answers, right).sum(1)
    order = np.argsort(-badness, kind="stable")[:count]
    return order[badness[order] > 0]


def mistakes(
    output: Output,
    codes: np.ndarray,
    answers: np.ndarray,
    images: np.ndarray,
    right: np.ndarray,
    raw: Raw | None = None,
) -> dict[str, Any]:
    """Return the worst errors, and for values the right and the predicted ones.

    Parameters
    ----------
    output, codes, answers, right
        As for `worst`.
    images
        uint8 [images, height, width, colours].
    raw
        How the bytes of an image become the values of a table's columns, if it is a row of a table.

    Returns
    -------
    dict
        ``worst``, at most `MOST_ERRORS` errors, the worst one first. Each has ``index``, the number of the image, and
        ``right`` and ``answer``: names of classes, or for values and labels, up to `MOST_VALUES` of them that are
        wrong by name, the worst one first. ``image`` is the image as a PNG file of at most 96 x 96 pixels in base64.
        Where it is no picture, because it has a single row or column of pixels, or more than four colours, there is
        ``row`` instead, with its first 64 bytes or the values by column that they stand for.

        For values, ``residuals`` has ``name``, ``right`` and ``predicted`` of up to `MOST_POINTS` images that are
        spread evenly over all. Of more than `MOST_VALUES` values, those with the largest errors are chosen.
    """
    found = [
        {"index": int(index), **_named(output, codes, answers, right, index), **_shown(images[index], raw)}
        for index in worst(output, codes, answers, right, MOST_ERRORS)
    ]
    parts: dict[str, Any] = {"worst": found}
    if output.kind == "values":
        size = _errors(output, codes, answers, right).mean(0)
        chosen = np.sort(np.argsort(-size, kind="stable")[:MOST_VALUES])
        every = slice(None, None, -(-len(right) // MOST_POINTS))
        parts["residuals"] = [
            {
                "name": output.names[value],
                "right": [_rounded(number) for number in right[every, value]],
                "predicted": [_rounded(number) for number in answers[every, value]],
            }
            for value in chosen
        ]
    return parts


def _errors(output: Output, codes: np.ndarray, answers: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return how bad each value or label (images, outputs) is; 0 if it is right."""
    if output.kind == "labels":
        return np.where(answers == right.astype(bool), 0, np.abs(codes.astype(np.int64)) + 1)
    spread = right.std(0, dtype=np.float64)
    squares: np.ndarray = ((answers - right) / np.where(spread > 0, spread, 1)) ** 2
    return squares


def _named(output: Output, codes: np.ndarray, answers: np.ndarray, right: np.ndarray, index: int) -> dict[str, Any]:
    """Return the right answer to an image, and the answer that was given."""
    if output.kind == "class":
        return {"right": output.names[right[index]], "answer": output.names[answers[index]]}
    error = _errors(output, codes, answers, right)[index]
    chosen = [value for value in np.argsort(-error, kind="stable")[:MOST_VALUES] if error[value] > 0]
    convert = bool if output.kind == "labels" else _rounded
    return {
        "right": {output.names[value]: convert(right[index, value]) for value in chosen},
        "answer": {output.names[value]: convert(answers[index, value]) for value in chosen},
    }


def _rounded(number: float) -> float:
    """Return a number with six significant digits."""
    return float(f"{number:.6g}")


def _shown(image: np.ndarray, raw: Raw | None) -> dict[str, Any]:
    """Return an image as a picture or as a row."""
    height, width, colours = image.shape
    if height > 1 and width > 1 and colours <= 4:
        return {"image": base64.b64encode(_picture(image)).decode()}
    if raw is None:
        return {"row": image.reshape(-1)[:_ROW].tolist()}
    values = raw(image.reshape(-1))
    return {"row": {name: _rounded(values[name]) for name in list(values)[:_ROW]}}


def _picture(image: np.ndarray) -> bytes:
    """Return an image as a PNG file. The first of two colours is shown in grey, and the first three of four."""
    shown = image[..., 0] if image.shape[2] < 3 else image[..., :3]
    picture = Image.fromarray(np.ascontiguousarray(shown))
    if (factor := -(-max(image.shape[:2]) // _SIDE)) > 1:
        picture = picture.reduce(factor)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
