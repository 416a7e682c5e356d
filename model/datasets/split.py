"""Divisions of a data set: the fixed split into training and validation images, and those that set images aside.

All of them depend only on fixed seeds, the number of images and, where they count, the classes or groups.
"""

import numpy as np

from psahw.errors import UserError
from psahw.quoting import quote

__all__ = ["TEST_SHARE", "split", "split_groups", "split_test"]

SPLIT_SEED = 45_000
TEST_SHARE = 5
"""One image of so many is for testing, if the data set itself does not say which."""


def split(count: int, *, all_images: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training images and of the validation images, in ascending order.

    After a fixed shuffle, the last tenth of the images validates: 5,000 of CIFAR-10's 50,000.

    Parameters
    ----------
    count
        Number of images.
    all_images
        Train on the validation images too.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    validation = max(1, count // 10)
    training = order if all_images else order[:-validation]
    return np.sort(training), np.sort(order[-validation:])


def split_groups(groups: np.ndarray, share: int, keep: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return two lists of indices, so that no group is in both, and the second has about 1 / `share` of the images.

    After a fixed shuffle of the groups, those that come first make up the second list, until it is large enough.

    Parameters
    ----------
    groups
        Number of each image's group, [n], of which there are at least two.
    share
        Desired share of the second list.
    keep
        Groups that remain for the first list at least.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(numbers))
    before = np.cumsum(sizes[order]) - sizes[order]  # images in the groups that come earlier
    chosen = numbers[order[:-keep][before[:-keep] < len(groups) / share]]
    second = np.isin(groups, chosen)
    return np.flatnonzero(~second), np.flatnonzero(second)


def split_test(
    labels: np.ndarray, names: tuple[str, ...], where: object, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of images for training (and validation) and of those for testing, in ascending order.

    A fifth of each class is for testing, rounded down, but at least one image: after a fixed shuffle, the first of
    the class. With groups, whole groups are for testing (`split_groups`).

    Parameters
    ----------
    labels
        Class numbers [n]; without classes, zeros.
    names
        Names of the classes.
    where
        What messages call the data.
    groups
        Number of each image's group [n], or None.

    Raises
    ------
    UserError
        If a class or group is too small to be divided, or a class would not be trained.
    """
    if groups is not None:
        if len(np.unique(groups)) < 3:
            raise UserError(f"{where} must have at least 3 groups, for training, validation and test")
        training, test = split_groups(groups, TEST_SHARE, keep=2)
    else:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
        parts = []
        for number in range(len(names)):
            members = order[labels[order] == number]
            if len(members) < 2:
                raise UserError(
                    f"{where}: class {quote(names[number])} has {len(members)} of the {len(labels)} examples; "
                    "at least two are needed, one of them to test"
                )
            parts.append(members[: max(1, len(members) // TEST_SHARE)])
        test = np.sort(np.concatenate(parts))
        training = np.setdiff1d(np.arange(len(labels)), test)
    absent = np.setdiff1d(np.arange(len(names)), labels[training])
    if len(absent):
        raise UserError(f"{where}: class {quote(names[absent[0]])} is only in the groups that were set aside to test")
    return training, test
