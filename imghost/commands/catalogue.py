"""The commands there are: what each runs, what it says of itself, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from imghost.cli import commands as records
from imghost.commands import hosts, site
from imghost.commands.call import Call


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of one command's own."""

    name: str
    about: str
    metavar: str = ""
    """Empty for a switch."""
    is_repeated: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    run: Callable[[Call], int]
    about: str
    example: str
    """Lines to type."""
    more: str = ""
    """What else its own help tells."""
    has_site: bool = False
    action: str = ""
    """A word that must follow the command."""
    flags: tuple[Flag, ...] = ()


COMMANDS: Final[Mapping[str, Command]] = {
    "rehost": Command(
        site.rehost,
        "upload a built site's images and point its pages at them",
        "imghost rehost site --host img.pro\nimghost rehost site --host directory --report images.html",
        has_site=True,
    ),
    "plan": Command(
        site.plan,
        "show what would be uploaded, what stays local and why",
        "imghost plan site --host img402 --max-cost 5\nimghost plan site --json",
        has_site=True,
        more="Nothing is uploaded and no page is changed; the host is asked for the quota only.",
    ),
    "check": Command(
        site.check,
        "exit with 1 if the lock does not cover the site",
        "imghost check site || echo build once with a credential",
        has_site=True,
    ),
    "verify": Command(
        records.verify,
        "fetch every record's URL; exit with 1 if one is dead or altered",
        "imghost verify\nimghost verify --site site --strict",
        flags=(Flag("site", "also check what this site's pages refer to", "SITE"),),
        more="Nothing is changed. Listed are the dead, the altered and those that expire soon.",
    ),
    "status": Command(
        records.status,
        "show the records, when they expire, and the host's own numbers",
        "imghost status\nimghost status --renew-before 60d",
    ),
    "adopt": Command(
        records.adopt,
        "find images that the host has already, after lost records",
        "imghost adopt site --host img.pro",
        has_site=True,
    ),
    "prune": Command(
        records.prune,
        "list, and with --yes delete, hosted images that no site uses",
        "imghost prune --keep site --keep old-site\nimghost prune --keep site --grace 30d --yes",
        flags=(
            Flag("keep", "a site whose images stay; name every version", "SITE", is_repeated=True, is_required=True),
            Flag("grace", "leave images younger than this (default: 7d)", "DURATION"),
            Flag("yes", "delete"),
        ),
        more="Only images of this project's namespace, folder or prefix are looked at.",
    ),
    "migrate": Command(
        records.migrate,
        "move a site's images to another host",
        "imghost migrate site --to s3 --option bucket=docs-images",
        has_site=True,
        flags=(Flag("to", "the host to move to", "HOST", is_required=True),),
        more="The old records stay until they are pruned.",
    ),
    "restore": Command(records.restore, "put a site's local references back", "imghost restore site", has_site=True),
    "hosts": Command(
        hosts.hosts,
        "list the hosts: formats, sizes, retention, price, credential",
        "imghost hosts\nimghost hosts --json",
    ),
    "wallet": Command(
        hosts.wallet,
        "show the img402 wallet's address and balance",
        "imghost wallet --rpc-url https://mainnet.base.org",
        flags=(
            Flag("rpc-url", "a node of the Base network to ask for the balance", "URL"),
            Flag(
                "pay-again", "let a lost payment's image be paid once more: the digest that its warning names", "SHA256"
            ),
        ),
    ),
    "keys": Command(
        hosts.keys,
        "make an img.pro key",
        "imghost keys create --email you@example.org",
        action="create",
        flags=(Flag("email", "where the verification goes", "ADDRESS", is_required=True),),
        more="The key is printed once, on the standard output.",
    ),
}
