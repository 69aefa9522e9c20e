"""What the services' own pages claim, as read in November 2026, and what imghost makes of each claim.

Where a claim is used, the last cell is a text that the host's code has: a test looks for it there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

USED: Final = "used"
REFUSED: Final = "refused"
UNNEEDED: Final = "not needed"


class Claim(NamedTuple):
    """One claim, what becomes of it, and where in the code, or why."""

    host: str
    kind: str
    text: str
    verdict: str
    reason: str


def _claims(host: str, *rows: tuple[str, str, str, str]) -> tuple[Claim, ...]:
    return tuple(Claim(host, *row) for row in rows)


CLAIMS: Final = (
    *_claims(
        "img.pro",
        ("endpoint", "`POST /v1/upload`, `POST /v1/images`", USED, '"/upload"'),
        ("endpoint", "`POST /v1/import`, or `POST /v1/images` with a URL", USED, '"/import"'),
        ("endpoint", "`GET /v1/usage`, flat or with `limits`", USED, '"/usage"'),
        ("endpoint", "`GET /v1/media`, `GET /v1/images`, with cursors", USED, "next_cursor"),
        ("endpoint", "`GET /v1/media/:id`", USED, "/media/{name}"),
        ("endpoint", "`GET /v1/images?ids=`", USED, "/images?{urlencode"),
        ("endpoint", "`DELETE /v1/media/batch`, `DELETE /v1/images/batch`", USED, "/images/batch"),
        ("endpoint", "`POST /v1/keys` with `email` and `name`", USED, "/keys"),
        ("endpoint", "`DELETE /v1/media/:id`", UNNEEDED, "the batch deletes one, too"),
        ("endpoint", "`PATCH /v1/media/:id` and `/batch`", UNNEEDED, "what is sent follows from bytes and settings"),
        ("endpoint", "`GET /v1/namespaces`", UNNEEDED, "only this project's namespace is anybody's business here"),
        ("endpoint", "`POST /v1/images` with `{}` to probe a key", UNNEEDED, "the usage and the first answer tell"),
        ("endpoint", "`DELETE` of a whole namespace", REFUSED, "images are deleted by id alone, so that no slip takes all"),
        ("field", "`src`, or `url` beside `page_url`, is the image", USED, '"page_url"'),
        ("field", "`link` alone is a page", REFUSED, "a page about an image in `<img src>` shows nothing"),
        ("field", "`external_id`, and 409 `duplicate` with the media", USED, "external_id"),
        ("field", "`Idempotency-Key`, for 24 hours", USED, "Idempotency-Key"),
        ("field", "`labels`, and lists by them", USED, "label[imghost]"),
        ("field", "`namespace`, `tags`, `public`, `ttl`, `date`, `metadata`", USED, '"ttl"'),
        ("field", "`caption`", UNNEEDED, "what a page says of an image is on the page"),
        ("field", "`expires_at`, seconds or ISO 8601", USED, '"expires_at"'),
        ("field", "`created_at`, `published_at`", USED, '"published_at"'),
        ("field", "`status: processing`, sizes still null", USED, '"status"'),
        ("field", "`upgrade`, `action` with `url`", USED, '"upgrade"'),
        ("field", "list filters by `tags` and `tag_mode`", USED, "tag_mode"),
        ("header", "`X-Monthly-Uploads-*`, `X-Storage-*`, `X-RateLimit-*`", USED, "x-monthly-uploads"),
        ("header", "`Retry-After`, `action.seconds`, `action.retry_after`", USED, '"retry_after"'),
        ("header", "`X-Img-User` of an App's user, with a key `img_sk_live_…`", USED, "X-Img-User"),
        ("error", "codes by their generation, statuses only where there is none", USED, "quota_exceeded"),
        ("error", "`idempotency_key_conflict`: another key", USED, "idempotency_recovery_conflict"),
        ("error", "`idempotency_key_in_progress`: wait", USED, "idempotency_key_in_progress"),
        ("error", "504 `fetch_failed`: later", USED, "fetch_failed"),
        ("limit", "20 uploads an hour without a key", USED, "HOURLY"),
        ("limit", "images without a verified key live 30 days", USED, "ANONYMOUS"),
        ("limit", "`ttl` of an hour at least", USED, "_LEAST"),
        ("limit", "20,000,000 bytes", USED, "20_000_000"),
        ("limit", "70 MB with a key, in older pages", USED, "70_000_000"),
        ("limit", "SVG up to 10 MB", USED, "MAX_SVG"),
        ("limit", "BMP, ICO, TIFF", REFUSED, "the service's own client takes none of them; a line says what each is and what to do"),
        ("limit", "HEIC", REFUSED, "few browsers show it, so that the page would be broken where the host's copy is not asked for"),
        ("serving", "`?size=s|m|l`", USED, "EDGES"),
        ("serving", "`?format=`, or by the ending", USED, '"format"'),
        ("serving", "cropping, colours, blur, rotation", UNNEEDED, "a page shows the image that its author made"),
        ("serving", "animated PNG becomes a still", USED, "keeps_animated_png=False"),
        ("serving", "bytes are encoded anew", USED, "other_size"),
    ),
    *_claims(
        "imageupload.io",
        ("endpoint", "`POST /api/upload`", USED, "/api/upload"),
        ("endpoint", "`POST /mcp`: `tools/call`", USED, '"tools/call"'),
        ("endpoint", "`POST /mcp`: `initialize`, sessions", USED, '"initialize"'),
        ("endpoint", "`POST /mcp`: `tools/list`; `GET /mcp`", UNNEEDED, "the seven tools are documented"),
        ("endpoint", "`get_quota`", USED, "get_quota"),
        ("endpoint", "`list_images` by `folder`, `limit`, `offset`", USED, "list_images"),
        ("endpoint", "`get_image`, `delete_image`", USED, "delete_image"),
        ("endpoint", "`list_folders`, `create_folder`", USED, "create_folder"),
        ("endpoint", "`upload_image`", UNNEEDED, "REST sends the same without base64, which is a third more"),
        ("field", "`expiration`, one day where it is left out", USED, '"expiration"'),
        ("field", "`expiration: burn` and `views`, `view_limit`", REFUSED, "the first readers would use the image up"),
        ("field", "`password`", REFUSED, "readers of the site have none"),
        ("field", "`folder`", USED, '"folder"'),
        ("field", "`direct_url` is the image, `share_url` a page", USED, "direct_url"),
        ("field", "`expires_at`, null for ever", USED, '"expires_at"'),
        ("field", "`quota`, `upgrade_url` without an origin", USED, "upgrade_url"),
        ("field", "`embed`", UNNEEDED, "the page has its own markup"),
        ("header", "`X-Quota-Used`, `-Limit`, `-Remaining`", USED, "x-quota-"),
        ("error", "REST: a status and free text", USED, "RefusedUploadError"),
        ("error", "429 with `quota`: the month is used up", USED, "_quota_in"),
        ("error", "403 for storage, plan or moderation alike", USED, "is_unexplained"),
        ("error", "-32004 for what is gone and for storage that is down", USED, "NOT_FOUND"),
        ("error", "-32029: the month is used up", USED, "-32029"),
        ("limit", "60 uploads and 120 tool calls a minute", USED, "Pace(60"),
        ("limit", "25 MB, 50 or 100 on larger plans", USED, "100_000_000"),
        ("limit", "storage of 500 MB to 500 GB by plan", USED, "500_000_000_000"),
        ("field", "`mime`, `folder` of an upload's answer", USED, '"mime"'),
        ("field", "`size` of an upload's answer", USED, '"size"'),
        ("limit", "a free plan keeps images a month at most", USED, "_check_life"),
        ("limit", "PNG, JPEG, WebP, GIF, AVIF; no SVG", USED, "image/avif"),
        ("limit", "names of folders have 1 to 40 letters", USED, "<= 40"),
    ),
    *_claims(
        "img402",
        ("endpoint", "`POST /api/free`, part `image`", USED, "/api/free"),
        ("endpoint", "`POST /api/upload/token`, `/permanent`", USED, "/api/upload/token"),
        ("endpoint", "`POST /api/upload` with `X-Upload-Token`", USED, "X-Upload-Token"),
        ("endpoint", "`POST /api/upload`, paid directly", REFUSED, "a token is bought first, so that a lost upload costs nothing twice"),
        ("field", "JSON with base64", UNNEEDED, "a multipart form sends the same, smaller"),
        ("field", "`expiresAt`, null for ever", USED, "expiresAt"),
        ("field", "`img402`, of unknown shape", UNNEEDED, "unknown fields are ignored"),
        ("error", "`daily_limit`", USED, "daily_limit"),
        ("error", "`no_file`, `empty_file`, `file_too_large`, `unsupported_format`, `upload_failed`", USED, "empty_file"),
        ("error", "402 with a challenge, in both versions of x402", USED, "x402Version"),
        ("limit", "PNG, JPEG, GIF, WebP", USED, "image/webp"),
        ("limit", "no deletion but by e-mail", UNNEEDED, "nothing is promised that the service cannot do"),
        ("network", "USDC on Base", USED, "8453"),
        ("network", "USDC on Solana", REFUSED, "one kind of key and one chain are held against every rule"),
    ),
    *_claims(
        "s3",
        ("endpoint", "PutObject with `If-None-Match`", USED, "IfNoneMatch"),
        ("endpoint", "HeadObject with its checksum", USED, "ChecksumMode"),
        ("endpoint", "ListObjectsV2", USED, "list_objects_v2"),
        ("endpoint", "DeleteObjects, or DeleteObject one by one", USED, "delete_objects"),
        ("endpoint", "multipart uploads", UNNEEDED, "an image is one request"),
        ("endpoint", "presigned addresses, ACLs, bucket policies", REFUSED, "who may read a bucket its owner decides"),
        ("header", "`x-amz-checksum-sha256`", USED, "ChecksumSHA256"),
        ("header", "`Content-MD5` of a deletion", USED, "Content-MD5"),
        ("header", "`Cache-Control: immutable`", USED, "immutable"),
        ("error", "`InvalidArgument`, `NotImplemented`, `MissingContentMD5`: a part is not known", USED, "MissingContentMD5"),
        ("error", "`SlowDown`", USED, "SlowDown"),
        ("error", "403 for what is not there, without the right to list", USED, "_is_there"),
        ("error", "301 and `AuthorizationHeaderMalformed`: another region", USED, "AuthorizationHeaderMalformed"),
        ("credential", "variables, profiles, SSO, web identity, containers", USED, "sso_session"),
    ),
)  # fmt: skip


def rows() -> list[tuple[str, ...]]:
    """Give the table's rows: where in the code a claim is used stands in the test alone."""
    return [
        (f"`{claim.host}`", claim.kind, claim.text, claim.verdict, "" if claim.verdict == USED else claim.reason)
        for claim in CLAIMS
    ]
