"""The distributions of the lab, and the images of their own that may stand for them."""

from typing import Literal

Distribution = Literal["debian", "rhel"]
"""How packages come to a node; "rhel" is the lab's stand-in for EL, where no image is given."""

SUITES = {"12": "bookworm", "13": "trixie"}
"""The names in Debian's archive of the releases that the lab has, the usual one first."""

_FAMILIES: dict[str, Distribution] = {
    "almalinux": "rhel",
    "centos": "rhel",
    "debian": "debian",
    "oraclelinux": "rhel",
    "rockylinux": "rhel",
    "ubi": "rhel",
    "ubuntu": "debian",
}
"""Distributions by how the last part of their image's name begins."""
_UBUNTU_2204 = ("22.04", "jammy")


def own_images(text: str) -> dict[Distribution, str]:
    """Return the images that a list such as `rockylinux:9,ubuntu:24.04` names, one a family.

    Raises ValueError, in a sentence for the administrator, for an image of no known distribution,
    and for a second one of the same family.
    """
    images: dict[Distribution, str] = {}
    for image in filter(None, map(str.strip, text.split(","))):
        family = _FAMILIES[_distribution(image)]
        if family in images:
            raise ValueError(f"{images[family]} and {image} would stand for the same hosts")
        images[family] = image
    return images


def root_trees(text: str) -> dict[str, str]:
    """Return the images that a list such as `debian:12,debian:13` names, by Debian's release.

    The tag tells the release, as a number or a name; it is the usual one where it tells none.
    """
    trees = {}
    for image in filter(None, map(str.strip, text.split(","))):
        tag = _last_part(image)[1]
        told = (each for each, suite in SUITES.items() if tag.startswith((each, suite)))
        trees[next(told, next(iter(SUITES)))] = image
    return trees


def group(image: str) -> str:
    """Return the inventory's group for hosts on this image: the one that says how.

    Raises ValueError for an image of no known distribution.
    """
    distribution = _distribution(image)
    if distribution != "ubuntu":
        return _FAMILIES[distribution]
    return "ubuntu_2204" if _last_part(image)[1].startswith(_UBUNTU_2204) else "ubuntu"


def _distribution(image: str) -> str:
    name, _ = _last_part(image)
    for distribution in _FAMILIES:
        if name.startswith(distribution):
            return distribution
    raise ValueError(f"{image} is of no known distribution; known are {', '.join(_FAMILIES)}")


def _last_part(image: str) -> tuple[str, str]:
    """Return name and tag of an image, without its registry, its folders and its digest."""
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return name, tag
