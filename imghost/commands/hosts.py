"""The commands about hosts: which there are, and what each takes."""

from __future__ import annotations

from imghost.commands.call import Call, print_json, say
from imghost.cli.terminal import Row, print_table
from imghost.errors import HostError, SettingsError, StateError
from imghost.hosts import registry
from imghost.models import MEDIA_TYPES
from imghost.net.client import Client
from imghost.settings import PERMANENT
from imghost.wording import size


def hosts(call: Call) -> int:
    """List the installed hosts."""
    rows = [_host_row(name, call) for name in registry.installed()]
    if call.is_json:
        print_json({"imghost_hosts": 1, "hosts": rows})
        return 0
    shown = (
        Row((row["host"], row["max_bytes"], row["retention"], row["price"], row["credential"]), row["formats"])
        for row in rows
    )
    print_table(("host", "max size", "retention", "price", "credential"), shown, note_below=1)
    return 0


def _host_row(name: str, call: Call) -> dict[str, str]:
    kind = registry.host_type(name)
    limits = registry.limits_of(name, call.environ)
    present = [variable for variable in kind.credentials if call.environ.get(variable)]
    credential = "not needed" if not kind.credentials else "present" if present else f"{kind.credentials[0]} is not set"
    if limits is None:
        return dict.fromkeys(("formats", "max_bytes", "retention", "price"), "?") | {
            "host": name,
            "credential": credential,
        }
    return {
        "host": name,
        "formats": " ".join(ending for kind_, ending in MEDIA_TYPES.items() if kind_ in limits.formats),
        "max_bytes": size(limits.max_bytes) if limits.max_bytes else "any",
        "retention": f"{limits.retention.days} days" if limits.retention else PERMANENT,
        "price": f"${limits.price}" if limits.price else "free",
        "credential": credential,
    }


def wallet(call: Call) -> int:
    """Show the wallet that pays for img402, and with a node's URL its balance."""
    from imghost.hosts.img402.wallet import usdc_balance, wallet_address

    address = wallet_address(call.environ)
    if address is None:
        raise SettingsError("no wallet is in the environment; set IMG402_PRIVATE_KEY or IMG402_PRIVATE_KEY_FILE")
    if digest := call.given.get("pay-again"):
        return _pay_again(call, str(digest))
    balance = None
    if url := call.given.get("rpc-url"):
        with Client(call.settings.timeout, environ=call.environ) as client:
            try:
                balance = usdc_balance(client, str(url), address)
            except HostError as refusal:
                raise SettingsError(f"the balance is not known: {refusal}") from None
    if call.is_json:
        print_json({"imghost_wallet": 1, "address": address, "usdc": None if balance is None else str(balance)})
    else:
        print(address if balance is None else f"{address}  {balance} USDC")
    return 0


def _pay_again(call: Call, digest: str) -> int:
    """Let an image whose payment was lost be paid once more: only the user may decide that."""
    from imghost.hosts.img402.journal import journal_of

    try:
        count = journal_of(call.environ, call.settings.folder, call.settings.cache_dir).allow_again(digest)
    except StateError as problem:
        raise SettingsError(str(problem)) from None
    if not count:
        raise SettingsError(f"no lost payment is known for {digest:.80}; `imghost status` tells what is unresolved")
    print(f"the next build may pay once more for {digest}")
    return 0


def keys(call: Call) -> int:
    """Make an img.pro key and print it, once."""
    from imghost.hosts.imgpro.api import create_key
    from imghost.hosts.imgpro.options import ImgProOptions

    url = str(call.settings.options.get("api_url") or ImgProOptions().api_url)
    with Client(call.settings.timeout, environ=call.environ) as client:
        try:
            made = create_key(client, url, str(call.given["email"]))
        except HostError as refusal:
            raise SettingsError(f"no key was made: {refusal}") from None
    if call.is_json:
        print_json({"imghost_key": 1, "key": made.key.reveal(), "id": made.id, "verified": made.is_verified})
    else:
        print(made.key.reveal())
        say("put it into the environment as IMGPRO_API_KEY; it is not shown again")
        if not made.is_verified:
            say("verify the address first: until then its images live for 30 days")
    return 0
