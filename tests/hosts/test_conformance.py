"""Every host, ours and one by others, keeps one contract."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as ImageUploadDouble
from doubles.img402 import Img402 as Img402Double
from doubles.img402_paid import PaidImg402
from doubles.imgpro import VERIFIED
from doubles.imgpro import ImgPro as ImgProDouble
from doubles.s3 import SECRET, TOKEN, VARIABLES, Storage
from hosts.conformance_doubles import Fitted, fitted_storage, sends_to

from imghost.hosts import Deletes, Finds, Tells
from imghost.hosts.directory import Directory, DirectoryOptions
from imghost.hosts.imageupload import ImageUpload, ImageUploadOptions
from imghost.hosts.img402 import Img402, Img402Options
from imghost.hosts.imgpro import ImgPro, ImgProOptions
from imghost.hosts.s3 import S3, S3Options
from imghost.models import MEDIA_TYPES
from imghost.testing import DeletesContract, FindsContract, HostContract, HttpContract, TellsContract


class TestDirectory(HostContract):
    kind = Directory

    def host(self, double, setup):
        self.site = setup.site
        return Directory(DirectoryOptions(), setup)

    def fetch(self, bench, hosted):
        ending = hosted.url.rpartition(".")[2]
        media_type = next(name for name, known in MEDIA_TYPES.items() if known == ending)
        return media_type, (self.site / hosted.url).read_bytes()


class TestImg402Free(HttpContract):
    kind = Img402
    credential = None
    retention = timedelta(days=7)
    is_idempotent = False
    era = "brief"

    def double(self):
        double = Img402Double(self.era)
        return Fitted(double, double.server, lambda: len(double.images), sends_to("/api/free"))

    def host(self, double, setup):
        return Img402(Img402Options(api_url=double.url, tier="free"), setup)


class TestImg402Newest(TestImg402Free):
    era = "newest"


class TestImg402Paid(HttpContract):
    """The money is on a chain in memory; each host has a wallet of its own."""

    kind = Img402
    max_cost = Decimal(20)
    tier = "permanent"
    timeout = 1.5

    def double(self):
        chain = shared_chain()
        self.credential = "0x" + bytes(chain.wallet(20).key).hex()
        double = PaidImg402(chain=chain)
        return Fitted(double, double.server, lambda: len(double.images), sends_to("/api/upload"))

    @pytest.fixture(autouse=True)
    def state(self, tmp_path: Path) -> None:
        self.environ = {"IMGHOST_STATE_DIR": str(tmp_path / "state")}

    def bench(self, folder, **more):
        self.environ = {"IMGHOST_STATE_DIR": str(folder / "state")}
        return super().bench(folder, **more)

    def host(self, double, setup):
        return Img402(Img402Options(api_url=double.url, tier=self.tier), setup)


class TestImgProUpload(HttpContract, FindsContract, DeletesContract, TellsContract):
    kind = ImgPro
    credential = VERIFIED
    generation = "upload"

    def double(self):
        double = ImgProDouble(self.generation)
        return Fitted(double, double.server, lambda: len(double.copies), sends_to("/v1/upload", "/v1/images"))

    def host(self, double, setup):
        return ImgPro(ImgProOptions(api_url=f"{double.url}/v1", namespace="project"), setup)


class TestImgProImages(TestImgProUpload):
    generation = "images"


class TestImgProUploadAnonymous(HttpContract):
    kind = ImgPro
    credential = None
    retention = timedelta(days=30)
    unoffered = (Finds, Deletes, Tells)
    generation = "upload"
    double = TestImgProUpload.double

    def host(self, double, setup):
        return ImgPro(ImgProOptions(api_url=f"{double.url}/v1"), setup)


class TestImgProImagesAnonymous(TestImgProUploadAnonymous):
    generation = "images"


class TestImageUpload(HttpContract, FindsContract, DeletesContract, TellsContract):
    kind = ImageUpload
    credential = PRO
    is_idempotent = False
    looks_first = True

    def double(self):
        double = ImageUploadDouble()
        return Fitted(double, double.server, lambda: len(double.copies), sends_to("/api/upload"))

    def host(self, double, setup):
        return ImageUpload(ImageUploadOptions(api_url=double.url, folder="project"), setup)


class TestS3(HttpContract, FindsContract, DeletesContract):
    kind = S3
    credential = VARIABLES["AWS_ACCESS_KEY_ID"]
    timeout = 2.0

    @pytest.fixture(autouse=True)
    def _storage(self, storage: Storage) -> None:
        self.storage = storage

    def double(self):
        return fitted_storage(self.storage)

    def secrets(self):
        return SECRET, TOKEN

    def host(self, double, setup):
        where = {"endpoint_url": double.url, "base_url": f"{double.url}/images"}
        return S3(S3Options(bucket="images", prefix="docs", **where), setup)
