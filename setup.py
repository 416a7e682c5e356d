"""Map the folders of the checkout to packages; everything else about the build is in pyproject.toml.

``model``, ``sim``, ``boards`` and ``recipes`` are names too general for site-packages. They are therefore installed,
and imported, as ``psahw.model``, ``psahw.sim``, ``psahw.boards`` and ``psahw.recipes``. setuptools can compute such a
list of packages only here.
"""

from setuptools import find_packages, setup

FOLDERS = ("model", "sim", "boards")

packages = [*find_packages(include=["psahw", "psahw.*"]), "psahw.recipes"]
package_dir = {"psahw.recipes": "recipes"}
for folder in FOLDERS:
    package_dir[f"psahw.{folder}"] = folder
    packages += [f"psahw.{folder}", *(f"psahw.{folder}.{name}" for name in find_packages(folder))]

setup(packages=packages, package_dir=package_dir)
