"""Every host on its double, as the host contract opens them; tests subclass these."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from doubles.chain import shared_chain
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as ImageUploadDouble
from doubles.img402 import Img402 as Img402Double
from doubles.img402_paid import PaidImg402
from doubles.imgpro import VERIFIED
from doubles.imgpro import ImgPro as ImgProDouble
from doubles.s3 import SECRET, TOKEN, VARIABLES, Storage
from hosts.conformance_doubles import Fitted, fitted_shelf, fitted_storage, sends_to
from third_party.imghost_shelf import Shelf
from third_party.shelf_double import TOKEN as SHELF_TOKEN

from imghost.hosts import Action, Deletes, Finds, Host, Setup, Tells
from imghost.hosts.directory import Directory
from imghost.hosts.imageupload.host import ImageUpload
from imghost.hosts.img402.host import Img402
from imghost.hosts.imgpro.host import ImgPro
from imghost.hosts.s3 import S3
from imghost.models import MEDIA_TYPES, Hosted
from imghost.testing import (
    Bench,
    DeletesContract,
    FindsContract,
    HostContract,
    HttpContract,
    Reply,
    TellsContract,
    VariesContract,
    a_payload,
    expect,
)


def coded(code: str, status: int) -> Reply:
    return Reply.json({"error": code}, status)


def nested(status: int, **error: str) -> Reply:
    return Reply.json({"error": error}, status)


def of_s3(code: str, status: int) -> Reply:
    text = f"<Error><Code>{code}</Code><Message>No</Message><MaxSizeAllowed>9</MaxSizeAllowed></Error>"
    return Reply(status, text.encode(), {"Content-Type": "application/xml"})


class DirectoryOnDisk(HostContract):
    kind = Directory

    def host(self, double: Any, setup: Setup) -> Host:
        self.site = setup.site
        return Directory(Directory.Options(), setup)

    def fetch(self, bench: Bench, hosted: Hosted) -> tuple[str, bytes]:
        ending = hosted.url.rpartition(".")[2]
        media_type = next(name for name, known in MEDIA_TYPES.items() if known == ending)
        return media_type, (self.site / hosted.url).read_bytes()


class Served(HttpContract):
    """A host whose settings can also be given to a whole run."""

    def options(self, double: Any) -> Mapping[str, str]:
        return {"api_url": double.url}

    def host(self, double: Any, setup: Setup) -> Host:
        return self.kind(self.kind.Options(**self.options(double)), setup)

    def at_home(self, folder: Path) -> Mapping[str, str]:
        """Give the environment of a project in a folder, without the credential."""
        return {}

    def bench(
        self, folder: Path, *, is_ready: bool = True, timeout: float | None = None
    ) -> AbstractContextManager[Bench]:
        self.environ = self.at_home(folder)
        return super().bench(folder, is_ready=is_ready, timeout=timeout)


class Img402Free(Served):
    kind = Img402
    credential = None
    retention = timedelta(days=7)
    is_idempotent = False
    era = "brief"
    final = (*HttpContract.final, coded("file_too_large", 400), coded("unsupported_format", 400))
    passing = (*HttpContract.passing, coded("daily_limit", 429), coded("no_file", 400))

    def double(self) -> Fitted:
        double = Img402Double(self.era)
        return Fitted(double, double.server, lambda: len(double.images), sends_to("/api/free"))

    def options(self, double: Any) -> Mapping[str, str]:
        return {"api_url": double.url, "tier": "free"}


class Img402Newest(Img402Free):
    era = "newest"


class Img402Permanent(Served):
    """The money is on a chain in memory; each double comes with a wallet of its own."""

    kind = Img402
    max_cost = Decimal(30)
    haste = 2.0

    def double(self) -> Fitted:
        chain = shared_chain()
        self.credential = "0x" + bytes(chain.wallet(30).key).hex()
        double = PaidImg402(chain=chain)
        return Fitted(double, double.server, lambda: len(double.images), sends_to("/api/upload"))

    def at_home(self, folder: Path) -> Mapping[str, str]:
        return {"IMGHOST_STATE_DIR": str(folder / "state")}

    def test_what_is_refused_for_good_says_so(self, tmp_path: Path, final: Reply) -> None:
        """The image is paid by then: the same payment is sent until it buys something."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(final)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is not None and error.action is Action.FILE and not error.is_final, f"it says {error!r}")


class ImgProAnonymous(Served, VariesContract):
    kind = ImgPro
    credential: str | None = None
    retention: timedelta | None = timedelta(days=30)
    unoffered: tuple[type, ...] = (Finds, Deletes, Tells)
    generation = "upload"
    final = (*HttpContract.final, coded("file_too_large", 400), coded("unsupported_format", 400))
    passing = (*HttpContract.passing, coded("quota_exceeded", 413), coded("conflict", 409), Reply(418, b"a teapot"))

    def double(self) -> Fitted:
        double = ImgProDouble(self.generation, hourly=1_000, daily=1_000)
        return Fitted(double, double.server, lambda: len(double.copies), sends_to("/v1/upload", "/v1/images"))

    def options(self, double: Any) -> Mapping[str, str]:
        return {"api_url": f"{double.url}/v1", "namespace": "project"}


class ImgProImagesAnonymous(ImgProAnonymous):
    generation = "images"


class ImgProUpload(ImgProAnonymous, FindsContract, DeletesContract, TellsContract):
    credential = VERIFIED
    retention = None
    unoffered = ()


class ImgProImages(ImgProUpload):
    generation = "images"
    final = (
        *HttpContract.final,
        nested(422, type="validation_error", code="validation_error"),
        nested(422, type="invalid_request_error", code="media_failed"),
    )
    passing = (*HttpContract.passing, nested(409, code="idempotency_key_conflict"), Reply(418, b"a teapot"))


class ImageUploadPro(Served, FindsContract, DeletesContract, TellsContract):
    kind = ImageUpload
    credential = PRO
    is_idempotent = False
    looks_first = True
    final = (*HttpContract.final, coded("File too large", 413), coded("MIME not supported", 415))
    passing = (*HttpContract.passing, coded("Forbidden", 403), coded("Unknown folder", 400))

    def double(self) -> Fitted:
        double = ImageUploadDouble()
        return Fitted(double, double.server, lambda: len(double.copies), sends_to("/api/upload"))

    def options(self, double: Any) -> Mapping[str, str]:
        return {"api_url": double.url, "folder": "project"}


class S3Bucket(Served, FindsContract, DeletesContract):
    kind = S3
    credential = VARIABLES["AWS_ACCESS_KEY_ID"]
    haste = 1.0
    final = (*HttpContract.final, of_s3("EntityTooLarge", 400))
    passing = (*HttpContract.passing, of_s3("AccessDenied", 403))
    storage: Storage

    def double(self) -> Fitted:
        return fitted_storage(self.storage)

    def secrets(self) -> tuple[str, ...]:
        return SECRET, TOKEN

    def at_home(self, folder: Path) -> Mapping[str, str]:
        return VARIABLES

    def options(self, double: Any) -> Mapping[str, str]:
        where = {"endpoint_url": double.url, "base_url": f"{double.url}/images"}
        return {"bucket": "images", "prefix": "docs", **where}


class ShelfByOthers(Served):
    kind = Shelf
    credential = SHELF_TOKEN
    final = (*HttpContract.final, coded("too_large", 400))
    passing = (*HttpContract.passing, coded("shelf_full", 403), coded("conflict", 409))

    def double(self) -> Fitted:
        return fitted_shelf()


SERVED: tuple[type[Served], ...] = (
    Img402Free, Img402Newest, Img402Permanent, ImgProUpload, ImgProImages, ImgProAnonymous, ImgProImagesAnonymous,
    ImageUploadPro, S3Bucket, ShelfByOthers,
)  # fmt: skip
