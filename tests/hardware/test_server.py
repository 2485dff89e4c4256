"""The agent's side of HTTP against callers who do not behave; nothing is measured here."""

import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from archsmith.errors import InvalidOption, UnknownName
from archsmith.hardware.agents import connections as _connections
from archsmith.hardware.agents import server as _server
from archsmith.hardware.agents.client import InvalidResponse, exchange
from archsmith.hardware.agents.connections import Connections
from archsmith.hardware.agents.credentials import Address, Credential
from archsmith.hardware.agents.server import Server
from archsmith.hardware.agents.tls import own_certificate, serving

TOKEN = "correct-horse-battery"
HEAD = f"Authorization: Bearer {TOKEN}\r\n"


class Echo:
    """Stands where an agent would."""

    token = TOKEN

    def verb(self, path):
        if path not in ("/device", "/run"):
            raise UnknownName(f"the agent knows no {path}")
        return "GET" if path == "/device" else "POST"

    def most_of(self, path):
        return 1 << 20

    def response(self, path, body):
        if body == b"bug":
            raise OSError("the disk is gone")
        return {"path": path, "length": len(body)}, b""


@contextmanager
def serving_at(tls=None):
    with Server(("127.0.0.1", 0), Echo(), tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server():
    with serving_at() as running:
        yield running


def asked(server, text, *, then=b""):
    """Everything that comes back over one connection, until its end."""
    with socket.create_connection(server.server_address, timeout=5) as caller:
        caller.sendall(text.encode("latin-1") if isinstance(text, str) else text)
        found = b""
        if then:
            found = caller.recv(1 << 16)
            caller.sendall(then)
        while piece := caller.recv(1 << 16):
            found += piece
    return found


def status(answer):
    return int(answer.split()[1])


def request(verb="POST", path="/run", head=HEAD, length="Content-Length: 2\r\n", body="{}"):
    return f"{verb} {path} HTTP/1.1\r\nConnection: close\r\n{head}{length}\r\n{body}"


REFUSED = {
    "no scheme": (request(head=f"Authorization: {TOKEN}\r\n"), 401),
    "another scheme": (request(head=f"Authorization: Basic {TOKEN}\r\n"), 401),
    "two words": (request(head=f"Authorization: Bearer {TOKEN} {TOKEN}\r\n"), 401),
    "a scheme only": (request(head="Authorization: Bearer\r\n"), 401),
    "twice": (request(head=HEAD + "Authorization: Bearer wrong\r\n"), 401),
    "another header": (request(head=f"X-Authorization: Bearer {TOKEN}\r\n"), 401),
    "the token in the path": (request(path=f"/run?token={TOKEN}", head=""), 401),
    "HEAD without a token": (request("HEAD", "/device", "", ""), 401),
    "a path of nobody's": (request("PUT", "/secrets", "", ""), 401),
    "no length": (request(length=""), 411),
    "chunks": (request(length="Transfer-Encoding: chunked\r\n"), 411),
    "chunks and a length": (request(length="Content-Length: 2\r\ntransfer-encoding: gzip, Chunked\r\n"), 411),
    "a superscript": (request(length="Content-Length: ²\r\n"), 400),
    "a sign": (request(length="Content-Length: +2\r\n"), 400),
    "below zero": (request(length="Content-Length: -1\r\n"), 400),
    "an underscore": (request(length="Content-Length: 0_2\r\n"), 400),
    "hexadecimal": (request(length="Content-Length: 0x2\r\n"), 400),
    "empty": (request(length="Content-Length:\r\n"), 400),
    "two numbers": (request(length="Content-Length: 2, 2\r\n"), 400),
    "two lengths": (request(length="Content-Length: 2\r\nContent-Length: 3\r\n"), 400),
    "too much": (request(length=f"Content-Length: {(1 << 20) + 1}\r\n"), 413),
    "far too much": (request(length=f"Content-Length: {'9' * 5000}\r\n"), 413),
    "HEAD": (request("HEAD", "/device", length=""), 405),
    "PUT": (request("PUT"), 405),
    "POST where one GETs": (request("POST", "/device"), 405),
    "an unknown path": (request(path="/secrets"), 410),
    "an unknown verb": (request("BREW"), 405),
    "no version": (f"GET /device\r\n{HEAD}\r\n", 400),
    "a new version": (f"GET /device HTTP/2.0\r\n{HEAD}\r\n", 400),
    "one word": ("GARBAGE\r\n\r\n", 400),
    "an empty line": (f"\r\n{request()}", 400),
    "no field": (request(head=f"{HEAD}what\r\n"), 400),
    "a folded field": (request(head=f"Authorization: Bearer\r\n {TOKEN}\r\n"), 400),
    "a space before the colon": (request(length="Content-Length : 2\r\n"), 400),
    "a NUL": (request(head=f"{HEAD}X: \0\r\n"), 400),
    "a carriage return": (request(head=f"{HEAD}X: a\rContent-Length: 2\r\n"), 400),
    "a long line": (f"GET /{'a' * _server.LONGEST_HEAD} HTTP/1.1\r\n\r\n", 431),
    "many fields": ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 4000 + "\r\n", 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
    "a bug": (request(length="Content-Length: 3\r\n", body="bug"), 500),
}


@pytest.mark.parametrize("case", REFUSED)
def test_whatever_is_wrong_is_answered_and_nothing_is_told(server, case):
    text, expected = REFUSED[case]
    answer = asked(server, text)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == expected
    assert f"Content-Length: {len(body)}".encode() in head or "HEAD" in case
    assert body == b"" if "HEAD" in case else json.loads(body)["message"]
    assert b"Python" not in answer
    assert b"Server:" not in head
    assert (b"WWW-Authenticate: Bearer" in head) == (expected == 401)


def test_good_requests_are_answered_over_one_connection(server):
    many = request(body="{}").replace("Connection: close\r\n", "") * 3 + request("GET", "/device", length="")
    answer = asked(server, many)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b'{"path": "/run", "length": 2}') == 3
    lower = asked(server, request(head=f"authorization: bearer  {TOKEN}\r\n"))
    assert status(lower) == 200
    expecting = asked(server, request(length="Content-Length: 2\r\nExpect: 100-continue\r\n", body=""), then=b"{}")
    assert expecting.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


def test_who_sends_a_lot_before_it_is_refused_reads_why(server):
    body = bytes(1 << 22)
    for token, expected in ((TOKEN, 413), ("guess-guess", 401)):
        found = exchange(at(server), Credential(token), "POST", "/run", body, work_s=5, most=1000)
        assert found.status == expected


def test_half_a_body_is_told_and_ends(server):
    with socket.create_connection(server.server_address, timeout=5) as caller:
        caller.sendall(request(length="Content-Length: 10\r\n").encode())
        caller.shutdown(socket.SHUT_WR)
        assert status(caller.recv(1000)) == 400


def at(server):
    return Address(*server.server_address[:2])


def owner_is_answered(server):
    start = time.monotonic()
    found = exchange(at(server), Credential(TOKEN), "POST", "/run", b"{}", work_s=5, most=1000)
    assert found.status == 200
    return time.monotonic() - start


@pytest.mark.parametrize("keeps", ["dripping", "idle after an answer"])
def test_two_hundred_who_never_come_to_the_point_do_not_shut_the_owner_out(keeps, monkeypatch):
    monkeypatch.setattr(_connections, "HEAD_S", 0.7)
    before = threading.active_count()
    with serving_at() as server, ExitStack() as stack:
        callers = []
        for _ in range(200):
            caller = stack.enter_context(socket.create_connection(server.server_address, timeout=5))
            caller.sendall(b"POST /run HT" if keeps == "dripping" else request().replace("close", "keep").encode())
            callers.append(caller)
        assert owner_is_answered(server) < 2
        assert threading.active_count() - before <= _connections.MAX_HALF_OPEN_OF_ADDRESS + 5
        deadline = time.monotonic() + 5
        while len(server.connections) and time.monotonic() < deadline:
            for caller in callers if keeps == "dripping" else ():
                with suppress(OSError):
                    caller.sendall(b"T")
            time.sleep(0.1)
        assert len(server.connections) == 0
        assert owner_is_answered(server) < 2


class FakeSocket:
    def __init__(self):
        self.ended = False


class TestConnections:
    @pytest.fixture
    def connections(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(_connections, "_end", self.end)
        return Connections(lambda: self.now)

    @staticmethod
    def end(connection, caller):
        connection.ended = caller.ended = True

    def admitted(self, connections, host, count=1):
        found = []
        for _ in range(count):
            self.now += 0.001
            found.append(FakeSocket())
            assert connections.admit(found[-1], host)
        return found

    def test_of_one_address_the_oldest_makes_way(self, connections):
        found = self.admitted(connections, "10.0.0.1", _connections.MAX_HALF_OPEN_OF_ADDRESS + 3)
        assert [c.ended for c in found] == [True] * 3 + [False] * _connections.MAX_HALF_OPEN_OF_ADDRESS

    def test_when_all_are_taken_whoever_has_most_makes_way(self, connections):
        few = self.admitted(connections, "10.0.0.9", 2)
        crowds = [self.admitted(connections, f"10.0.0.{i}", _connections.MAX_HALF_OPEN_OF_ADDRESS) for i in range(3)]
        rest = self.admitted(
            connections, "10.0.0.8", _connections.MAX_HALF_OPEN - 2 - 3 * _connections.MAX_HALF_OPEN_OF_ADDRESS
        )
        [owner] = self.admitted(connections, "10.0.0.7")
        assert crowds[0][0].ended
        assert not any(c.ended for c in (*few, *rest, *crowds[1], *crowds[2], owner))

    def test_one_network_of_ipv6_is_one_caller(self, connections):
        found = [
            self.admitted(connections, f"2001:db8::{i:x}")[0] for i in range(_connections.MAX_HALF_OPEN_OF_ADDRESS + 1)
        ]
        assert found[0].ended
        mapped = self.admitted(connections, "::ffff:10.0.0.1", _connections.MAX_HALF_OPEN_OF_ADDRESS)
        self.admitted(connections, "10.0.0.1")
        assert mapped[0].ended

    def test_allowed_ones_stay_until_they_wait_again(self, connections):
        [owner] = self.admitted(connections, "10.0.0.1")
        assert connections.allow(owner, 60)
        self.admitted(connections, "10.0.0.1", 3 * _connections.MAX_HALF_OPEN_OF_ADDRESS)
        self.now += 50
        connections.end_late()
        assert not owner.ended
        connections.wait_for_head(owner)
        self.now += _connections.HEAD_S + 1
        connections.end_late()
        assert owner.ended

    def test_no_more_are_allowed_than_have_threads(self, connections):
        found = [self.admitted(connections, f"10.0.1.{i}")[0] for i in range(_connections.MAX_ALLOWED + 1)]
        assert [connections.allow(c, 60) for c in found] == [True] * _connections.MAX_ALLOWED + [False]


class TestTls:
    @pytest.fixture
    def certificate(self, home):
        pytest.importorskip("cryptography")
        return own_certificate()

    def test_the_certificate_is_made_once_and_only_its_owner_reads_the_key(self, certificate, home):
        path, fingerprint = certificate
        assert path.parent == home / "agent"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert own_certificate() == (path, fingerprint)

    def test_tokens_go_to_the_pinned_certificate_only(self, certificate):
        path, fingerprint = certificate
        with serving_at(serving(path)) as server:
            seen = []
            answer = Echo.response
            server.handler.response = lambda *given: seen.append(given) or answer(server.handler, *given)
            good = Credential(TOKEN, pin=fingerprint)
            assert exchange(at(server), good, "POST", "/run", b"{}", work_s=5, most=1000).status == 200
            assert len(seen) == 1
            with pytest.raises(InvalidOption, match=r"another certificate.*nothing was sent.*agent --tls"):
                exchange(at(server), Credential(TOKEN, pin="0" * 64), "POST", "/run", b"{}", work_s=5, most=1000)
            assert len(seen) == 1
            assert b"this agent speaks TLS" in asked(server, request())
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            with pytest.warns(DeprecationWarning, match="TLSVersion"):
                old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            with socket.create_connection(server.server_address, timeout=5) as plain, pytest.raises(ssl.SSLError):
                old.wrap_socket(plain)

    def test_handshakes_that_never_end_do_not_stop_the_others(self, certificate, monkeypatch):
        monkeypatch.setattr(_connections, "HEAD_S", 0.7)
        path, fingerprint = certificate
        with serving_at(serving(path)) as server, ExitStack() as stack:
            for start in (b"", b"\x16\x03\x01") * 20:
                stack.enter_context(socket.create_connection(server.server_address)).sendall(start)
            found = exchange(at(server), Credential(TOKEN, pin=fingerprint), "GET", "/device", b"", work_s=5, most=1000)
            assert found.status == 200
            deadline = time.monotonic() + 5
            while len(server.connections) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(server.connections) == 0

    def test_a_pin_for_an_agent_that_speaks_no_tls_is_told(self, server):
        with pytest.raises((InvalidOption, InvalidResponse), match=r"does not speak TLS.*--tls"):
            exchange(at(server), Credential(TOKEN, pin="0" * 64), "GET", "/device", b"", work_s=5, most=1000)
