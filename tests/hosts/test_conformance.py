"""Every host, ours and one by others, keeps one contract."""

from __future__ import annotations

import pytest
from doubles.s3 import Storage
from hosts import conformance_hosts as made

from imghost.hosts.registry import installed


class TestDirectory(made.DirectoryOnDisk):
    """The folder in the site."""


class TestImg402Free(made.Img402Free):
    """The free tier, as it was first documented."""


class TestImg402Newest(made.Img402Newest):
    """The free tier, as it is documented now."""


class TestImg402Permanent(made.Img402Permanent):
    """The tier that is paid."""


class TestImgProUpload(made.ImgProUpload):
    """The older generation, with a key."""


class TestImgProImages(made.ImgProImages):
    """The newer generation, with a key."""


class TestImgProAnonymous(made.ImgProAnonymous):
    """The older generation, without a key."""


class TestImgProImagesAnonymous(made.ImgProImagesAnonymous):
    """The newer generation, without a key."""


class TestImageUploadPro(made.ImageUploadPro):
    """A paid plan."""


class TestS3Bucket(made.S3Bucket):
    """A bucket at a real server that speaks S3."""

    @pytest.fixture(autouse=True)
    def _opened(self, storage: Storage) -> None:
        self.storage = storage


class TestShelfByOthers(made.ShelfByOthers):
    """A host of another package, on this package's own fault server."""


def test_every_host_is_among_them() -> None:
    tried = {kind for kind in globals().values() if isinstance(kind, type) and kind.__name__.startswith("Test")}
    assert {kind.__name__ for kind in tried} == {f"Test{kind.__name__}" for kind in made.SERVED} | {"TestDirectory"}
    assert {kind.kind.name for kind in tried} == set(installed()) | {"shelf"}
