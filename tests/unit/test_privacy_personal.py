"""Law: personal data is known by its form and its checksum, wherever it stands in a text; what only looks like it is counted apart."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.privacy import find, mask, masked_shape, named_kind, search
from weighbridge.privacy.numbers import IBAN_LENGTHS, RESIDENT_CHECKS, RESIDENT_WEIGHTS, iban_checks, luhn, resident_checks

VALID = [  # published examples: of the standards, and test numbers that issuers print
    ("email", "jane.doe+list@mail.example.co.uk"), ("email", "o_x@sub-domain.example.cn"),
    ("iban", "GB82 WEST 1234 5698 7654 32"), ("iban", "DE89370400440532013000"), ("iban", "FR14 2004 1010 0505 0001 3M02 606"),
    ("iban", "NO93 8601 1117 947"), ("iban", "MT84MALT011000012345MTLCAST001S"), ("iban", "CH9300762011623852957"),
    ("card", "4111 1111 1111 1111"), ("card", "5555555555554444"), ("card", "3782-822463-10005"), ("card", "6011111111111117"),
    ("card", "3530111333300000"), ("card", "30569309025904"), ("card", "6212345678901232"), ("card", "2223003122003222"),
    ("resident_id", "11010519491231002X"), ("resident_id", "11010519491231002x"), ("resident_id", "440308199901101512"),
    ("ssn", "078-05-1120"), ("ip4", "192.168.1.77"), ("ip6", "2001:db8::8a2e:370:7334"), ("ip6", "fe80::1"),
    ("phone_international", "+49 30 1234567"), ("phone_international", "+1 (415) 555-2671"), ("phone_international", "+8613800138000"),
    ("phone_mobile_cn", "13800138000"), ("phone_mobile_cn", "138 0013 8000"), ("phone_landline_cn", "010-62345678"),
    ("phone_landline_cn", "0571-88888888"), ("phone_north_america", "(415) 555-2671"), ("phone_north_america", "415-555-2671"),
]  # fmt: skip
INVALID = [  # one digit changed, or a range that nobody is given
    ("iban", "GB83 WEST 1234 5698 7654 32"), ("iban", "DE89370400440532013001"), ("card", "4111 1111 1111 1112"),
    ("card", "5555555555554445"), ("resident_id", "110105194912310021"), ("resident_id", "440308199901101513"),
    ("ssn", "000-12-3456"), ("ssn", "666-12-3456"), ("ssn", "912-12-3456"), ("ssn", "123-00-3456"), ("ssn", "123-45-0000"),
    ("ip4", "1.2.3.4"), ("phone_mobile_cn", "12800138000"), ("phone_north_america", "115-555-2671"),
    ("phone_north_america", "415-911-2671"),
]  # fmt: skip
NOTHING = [
    "2024-01-15 10:20:30", "12:30:45", "3.14159265358979", "order 1234567", "a@b", "@home", "me@localhost", "x..y@example.org.",
    "version 2.10.3", "1,234,567,890", "00:1A:2B:3C:4D:5E", "256.300.1.2", "ZZ82WEST12345698765432", "110105194913310021",
    "990105194912310021", "9999999999999999999999", "https://example.org/a?b=1", "5.5e10", "-13800138000.5",
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text"), VALID)
def test_a_valid_number_is_found_alone_and_within_a_sentence(pattern: str, text: str) -> None:
    for around in (text, f"see {text}, please", f"（{text}）", f"号码{text}。"):
        found = find(around)
        assert [(one.kind.pattern, one.valid) for one in found] == [(pattern, True)], around
        assert around[found[0].start : found[0].stop] == text


@pytest.mark.parametrize(("pattern", "text"), INVALID)
def test_a_number_with_a_wrong_digit_has_the_form_and_does_not_pass(pattern: str, text: str) -> None:
    assert [(one.kind.pattern, one.valid) for one in find(f"see {text} there")] == [(pattern, False)]


@pytest.mark.parametrize("text", NOTHING)
def test_what_has_not_the_form_is_let_pass(text: str) -> None:
    assert [one.kind.pattern for one in find(text)] in ([], ["email"] if "example.org." in text else [])


def test_full_width_digits_are_read() -> None:
    assert [one.kind.pattern for one in find("电话１３８００１３８０００")] == ["phone_mobile_cn"]


@given(st.text(st.sampled_from("0123456789"), min_size=12, max_size=18))
def test_exactly_one_check_digit_passes(digits: str) -> None:
    assert sum(luhn(digits + last) for last in "0123456789") == 1


@given(st.text(st.sampled_from("0123456789"), min_size=17, max_size=17))
def test_exactly_one_last_character_completes_a_resident_number(digits: str) -> None:
    assert sum(resident_checks(digits + last) for last in RESIDENT_CHECKS) == 1
    assert len(RESIDENT_WEIGHTS) == 17


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.data())
def test_an_iban_whose_check_digits_are_computed_passes_and_a_changed_digit_does_not(country: str, data: st.DataObject) -> None:
    size = IBAN_LENGTHS[country] - 4
    body = data.draw(st.text(st.sampled_from("0123456789"), min_size=size, max_size=size))
    rest = int("".join(str(int(letter, 36)) for letter in f"{body}{country}00")) % 97
    iban = f"{country}{98 - rest:02d}{body}"
    assert iban_checks(iban)
    place = data.draw(st.integers(4, len(iban) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != iban[place]]))
    assert not iban_checks(iban[:place] + other + iban[place + 1 :])


def test_the_naive_way_takes_every_row_of_digits_for_cards() -> None:
    """Sixteen random digits that begin as a card's: all have the form, one in ten passes; a search that stops at the form finds 2,000."""
    source = random.Random(0)
    seen = search(f"4{source.randrange(10**15):015d}" for _ in range(2000))["card"]
    assert (seen.forms, seen.whole) == (2000, seen.valid)
    assert 150 < seen.valid < 250


def test_a_number_that_comes_a_thousand_times_has_passed_its_check_once() -> None:
    seen = search(["4111 1111 1111 1111", "4111111111111111", "4111111111111112"] * 1000)["card"]
    assert (seen.forms, seen.valid, len(seen.rows), seen.whole) == (2, 1, 2000, 2000)


def test_a_number_that_stands_behind_another_is_found() -> None:
    assert [one.kind.pattern for one in find("order 1234 4111 1111 1111 1111")] == ["card"]


def test_a_search_counts_rows_and_places_and_shows_no_character() -> None:
    seen = search(["a@b.org, c@d.org", None, "nothing", "x@y.org"])["email"]
    assert (seen.forms, seen.valid, seen.rows, seen.whole) == (3, 3, (0, 3), 1)
    assert seen.shape == "x@x.xxx"
    assert masked_shape("Ab-12 号") == "xx-99 x"


@given(st.lists(st.sampled_from([text for _, text in VALID + INVALID] + NOTHING + ["and", "，"]), max_size=6))
def test_a_masked_text_holds_nothing_more_and_stays_as_it_is(pieces: list[str]) -> None:
    text = " ".join(pieces)
    once = mask(text)
    assert find(once) == []
    assert mask(once) == once


@given(st.text(max_size=200))
def test_any_text_can_be_searched_and_masked(text: str) -> None:
    places = [(one.start, one.stop) for one in find(text)]
    assert places == sorted(places)
    assert all(left[1] <= right[0] for left, right in pairwise(places))
    assert mask(mask(text)) == mask(text)


HOSTILE = [  # a search that began anew at each character would take minutes
    ("a@", 50_000, 0), ("1", 100_000, 0), ("1 ", 50_000, 0), ("1.1.1.", 20_000, 0), (":", 100_000, 0), ("+1", 50_000, 0),
    ("GB82", 25_000, 0),
    ("a.", 50_000, 0), ("1-", 50_000, 0), ("4111 ", 20_000, 5_000),
    ("a@b.org ", 20_000, 20_000),
]  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("piece", "times", "found"), HOSTILE)
def test_a_hostile_text_is_read_to_its_end(piece: str, times: int, found: int) -> None:
    assert len(find(piece * times)) == found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("E-Mail", "email"), ("customerPhone", "phone"), ("身份证号", "resident_id"), ("client_ip", "ip"), ("last_name", "name"),
        ("name", "name"), ("dob", "birth"), ("script", ""), ("ship", ""), ("last_payment", ""), ("zip_code", "postcode"),
    ],
)  # fmt: skip
def test_a_columns_name_says_what_it_holds(name: str, kind: str) -> None:
    assert named_kind(name) == kind
