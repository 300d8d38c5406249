"""Where the benchmark sets are published: addresses, sizes, checksums and terms.

Nothing here is from memory: each entry says where its address and checksum were read. A file
without a published checksum has none here either; its digest is recorded when it is first
fetched, which guards against later change and not against a wrong first copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from taxonet.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Checksum:
    """A published digest of a file.

    Args:
        kind: How it is computed.
        digits: Its hexadecimal digits, lower case.
    """

    kind: Literal["md5", "sha256"]
    digits: str


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Args:
        name: Its name, on the server and here.
        url: Its address.
        size: Its size as the source prints it, or that none is printed.
        read_in: Where address, size and checksum were read.
        checksum: Its published digest, or None.
        size_bytes: Its exact size where that is published.
        unpacked: Whether it is an archive that has to be unpacked to be used.
    """

    name: str
    url: str
    size: str
    read_in: str
    checksum: Checksum | None = None
    size_bytes: int | None = None
    unpacked: bool = False


@dataclass(frozen=True)
class RemoteSet:
    """A benchmark set as it is published.

    Args:
        name: The name that `taxonet data import` knows it by.
        terms: The terms of use, and who states them.
        files: What can be fetched.
        by_hand: What the user has to do besides, in sentences; empty where nothing is left.
    """

    name: str
    terms: str
    files: tuple[RemoteFile, ...]
    by_hand: str = ""


def remote_set(name: str) -> RemoteSet:
    """Return the entry of a set.

    Raises:
        ConfigError: There is none of that name; the message gives the nearest and all others.

    Examples:
        >>> remote_set("cifar10-lt").files[0].name
        'cifar-10-binary.tar.gz'
    """
    if name not in CATALOGUE:
        raise ConfigError(
            f"No set called {name!r} is in the catalogue.{did_you_mean(name, CATALOGUE)} "
            f"Known: {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[name]


_NOT_STATED = "size not stated in the source"
_KRIZ = "https://www.cs.toronto.edu/~kriz/"
_TFDS = (
    "tensorflow/datasets, tensorflow_datasets/url_checksums/{} (commit "
    "333639b37af6c6fedf3610a4a2d42f1c6ef6f7d5)"
)
_CIFAR_TERMS = (
    "No licence is stated. The authors ask those who use it to cite their technical report: "
    "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 "
    "(www.cs.toronto.edu/~kriz/cifar.html)."
)


def _cifar(name: str, classes: int, size_bytes: int, sha256: str) -> RemoteSet:
    archive = f"cifar-{classes}-binary.tar.gz"
    file = RemoteFile(
        archive,
        _KRIZ + archive,
        f"{size_bytes:,} bytes",
        _TFDS.format(f"cifar{classes}.txt"),
        Checksum("sha256", sha256),
        size_bytes,
    )
    return RemoteSet(name, _CIFAR_TERMS, (file,))


_INAT = "https://ml-inat-competition-datasets.s3.amazonaws.com/"
_INAT_TERMS = (
    "By downloading you agree to the organisers' terms: the iNaturalist Terms of Service "
    "(https://www.inaturalist.org/pages/terms), non-commercial research and education only, no "
    "distribution of the images, no warranty; the full text is in the README of the year in the "
    "repository visipedia/inat_comp."
)
_INAT_READ = {
    "2018": "visipedia/inat_comp, 2018/README.md (commit 1509ec0be323815c2c2f36e7f0ee41db3e71bc37)",
    "2019": "visipedia/inat_comp, 2019/README.md (commit 1509ec0be323815c2c2f36e7f0ee41db3e71bc37)",
    "2021": "visipedia/inat_comp, 2021/README.md (commit 7ce1be23fb21e2d964328093adc2bf50505b48e6)",
}


def _inat(year: str, name: str, size: str, md5: str | None) -> RemoteFile:
    return RemoteFile(
        name,
        f"{_INAT}{year}/{name}",
        size,
        _INAT_READ[year],
        None if md5 is None else Checksum("md5", md5),
        unpacked=True,
    )


_INAT_2018 = (
    _inat("2018", "train2018.json.tar.gz", "26MB", "bfa29d89d629cbf04d826a720c0a68b0"),
    _inat("2018", "val2018.json.tar.gz", "26MB", "f2ed8bfe3e9901cdefceb4e53cd3775d"),
    _inat("2018", "categories.json.tar.gz", _NOT_STATED, None),
    _inat("2018", "train_val2018.tar.gz", "120GB", "b1c6952ce38f31868cc50ea72d066cc3"),
)
_INAT_2019 = (
    _inat("2019", "train2019.json.tar.gz", "13MB", "b06a6683537867c0d5c7a45f407a306d"),
    _inat("2019", "val2019.json.tar.gz", "156KB", "5cc5509b0fe495f1c8c1362612448497"),
    _inat("2019", "categories.json.tar.gz", _NOT_STATED, None),
    _inat("2019", "train_val2019.tar.gz", "74GB", "c60a6e2962c9b8ccbd458d12c8582644"),
)
_INAT_2021_VAL = (
    _inat("2021", "val.json.tar.gz", "9.4MB", "4d761e0f6a86cc63e8f7afc91f6a8f0b"),
    _inat("2021", "val.tar.gz", "8.4GB", "f6f6e0e242e3d4c9569ba56400938afc"),
)
_INAT_2021 = (
    _inat("2021", "train.json.tar.gz", "221MB", "38a7bb733f7a09214d44293460ec0021"),
    _inat("2021", "train.tar.gz", "224GB", "e0526d53c7f7b2e3167b2b43bb2690ed"),
    *_INAT_2021_VAL,
)
_INAT_2021_MINI = (
    _inat("2021", "train_mini.json.tar.gz", "45MB", "395a35be3651d86dc3b0d365b8ea5f92"),
    _inat("2021", "train_mini.tar.gz", "42GB", "db6ed8330e634445efc8fec83ae81442"),
    *_INAT_2021_VAL,
)

_LISTS_READ = (
    "the file list of facebookresearch/classifier-balancing (commit "
    "22370c64141cc662f62ead89447c838c4a7977b5), which carries the lists of the set's authors on; "
    "their own copies are in a Google Drive folder (README of "
    "zhmiao/OpenLongTailRecognition-OLTR), which needs a browser"
)


def _list(stem: str, split: str) -> RemoteFile:
    name = f"{stem}_{split}.txt"
    address = "https://github.com/facebookresearch/classifier-balancing/raw/main/data"
    return RemoteFile(name, f"{address}/{stem}/{name}", _NOT_STATED, _LISTS_READ)


_SPLITS = ("train", "val", "test")
_IMAGENET_BY_HAND = (
    "The images of ImageNet 2012 need a registration at https://image-net.org: fetch "
    "ILSVRC2012_img_train.tar (MD5 1d675b47d978889d74fa0da5fadfb00e) and ILSVRC2012_img_val.tar "
    "(MD5 29b22e2961454d5413ddabcf34fc5622; names and digests as in "
    "torchvision/datasets/imagenet.py) from "
    "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php, and unpack them to "
    "train/<class>/*.JPEG and val/<class>/*.JPEG."
)
_PLACES_IMAGES = RemoteFile(
    "places365standard_easyformat.tar",
    "http://data.csail.mit.edu/places/places365/places365standard_easyformat.tar",
    _NOT_STATED,
    "CSAILVision/places365, README.md (commit 0725d607eabe2f37fdc6c7481fab14ffef0079d3)",
    unpacked=True,
)

#: Every set that `taxonet data fetch` knows, by name.
CATALOGUE: Mapping[str, RemoteSet] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _cifar(
                "cifar10-lt",
                10,
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
            _cifar(
                "cifar100-lt",
                100,
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
            RemoteSet(
                "imagenet-lt",
                "The images are ImageNet's, whose terms you accept when you register there. The "
                "repository with the lists has a LICENSE of its own.",
                tuple(_list("ImageNet_LT", split) for split in _SPLITS),
                _IMAGENET_BY_HAND,
            ),
            RemoteSet(
                "places-lt",
                "The copyright of the images belongs to their owners; please cite Zhou et al., "
                "Places, 2017 (README of CSAILVision/places365). The repository with the lists "
                "has a LICENSE of its own.",
                (*(_list("Places_LT", split) for split in _SPLITS), _PLACES_IMAGES),
            ),
            RemoteSet("inat2018", _INAT_TERMS, _INAT_2018),
            RemoteSet("inat2019", _INAT_TERMS, _INAT_2019),
            RemoteSet("inat2021", _INAT_TERMS, _INAT_2021),
            RemoteSet("inat2021-mini", _INAT_TERMS, _INAT_2021_MINI),
        )
    }
)
