"""Tokens of agents: to whom they go, and how."""

import os
import socket
import stat

import pytest

from archsmith.errors import InvalidOption, UserError
from archsmith.hardware import open_device
from archsmith.hardware.agents.credentials import Address, credential_for, own_token

PIN = "ab" * 32
SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("ARCHSMITH_AGENT_TOKEN", raising=False)
    monkeypatch.delenv("ARCHSMITH_AGENT_TOKEN_FILE", raising=False)


@pytest.fixture
def tokens(tmp_path, monkeypatch):
    """Writes the file of tokens."""
    path = tmp_path / "tokens"
    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN_FILE", str(path))
    return path.write_text


def sent(address):
    found = credential_for(Address.read(address))
    return found.token, found.pin, found.plain


def test_lines_are_bound_to_addresses_whatever_their_spelling(tokens):
    tokens(
        f"# boards\nBoard.local:1 first sha256:{PIN}\n\n10.0.0.7:7465 second plain\nhere-only\n"
        f"[2001:DB8:0::1]:2 third SHA256:{':'.join(['AB'] * 32)}\nlocalhost:3 fourth\n"
    )
    assert sent("board.LOCAL:01") == ("first", PIN, False)
    assert sent("10.0.0.7:7465") == ("second", "", True)
    assert sent("[2001:db8::0:1]:2") == ("third", PIN, False)
    assert sent("localhost:3") == ("fourth", "", False)
    for here in ("127.0.0.1:1", "127.9.9.9:1", "[::1]:9", "LOCALHOST:9"):
        assert sent(here) == ("here-only", "", False)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.7:1", "board:1", "127.0.0.1.example.org:1", "localhost.example.org:1", "[::2]:1", "0.0.0.0:1", "127.1:1"],
)
def test_an_unbound_token_stays_on_this_machine(tokens, address):
    tokens(f"{SECRET}\n")
    with pytest.raises(InvalidOption, match=r"bound to no address.*bind it: write `") as error:
        credential_for(Address.read(address))
    assert f"`{Address.read(address)} TOKEN plain`" in str(error.value)
    assert SECRET not in str(error.value)


def test_without_encryption_a_token_goes_elsewhere_only_where_that_is_asked_for(tokens):
    tokens(f"board:1 {SECRET}\n")
    with pytest.raises(InvalidOption, match=r"another machine unencrypted.*--tls.*`plain` at the end") as error:
        credential_for(Address.read("board:1"))
    assert SECRET not in str(error.value)


def test_the_variable_comes_before_the_file_and_may_hold_several_lines(tokens, monkeypatch):
    tokens(
        f"board:1 old plain\nphone:2 second plain\n127.0.0.1:3 third\nmine sha256:{PIN}\n".replace("mine", "a:4 mine")
    )
    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "board:1 new plain, bare,\n127.0.0.1:5 fifth")
    assert [sent(a)[0] for a in ("board:1", "phone:2", "127.0.0.1:5", "127.0.0.1:6", "a:4")] == [
        "new",
        "second",
        "fifth",
        "bare",
        "mine",
    ]


def test_without_any_token_agents_of_this_machine_are_asked_and_others_are_not(home):
    assert sent("127.0.0.1:1") == ("", "", False)
    with pytest.raises(InvalidOption, match=r"no token is known for the agent at board:1.*--tls.*agent[.]token"):
        credential_for(Address.read("board:1"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"board {SECRET}", "first word is no HOST:PORT"),
        (f"{SECRET} plain", "first word is no HOST:PORT"),
        ("board:1", "no token"),
        (f"board:1 {SECRET} encrypted", "ends neither in"),
        (f"board:1 {SECRET} sha256:1234", "ends neither in"),
        (f"board:1 {SECRET} plain please", "more than three words"),
        (f"board:1 {SECRET}é plain", "visible ASCII"),
        (f"board:1 {SECRET} plain\nboard:1 other plain", "two lines for the agent at board:1"),
    ],
)
def test_lines_that_cannot_be_read_are_named_and_not_shown(tokens, line, said):
    tokens(f"\n{line}\n")
    with pytest.raises(InvalidOption, match=said) as error:
        credential_for(Address.read("board:1"))
    assert SECRET not in str(error.value)


def test_a_file_of_tokens_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff secret")
    for name in ("pipe", "bytes", ""):
        monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN_FILE", str(tmp_path / name))
        with pytest.raises(InvalidOption, match=f"cannot be read from {tmp_path / name}"):
            credential_for(Address.read("board:1"))


def test_nothing_is_sent_and_no_connection_made_before_the_token_may_go(tokens, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a connection was made"))
    tokens(f"{SECRET}\nphone:2 {SECRET}\n")
    for spec in ("remote:board:1", "remote:phone:2"):
        with pytest.raises(InvalidOption, match=r"bound to no address|unencrypted"):
            open_device(spec).batch  # noqa: B018 - asking is what is tested


class TestOwnToken:
    def test_one_is_made_and_only_its_owner_reads_it(self, home):
        token, kept = own_token()
        assert kept == str(home / "agent.token")
        assert stat.S_IMODE((home / "agent.token").stat().st_mode) == 0o600
        assert own_token() == (token, kept)
        assert sent("127.0.0.1:1")[0] == token

    def test_lines_for_other_agents_may_stand_beside_it(self, tmp_path):
        (tmp_path / "t").write_text(f"board:1 theirs plain\n{SECRET}\n")
        assert own_token(tmp_path / "t") == (SECRET, str(tmp_path / "t"))

    @pytest.mark.parametrize("content", ["", "board:1 theirs plain\n", "first-one\nsecond-one\n"])
    def test_which_one_it_is_must_be_clear(self, tmp_path, content):
        (tmp_path / "t").write_text(content)
        with pytest.raises(
            UserError, match=r"should hold one line with the agent's own token alone, and holds [02] such lines"
        ):
            own_token(tmp_path / "t")

    def test_the_variable_may_hold_it(self, home, monkeypatch):
        monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", f"board:1 theirs plain,{SECRET}")
        assert own_token() == (SECRET, "ARCHSMITH_AGENT_TOKEN")
        monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "board:1 theirs plain")
        assert own_token()[1] == str(home / "agent.token")
        monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "first-one,second-one")
        with pytest.raises(UserError, match="holds 2 such lines"):
            own_token()
