"""Law: a server answers to its own names alone, however they are spelled, and takes changes from no page of another site."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import UsageError
from weighbridge.serving.hosts import Hosts, check_bind, hosts_of, is_loopback, read_authority

BIND, ARRIVED = "192.0.2.10", "198.51.100.7"
HOSTS = hosts_of(BIND, ["Models.Example.org", "2001:DB8::5"])
GOOD = [
    [b"localhost"],
    [b"LOCALHOST"],
    [b"localhost:8000"],
    [b"localhost."],
    [b"localhost.:8000"],
    [b"127.0.0.1"],
    [b"127.0.0.1:1"],
    [b"127.0.0.1:65535"],
    [b"[::1]"],
    [b"[::1]:8000"],
    [b"[0:0:0:0:0:0:0:1]:8000"],
    [b"[0000::0001]"],
    [b"192.0.2.10:443"],
    [b"models.example.org"],
    [b"MODELS.EXAMPLE.ORG:443"],
    [b"models.example.org.:80"],
    [b"[2001:db8::5]"],
    [b"[2001:0DB8:0::5]:99"],
    [b"198.51.100.7:8000"],
    [b"localhost:08000"],
]
WRONG_NAME = [
    [b"evil.example"],
    [b"evil.example:8000"],
    [b"localhost.evil.example"],
    [b"127.0.0.1.evil.example"],
    [b"127.1"],
    [b"0x7f.0.0.1"],
    [b"2130706433"],
    [b"0.0.0.0"],
    [b"127.0.0.2"],
    [b"[::]"],
    [b"[::ffff:127.0.0.1]"],
    [b"[::ffff:7f00:1]"],
    [b"a.models.example.org"],
    [b"modelsexample.org"],
    [b"192.0.2.1"],
    [b"xn--lcalhost-s4a"],
    [b"localhost_"],
]
MALFORMED = [
    [],
    [b""],
    [b":8000"],
    [b"localhost:"],
    [b"localhost:http"],
    [b"localhost:0"],
    [b"localhost:65536"],
    [b"localhost:80:80"],
    [b"localhost:-1"],
    [b"localhost localhost"],
    [b"localhost,evil.example"],
    [b"user@localhost"],
    [b"localhost/"],
    [b"http://localhost"],
    [b"local%68ost"],
    [b"localh\xc3\xb6st"],
    [b"localhost\x00"],
    [b"localhost\r\nx: y"],
    [b"::1"],
    [b"[::1"],
    [b"[::1]x"],
    [b"[fe80::1%25eth0]"],
    [b"[127.0.0.1]"],
    [b"localhost.."],
    [b".localhost"],
    [b"localhost", b"evil.example"],
    [b"localhost", b"localhost"],
    [b"a" * 300],
    [b"localhost:123456"],
    [b"localhost:\xd9\xa1"],
]


def status(hosts: list[bytes], target: bytes = b"") -> int:
    wrong = HOSTS.wrong_host(hosts, server=ARRIVED, target=target)
    return wrong.status if wrong else 200


def test_over_50_spellings_of_the_host_are_told_apart(record: Callable[..., None]) -> None:
    expected = [(GOOD, 200), (WRONG_NAME, 421), (MALFORMED, 400)]
    found = [(hosts, status(hosts), wanted) for group, wanted in expected for hosts in group]
    assert [one for one in found if one[1] != one[2]] == []
    assert len(found) >= 50
    record("hosts.spellings", sum(one[1] == one[2] for one in found), n=len(found))


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (b"/predict", 200),
        (b"/predict?at=http://evil.example/", 200),
        (b"*", 200),
        (b"http://localhost:8000/predict", 200),
        (b"http://LOCALHOST.:8000/predict", 200),
        (b"http://localhost:8000", 200),
        (b"http://localhost:8000?x", 200),
        (b"http://evil.example/predict", 400),
        (b"http://localhost/predict", 400),
        (b"http://evil.example:8000#@localhost:8000/", 400),
        (b"http://localhost:8000@evil.example/", 400),
        (b"http:///predict", 400),
        (b"evil.example:443", 400),
        (b"predict", 400),
    ],
)
def test_a_target_in_absolute_form_names_the_same_host(target: bytes, wanted: int) -> None:
    assert status([b"localhost:8000"], target) == wanted


ORIGINS = [
    ("POST", [], b"", True),
    ("POST", [b"http://localhost:8000"], b"", True),
    ("POST", [b"http://LOCALHOST:8000"], b"same-origin", True),
    ("POST", [b"http://localhost"], b"", False),
    ("POST", [b"http://localhost:8001"], b"", False),
    ("POST", [b"http://evil.example"], b"", False),
    ("POST", [b"null"], b"", False),
    ("POST", [b""], b"", False),
    ("POST", [b"file://"], b"", False),
    ("POST", [b"http://localhost:8000/"], b"", False),
    ("POST", [b"http://localhost:8000.evil.example"], b"", False),
    ("POST", [b"http://localhost:8000@evil.example"], b"", False),
    ("POST", [b"http://localhost:8000", b"http://localhost:8000"], b"", False),
    ("POST", [b"http://localhost:8000"], b"cross-site", False),
    ("POST", [], b"cross-site", False),
    ("POST", [], b"same-site", False),
    ("POST", [], b"none", True),
    ("PUT", [b"http://evil.example"], b"", False),
    ("DELETE", [b"null"], b"", False),
    ("PATCH", [b"null"], b"", False),
    ("BREW", [b"null"], b"", False),
    ("GET", [b"http://evil.example"], b"", True),
    ("HEAD", [b"null"], b"cross-site", True),
    ("OPTIONS", [b"http://evil.example"], b"", True),
]


@pytest.mark.parametrize(("method", "origins", "site", "passes"), ORIGINS)
def test_a_page_of_another_site_changes_nothing(method: str, origins: list[bytes], site: bytes, passes: bool) -> None:
    wrong = HOSTS.wrong_origin(method, b"localhost:8000", origins, site)
    assert (wrong is None) == passes
    assert passes or (wrong is not None and wrong.status == 403)


def test_the_ports_that_a_scheme_implies_are_the_same_origin() -> None:
    assert HOSTS.wrong_origin("POST", b"models.example.org", [b"https://models.example.org"], b"") is None
    assert HOSTS.wrong_origin("POST", b"models.example.org", [b"https://models.example.org:443"], b"") is None
    assert HOSTS.wrong_origin("POST", b"models.example.org:443", [b"https://models.example.org"], b"") is None
    assert HOSTS.wrong_origin("POST", b"models.example.org", [b"https://models.example.org:80"], b"") is not None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading_of_a_host(given: bytes) -> None:
    found = read_authority(given)
    assert found is None or (found[0] == found[0].lower() and (found[1] is None or 0 < found[1] < 65_536))
    wrong = HOSTS.wrong_host([given], server="")
    assert wrong is None or wrong.status in (400, 421)


def test_what_was_read_is_not_kept_without_end() -> None:
    hosts = Hosts(frozenset({"localhost"}))
    for at in range(5000):
        hosts.wrong_host([f"host{at}".encode()])
    assert len(hosts._read) == 1000
    assert hosts.wrong_host([b"localhost"]) is None


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", ""])
def test_a_bind_to_every_address_adds_no_name_that_anyone_may_use(bind: str) -> None:
    assert hosts_of(bind).names == hosts_of("127.0.0.1").names


@pytest.mark.parametrize("name", ["", "a b", "http://a", "a:80", "[::1]:80", "*", "*.example.org", "a/b", "é.org"])
def test_what_is_no_name_of_a_server_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a server"):
        hosts_of("127.0.0.1", [name])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1", "localhost."])
def test_loopback_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    check_bind(host, tls=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "192.0.2.1",
        "10.0.0.1",
        "example.org",
        "localhost.example.org",
        "127.1",
        "0x7f000001",
        "::ffff:10.0.0.1",
        "fe80::1",
    ],
)
def test_a_bind_beyond_loopback_needs_tls_or_a_word(host: str) -> None:
    with pytest.raises(UsageError, match=r"--tls-cert.*--insecure-bind") as caught:
        check_bind(host, tls=False)
    assert "\n" not in str(caught.value)
    check_bind(host, tls=True)
    check_bind(host, tls=False, insecure=True)
