"""Personal data in texts and numbers, by their form and, where there is one, their checksum.

A form can be met by chance: one in ten numbers that look like a card's passes its check digit. So a search counts what has the form and
what passes, and `chance` says how much of the form would pass if the numbers meant nothing; who judges a column holds the one against the
other. Every pattern reads a text from left to right, with bounded look-ahead: a hostile text costs no more than a long one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from weighbridge.findings import Message
from weighbridge.privacy import numbers

# Full-width forms stand for their ASCII character one to one, so places in a text stay what they are
HALF_WIDTH = {0xFF01 + place: 0x21 + place for place in range(94)} | {0x3000: 0x20, 0x2010: 0x2D, 0x2011: 0x2D, 0x2013: 0x2D, 0x00A0: 0x20}
SEPARATORS = str.maketrans("", "", " -.()/")
VERSION_PART = 32  # four numbers under it are taken for a version of something, not for an address
LONGEST = 1_000_000  # characters of one value that are read
TAKEN = "\0"
BETWEEN = re.compile(r"[ -]+")
AREA_CN = r"0(?:10|2\d|[3-9]\d{2})"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of personal data.

    Attributes:
        name: of the kind; several patterns may share one (`phone`).
        pattern: what tells it from its neighbours; names its findings.
        title: in words, for a report.
        form: what has the form, as it stands in a text.
        fits: whether what the form found really has it (lengths, prefixes, days of the calendar); gets the match as it is.
        passes: whether the checksum or range holds.
        chance: the share of what has the form that passes if it means nothing; 0.0 where the form alone says what it is.
        marks: characters of which one must be in the text: a quick no.
    """

    name: str
    pattern: str
    title: Message
    form: re.Pattern[str]
    fits: Callable[[str], bool]
    passes: Callable[[str], bool]
    chance: float
    marks: str = ""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A place in a text that has a kind's form; `valid`: and passes its check."""

    kind: Kind
    start: int
    stop: int
    valid: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a search has counted of one pattern.

    Attributes:
        forms, valid: different numbers or addresses that have the form, and of these the ones that pass: one that comes a thousand times
            has passed its check once.
        rows: numbers of the values in which at least one passes, ascending.
        whole: how many values are nothing else than one that passes.
        shape: of the first one that passes: its letters as x, its digits as 9.
    """

    kind: Kind
    forms: int
    valid: int
    rows: tuple[int, ...]
    whole: int
    shape: str


def _digits(text: str) -> str:
    return text.translate(SEPARATORS)


def _email(text: str) -> bool:
    """Labels of RFC 5321 and RFC 1123: no empty one, none with a hyphen at an end, 64 and 253 characters at most."""
    local, _, host = text.rpartition("@")
    if len(local) > 64 or len(host) > 253 or local[0] == "." or local[-1] == "." or ".." in local:
        return False
    return all(label and len(label) <= 63 and label[0] != "-" and label[-1] != "-" for label in host.split("."))


def _ip4(text: str) -> bool:
    parts = text.split(".")
    return all(part == str(int(part)) and int(part) < 256 for part in parts)


def _ip6(text: str) -> bool:
    try:
        return not ipaddress.IPv6Address(text).is_unspecified
    except ValueError:
        return False


def _iban_forms() -> list[str]:
    """Return a pattern for each length that accounts have somewhere; spaces may stand between any two characters."""
    by_length: dict[int, list[str]] = {}
    for country, length in numbers.IBAN_LENGTHS.items():
        by_length.setdefault(length, []).append(country)
    return [rf"(?:{'|'.join(countries)})\d\d(?: ?[A-Z0-9]){{{length - 4}}}" for length, countries in sorted(by_length.items())]


def _mobile(text: str) -> bool:
    return _digits(text).removeprefix("+").removeprefix("86")[-11:][:3] in numbers.MOBILE_CN


def _always(text: str) -> bool:
    return True


KINDS: tuple[Kind, ...] = (  # in the order in which a place is given away: the longer and surer first
    Kind(
        name="email", pattern="email", title=Message("e-mail addresses"), marks="@", chance=0.0, fits=_email, passes=_always,
        form=re.compile(r"(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}(?![A-Za-z0-9@-])", re.ASCII),
    ),
    Kind(
        name="iban", pattern="iban", title=Message("bank accounts (IBAN)"), chance=1 / 97, fits=_always,
        passes=lambda text: numbers.iban_checks(text.replace(" ", "")), marks="0123456789",
        form=re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_iban_forms())})(?![A-Za-z0-9])", re.ASCII),
    ),
    Kind(
        name="resident_id", pattern="resident_id", title=Message("Chinese resident identity numbers"), chance=1 / 11,
        fits=numbers.is_resident, passes=numbers.resident_checks, marks="0123456789",
        form=re.compile(r"(?<![A-Za-z0-9])\d{17}[\dXx](?![A-Za-z0-9])", re.ASCII),
    ),
    Kind(
        name="card", pattern="card", title=Message("bank card numbers"), chance=0.1, marks="0123456789",
        fits=lambda text: numbers.is_card(_digits(text)), passes=lambda text: numbers.luhn(_digits(text)),
        form=re.compile(r"(?<![\w.+-])\d{4}(?:[ -]?\d){9,15}(?![\w-])", re.ASCII),
    ),
    Kind(
        name="ip", pattern="ip4", title=Message("IP addresses"), chance=0.0, marks=".", fits=_ip4,
        passes=lambda text: any(int(part) >= VERSION_PART for part in text.split(".")),
        form=re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", re.ASCII),
    ),
    Kind(
        name="ip", pattern="ip6", title=Message("IP addresses"), chance=0.0, marks=":", fits=_ip6, passes=_always,
        form=re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII),
    ),
    Kind(
        name="ssn", pattern="ssn", title=Message("US social security numbers"), chance=0.0, marks="-", fits=_always,
        passes=lambda text: numbers.is_ssn(_digits(text)), form=re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", re.ASCII),
    ),
    Kind(
        name="phone", pattern="phone_international", title=Message("telephone numbers"), marks="+", chance=0.0,
        fits=lambda text: numbers.has_calling_code(_digits(text)[1:]), passes=_always,
        form=re.compile(r"(?<![\w+])\+\d{1,3}(?:[ .()/-]{0,2}\d){6,13}(?![\w-])", re.ASCII),
    ),
    Kind(
        name="phone", pattern="phone_landline_cn", title=Message("telephone numbers"), chance=0.0, marks="0123456789",
        fits=_always, passes=_always,
        form=re.compile(rf"(?<![\w.+-])(?:\({AREA_CN}\) ?|{AREA_CN}[ -])\d{{7,8}}(?![\w-])", re.ASCII),
    ),
    Kind(
        name="phone", pattern="phone_mobile_cn", title=Message("telephone numbers"), marks="0123456789",
        chance=len(numbers.MOBILE_CN) / 100, fits=_always, passes=_mobile,
        form=re.compile(r"(?<![\w.+-])(?:86[ -]?)?1\d{2}[ -]?\d{4}[ -]?\d{4}(?![\w-])", re.ASCII),
    ),
    Kind(
        name="phone", pattern="phone_north_america", title=Message("telephone numbers"), chance=0.0, marks="-. ",
        fits=_always, passes=lambda text: numbers.is_north_american(_digits(text)),
        form=re.compile(r"(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])", re.ASCII),
    ),
)  # fmt: skip


def find(text: str) -> list[Match]:
    """Return the places of a text that have the form of personal data, in their order; no two overlap."""
    plain = text[:LONGEST].translate(HALF_WIDTH) if not text.isascii() else text[:LONGEST]
    found: list[Match] = []
    for kind in KINDS:
        if kind.marks and not any(mark in plain for mark in kind.marks):
            continue
        if places := list(_places(kind, plain)):
            plain = _without(plain, places)  # what is taken is no part of another number
            found += places
    return sorted(found, key=lambda match: match.start)


def _places(kind: Kind, text: str) -> Iterator[Match]:
    """Yield the places that have a kind's form; where one that looked like it has not, what begins behind its first separator is tried."""
    position = 0
    while (place := kind.form.search(text, position)) is not None:
        start = place.start()
        if (fitting := _fitting(kind, place[0])) is not None:
            position = start + len(fitting)
            yield Match(kind=kind, start=start, stop=position, valid=kind.passes(fitting))
        else:
            gap = BETWEEN.search(text, start + 1, place.end())
            position = place.end() if gap is None else gap.end()


def _without(text: str, places: Sequence[Match]) -> str:
    """Return the text with TAKEN at the places."""
    parts, end = [], 0
    for match in places:
        parts += [text[end : match.start], TAKEN * (match.stop - match.start)]
        end = match.stop
    return "".join([*parts, text[end:]])


def _fitting(kind: Kind, text: str) -> str | None:
    """Return the text, or the longest beginning of it up to a separator, that has the kind's form; None where none has."""
    while not (kind.form.fullmatch(text) and kind.fits(text)):
        text = text[: max(text.rfind(" "), text.rfind("-"), 0)].rstrip(" -")
        if not text:
            return None
    return text


def search(values: Iterable[str | None]) -> dict[str, Seen]:
    """Return what was counted of each pattern that any value has the form of, by the pattern's name."""
    found: dict[str, _Tally] = {}
    known: dict[str, list[Match]] = {}  # a value that comes again is read once
    for row, value in enumerate(values):
        if value is None:
            continue
        if value not in known:
            known[value] = find(value)
        for match in known[value]:
            found.setdefault(match.kind.pattern, _Tally(match.kind)).add(row, value, match)
    return {pattern: tally.seen() for pattern, tally in found.items()}


class _Tally:
    """Counts what was found of one pattern."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.whole, self.shape = kind, 0, ""
        self.forms: set[str] = set()
        self.valid: set[str] = set()
        self.rows: list[int] = []

    def add(self, row: int, value: str, match: Match) -> None:
        name = _digits(value[match.start : match.stop]).casefold()
        self.forms.add(name)
        if not match.valid:
            return
        self.valid.add(name)
        self.whole += value[: match.start].strip() == "" and value[match.stop :].strip() == ""
        self.shape = self.shape or masked_shape(value[match.start : match.stop])
        if not self.rows or self.rows[-1] != row:
            self.rows.append(row)

    def seen(self) -> Seen:
        forms, valid = len(self.forms), len(self.valid)
        return Seen(kind=self.kind, forms=forms, valid=valid, rows=tuple(self.rows), whole=self.whole, shape=self.shape)


def mask(text: str) -> str:
    """Return the text with each piece of personal data replaced by its kind in brackets; what has the form only is replaced, too.

    A mask that lets a number pass because its check digit was mistyped would let a telephone number pass, too. `mask` of what it gives is
    the same text. A text longer than LONGEST is cut there: what is not read is not let through.
    """
    text = text[:LONGEST]
    while found := find(text):  # again, since what stood beside a number may be one now
        parts, end = [], 0
        for match in found:
            parts += [text[end : match.start], f"[{match.kind.name}]"]
            end = match.stop
        text = "".join([*parts, text[end:]])
    return text


def masked_shape(text: str) -> str:
    """Return the form of a value without any character of it: letters as x, digits as 9, at most 40 characters."""
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text))[:40]


def named_kind(column: str) -> str:
    """Return the kind of personal data that a column's name speaks of (`email`, `name`, `birth`), "" for none. English and Chinese."""
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column).casefold()).strip()
    if words in WHOLE_NAMES:
        return "name"
    for kind, known in NAMES.items():
        if any(word in words if not word.isascii() else f" {word} " in f" {words} " for word in known):
            return kind
    return ""


WHOLE_NAMES = ("name", "first", "last", "names")  # of a person where they stand alone; "last payment" is none
NAMES: dict[str, tuple[str, ...]] = {
    "email": ("email", "e mail", "mail address", "邮箱", "电子邮件"),
    "phone": ("phone", "telephone", "mobile", "cell", "cellphone", "fax", "tel", "电话", "手机"),
    "card": ("card number", "credit card", "card no", "银行卡", "信用卡"),
    "iban": ("iban", "account number", "bank account", "账号", "银行账户"),
    "resident_id": ("resident id", "id card", "national id", "identity number", "身份证"),
    "ssn": ("ssn", "social security", "social security number"),
    "ip": ("ip", "ip address", "ipaddr"),
    "name": ("first name", "last name", "surname", "full name", "given name", "family name", "firstname", "lastname", "maiden name",
             "姓名", "名字"),
    "address": ("address", "street", "home address", "住址", "地址"),
    "birth": ("birth date", "birthdate", "date of birth", "dob", "birthday", "出生", "生日"),
    "postcode": ("zip", "zip code", "zipcode", "postcode", "postal code", "邮编", "邮政编码"),
}  # fmt: skip
