"""The contract of hosts that are asked over HTTP: faults, redirects, secrets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from imghost.errors import Action
from imghost.testing.bench import expect
from imghost.testing.contract import HostContract
from imghost.testing.loopback import EVIL, TRAP, UNCLEAR, Fault
from imghost.testing.pictures import PRIVATE, a_payload


class HttpContract(HostContract):
    """What also holds for every host that is asked over HTTP."""

    haste: float = 0.5
    """Seconds that the double gets to answer where it will not, long enough for all that comes before."""
    patience: float = 5.0
    """Seconds over its timeout that a host may take for one upload, whatever its double does."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Let pytest run a test once for each fault that it asks for."""
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())

    def test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds(
        self, tmp_path: Path, caplog: Any, fault: Fault
    ) -> None:
        """Whatever a host does, the loop above learns what to do, and no secret is told."""
        payload = a_payload(tmp_path)
        timeout = self.haste if fault is Fault.HANGS else self.timeout
        with caplog.at_level(1), self.bench(tmp_path, timeout=timeout) as bench:
            bench.asked.fail(fault)
            begin = time.monotonic()
            error = bench.refusal(payload)
            expect(time.monotonic() - begin < timeout + self.patience, "the upload took too long")
            if fault in UNCLEAR and error is not None:
                expect(error.action is Action.RETRY, f"nobody can know what became of it, but it says {error.action}")
                expect(error.is_ambiguous, "the image may be stored, but is_ambiguous is false")
            expect(fault not in {Fault.BUSY, Fault.LATER} or error is not None, "a refusal was taken for a success")
            is_final = fault is Fault.HANGS or (error is not None and error.action in {Action.FILE, Action.STOP})
            self.check_served(bench, payload, (bench.anew() if is_final else bench.host).upload(payload))
            self.check_stored(bench, 1 if self.is_idempotent or (self.looks_first and not is_final) else 2)
            expect(not bench.holds_secret(caplog.text), "a log line holds the credential")

    def test_what_asks_to_wait_says_so(self, tmp_path: Path) -> None:
        """The loop knows how long a build may wait; a host does not decide that, and does not sleep."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.BUSY)
            error = bench.refusal(a_payload(tmp_path))
            is_later = error is not None and error.action in {Action.RETRY, Action.WAIT}
            expect(is_later, f"503 means to try again, but it gives {error and error.action}")

    def test_no_redirect_is_followed(self, tmp_path: Path) -> None:
        """A redirect would take the credential and the image to a stranger."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.REDIRECT)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is not None or bench.asked.stored == 1, "a redirect was taken for a success")
            expect(not [1 for seen in bench.asked.log if TRAP in seen.target], "the redirect was followed")

    def test_a_url_at_another_host_never_comes_back(self, tmp_path: Path) -> None:
        """A host that was broken into must not bring its visitors' images from elsewhere."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.ELSEWHERE)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is None or error.action is not Action.WAIT, "it asks to wait")
            expect(not bench.host.accepts(f"{EVIL}/a.png"), "it accepts another host's URL")

    def test_the_credential_is_in_headers_alone(self, tmp_path: Path) -> None:
        """Addresses are logged, and the host's own texts are printed."""
        with self.bench(tmp_path) as bench:
            hosted = bench.host.upload(a_payload(tmp_path))
            sent = "".join(f"{seen.target}\n" for seen in bench.asked.log)
            expect(not bench.holds_secret(sent + hosted.url + hosted.id + repr(bench.host)), "a text holds it")
            expect(not [seen for seen in bench.asked.log if bench.holds_secret(seen.body.decode("latin-1"))], "a body")

    def test_nothing_tells_the_path_of_an_image(self, tmp_path: Path) -> None:
        """Everything sent follows from the bytes and the settings, so that a renamed file is the same upload."""
        with self.bench(tmp_path) as bench:
            bench.host.upload(a_payload(tmp_path))
            for seen in bench.asked.log:
                told = f"{seen.target} {dict(seen.headers)} {seen.body.decode('latin-1')}"
                expect(PRIVATE not in told, f"{seen.method} {seen.target} tells the file's name")

    def test_the_same_payload_is_the_same_request(self, tmp_path: Path) -> None:
        """Names, labels and keys are functions of the bytes; a form's boundary is not a part of them."""
        sent = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            with self.bench(folder) as bench:
                bench.host.upload(a_payload(folder))
                sent.append([(seen.method, seen.target, len(seen.body)) for seen in bench.asked.log])
        expect(sent[0] == sent[1], f"{sent[0]} and then {sent[1]}")
