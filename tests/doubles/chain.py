"""A real chain in memory: py-evm, with an EIP-3009 token where USDC is on Base, and the official facilitator.

The token is compiled from Vyper. Anyone may mint it; that is all it has beside what USDC has.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
import warnings
from functools import cache
from typing import Any

from canaries import private_key

from doubles.server import Reply, Request, Server

_DEPTH = sys.getrecursionlimit()
with warnings.catch_warnings():
    # These packages still use what newer Pythons and each other call deprecated.
    warnings.simplefilter("ignore")
    import eth
    import vyper
    from eth._utils import headers
    from eth_account import Account
    from eth_tester import EthereumTester, PyEVMBackend
    from eth_utils import to_canonical_address
    from web3 import EthereumTesterProvider, Web3
    from web3.providers.eth_tester.defaults import API_ENDPOINTS
    from x402 import x402FacilitatorSync
    from x402.mechanisms.evm import FacilitatorWeb3Signer
    from x402.mechanisms.evm.exact import register_exact_evm_facilitator

# py-evm allows itself a depth at which deeply nested JSON ends the process in place of raising an error.
assert eth
sys.setrecursionlimit(_DEPTH)

CHAIN = 8453
_HEAD_START = 30_000
"""Blocks that a chain can make before it is at the machine's time."""
USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
FACILITATOR = f"0x{1:064x}"
"""The key of the tester's first account, which has ether for gas."""

SOURCE = """
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event AuthorizationUsed:
    authorizer: indexed(address)
    nonce: indexed(bytes32)

name: public(constant(String[8])) = "USD Coin"
version: public(constant(String[1])) = "2"
decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
authorizationState: public(HashMap[address, HashMap[bytes32, bool]])

DOMAIN: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
TRANSFER: constant(bytes32) = keccak256("@TRANSFER@")

@view
@internal
def _separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN, keccak256("USD Coin"), keccak256("2"), chain.id, self))

@view
@external
def DOMAIN_SEPARATOR() -> bytes32:
    return self._separator()

@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount

@external
def transferWithAuthorization(
    payer: address, receiver: address, amount: uint256, after: uint256, before: uint256,
    nonce: bytes32, v: uint8, r: bytes32, s: bytes32,
):
    assert block.timestamp > after, "FiatTokenV2: authorization is not yet valid"
    assert block.timestamp < before, "FiatTokenV2: authorization is expired"
    assert not self.authorizationState[payer][nonce], "FiatTokenV2: authorization is used or canceled"
    digest: bytes32 = keccak256(concat(
        b"\\x19\\x01",
        self._separator(),
        keccak256(abi_encode(TRANSFER, payer, receiver, amount, after, before, nonce)),
    ))
    assert payer != empty(address) and ecrecover(digest, v, r, s) == payer, "FiatTokenV2: invalid signature"
    assert self.balanceOf[payer] >= amount, "ERC20: transfer amount exceeds balance"
    self.authorizationState[payer][nonce] = True
    self.balanceOf[payer] -= amount
    self.balanceOf[receiver] += amount
    log AuthorizationUsed(authorizer=payer, nonce=nonce)
    log Transfer(sender=payer, receiver=receiver, value=amount)
"""


TRANSFER = (
    "TransferWithAuthorization(address from,address to,uint256 value,"
    "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)


class Chain:
    """The chain, its token and its official facilitator; one transaction at a time."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        source = SOURCE.replace("@TRANSFER@", TRANSFER)
        compiled = vyper.compile_code(source, output_formats=["abi", "bytecode_runtime"])
        state = PyEVMBackend.generate_genesis_state()
        token = {"balance": 0, "nonce": 1, "code": bytes.fromhex(compiled["bytecode_runtime"][2:]), "storage": {}}
        # A block is a second later than the last one. Tests make several in a second; beginning long ago, the chain
        # never comes to a time at which what is signed now has expired. Its facilitator judges by the machine's clock.
        headers.eth_now = lambda: 0
        began = PyEVMBackend.generate_genesis_params({"timestamp": int(time.time()) - _HEAD_START})
        backend = PyEVMBackend(genesis_parameters=began, genesis_state={**state, to_canonical_address(USDC): token})
        type(backend.chain).chain_id = CHAIN
        endpoints = copy.copy(API_ENDPOINTS)
        endpoints["eth"] = {**endpoints["eth"], "chainId": lambda *_: CHAIN}
        self._provider = EthereumTesterProvider(EthereumTester(backend), api_endpoints=endpoints)
        self.web3 = Web3(self._provider)
        self.token = self.web3.eth.contract(address=USDC, abi=compiled["abi"])
        self.facilitator = self._facilitator()

    def _facilitator(self) -> Any:
        signer = FacilitatorWeb3Signer(FACILITATOR, "http://127.0.0.1:9")
        signer._w3 = self.web3
        return register_exact_evm_facilitator(x402FacilitatorSync(), signer, [f"eip155:{CHAIN}"])

    def wallet(self, dollars: float = 100.0) -> Any:
        """Make an account with so much USDC, and no ether at all."""
        account = Account.from_key(private_key())
        with self.guard:
            self.token.functions.mint(account.address, round(dollars * 1_000_000)).transact(
                {"from": Account.from_key(FACILITATOR).address}
            )
        return account

    def balance(self, address: str) -> int:
        """Tell an address's USDC, in atomic units."""
        with self.guard:
            return int(self.token.functions.balanceOf(address).call())

    def ether(self, address: str) -> int:
        with self.guard:
            return int(self.web3.eth.get_balance(address))

    def has_used(self, address: str, nonce: str) -> bool:
        """Say whether a payment with this number has moved money."""
        with self.guard:
            return bool(self.token.functions.authorizationState(address, bytes.fromhex(nonce[2:])).call())

    def node(self) -> Server:
        """Make a node that answers JSON-RPC over HTTP; a context manager."""
        return Server(self._answer_rpc)

    def _answer_rpc(self, request: Request) -> Reply:
        """Answer JSON-RPC's `eth_call`, as a node does."""
        asked = request.json()
        call, block = asked["params"]
        with self.guard:
            result = self.web3.eth.call(call, block)
        return Reply.json({"jsonrpc": "2.0", "id": asked["id"], "result": "0x" + bytes(result).hex()})


@cache
def shared_chain() -> Chain:
    """Give the one chain of a test run: each test has wallets of its own there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Chain()
