"""Checksums and ranges of numbers that name a person, an account or a line. All take digits (or letters) without separators."""

from __future__ import annotations

import datetime
from itertools import accumulate

# ISO 13616, IBAN registry release 99: length by country
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23,
    "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
    "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
# ITU-T E.164 D (2016): country codes that are assigned to countries and areas
CALLING_CODES = frozenset(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 "
    "94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 "
    "245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 "
    "353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 "
    "505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 "
    "689 690 691 692 850 852 853 855 856 880 886 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 992 993 994 995 "
    "996 998".split()
)
# GB/T 2260: the provinces that the first two digits of a resident's number may name (71, 81, 82: Taiwan, Hong Kong, Macao)
PROVINCES = frozenset("11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split())
RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
RESIDENT_CHECKS = "10X98765432"
# Mobile numbers of mainland China by their first three digits, as the ministry (MIIT) has assigned them; others begin with 1, too
MOBILE_CN = frozenset(
    [f"13{digit}" for digit in "0123456789"]
    + [f"14{digit}" for digit in "0145678"]
    + [f"15{digit}" for digit in "012356789"]
    + [f"16{digit}" for digit in "2567"]
    + [f"17{digit}" for digit in "012345678"]
    + [f"18{digit}" for digit in "0123456789"]
    + [f"19{digit}" for digit in "012356789"]
)
DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice a digit, its digits added


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B). One in ten random numbers passes."""
    total = sum(DOUBLED[int(digit)] if place % 2 else int(digit) for place, digit in enumerate(reversed(digits)))
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether an issuer of bank cards gives numbers that begin so and are so long (ISO/IEC 7812; the check digit is not looked at)."""
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":  # Visa
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        return length == 16
    if two in (34, 37):  # American Express
        return length == 15
    if two == 62:  # UnionPay
        return 16 <= length <= 19
    if four == 6011 or two == 65 or 644 <= three <= 649:  # Discover
        return 16 <= length <= 19
    if 3528 <= four <= 3589:  # JCB
        return 16 <= length <= 19
    return (two in (36, 38, 39) or 300 <= three <= 305) and 14 <= length <= 19  # Diners Club


def iban_checks(iban: str) -> bool:
    """Whether the remainder by 97 is 1 (ISO 7064, MOD 97-10). One in 97 random numbers passes."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def is_resident(number: str) -> bool:
    """Whether 18 characters have the form of a resident's number (GB 11643): a province, a day of the calendar from 1900 to 2099."""
    if number[:2] not in PROVINCES or not "1900" <= number[6:10] <= "2099":
        return False
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    return True


def resident_checks(number: str) -> bool:
    """Whether the last character is the check of the 17 digits before (GB 11643, ISO 7064 MOD 11-2). One in eleven passes by chance."""
    total = sum(weight * int(digit) for weight, digit in zip(RESIDENT_WEIGHTS, number, strict=False))
    return RESIDENT_CHECKS[total % 11] == number[17].upper()


def is_ssn(digits: str) -> bool:
    """Whether the Social Security Administration gives such a number: area not 000, 666 or 900 and above, group not 00, serial not 0000."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def has_calling_code(digits: str) -> bool:
    """Whether a number in international form (E.164, without +) has 8 to 15 digits and begins with a country's code."""
    return 8 <= len(digits) <= 15 and any(part in CALLING_CODES for part in accumulate(digits[:3]))


def is_north_american(digits: str) -> bool:
    """Whether ten digits are a number of the North American plan: area [2-9]xx, not N11; exchange [2-9]xx, not N11."""
    area, exchange = digits[:3], digits[3:6]
    return area[0] >= "2" and exchange[0] >= "2" and area[1:] != "11" and exchange[1:] != "11"
