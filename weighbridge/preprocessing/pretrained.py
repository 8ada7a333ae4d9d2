"""A pretrained model's folder in the hub's form, read as data and without torch: nothing that lies in it is run.

config.json                       what the network is; refused when it asks for code of its own (auto_map)
model.safetensors                 the weights, or model.safetensors.index.json and its parts; never pickles
tokenizer.json or vocab.txt       of a text encoder: how texts become ids (vocab.txt: BERT's WordPiece)
preprocessor_config.json          of an image encoder: mean and deviation that its images are normalised with
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from weighbridge.errors import DependencyError, RecipeError
from weighbridge.preprocessing.text import canonical, library, read_tokenizer
from weighbridge.storage import sha256_file, sha256_json

KEY = "training.model.source"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)
WANTED = ("config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
          "preprocessor_config.json", "README.md")  # fmt: skip
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
MOST_JSON_BYTES = 64 << 20
MOST_STATED_LENGTH = 1_000_000  # tokenizer_config.json writes 1e30 for "no limit"
# These count places from the padding id on (transformers: create_position_ids_from_input_ids), so that many fewer are left for tokens.
PLACES_AFTER_PADDING = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "mpnet", "longformer", "luke",
     "ibert", "xmod", "esm"}
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """What an image encoder takes: height, width and channels, and the mean and deviation a channel, in 0..1."""

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A pretrained encoder that was found and looked at.

    Attributes:
        name: as the recipe names it; `folder` is where its files lie.
        files: SHA-256 of each file that is used, by name.
        tokenizer: state of the `tokenizers` library as JSON text, for a text encoder; `pad` the id behind a text's end.
        longest: tokens that it has places for, None where there is no such limit.
    """

    name: str
    folder: Path
    kind: Literal["text", "image"]
    config: dict[str, Any]
    files: dict[str, str]
    licence: str
    tokenizer: str | None = None
    pad: int = 0
    longest: int | None = None
    image: ImageForm | None = None

    @property
    def sha256(self) -> str:
        """One hash over all files that are used."""
        return sha256_json(self.files)

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights' file; of several, one over theirs."""
        found = {name: digest for name, digest in self.files.items() if name.endswith(".safetensors")}
        return next(iter(found.values())) if len(found) == 1 else sha256_json(found)


def open_source(name: str) -> Source:
    """Return the source of a folder, or of OWNER/NAME[@REVISION] of the hub (from its cache, else fetched).

    Raises RecipeError for a folder that is not there, holds pickles only, asks for code of its own or does not fit together,
    DependencyError where the hub is needed and its library is not installed.
    """
    folder = _folder(name)
    stamps = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(folder.iterdir()) if file.is_file())
    return _read(name, folder, stamps)


@lru_cache(maxsize=4)
def _read(name: str, folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> Source:
    config = _config(name, folder)
    weights = _weights(name, folder)
    kind: Literal["text", "image"] = "text" if "vocab_size" in config else "image"
    form = ("tokenizer.json", "tokenizer_config.json", "vocab.txt") if kind == "text" else ("preprocessor_config.json",)
    used = ["config.json", *weights, *(file for file in form if (folder / file).is_file())]
    files = {file: sha256_file(folder / file) for file in used}
    known: dict[str, Any] = {
        "name": name, "folder": folder, "kind": kind, "config": config, "files": files, "licence": _licence(folder / "README.md"),
    }  # fmt: skip
    if kind == "image":
        return Source(**known, image=_image_form(name, folder, config))
    tokenizer = _tokenizer(name, folder)
    pad = _pad(config, tokenizer)
    _check_ids(name, tokenizer, config)
    return Source(**known, tokenizer=tokenizer, pad=pad, longest=_longest(folder, config, pad))


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise RecipeError(f"{KEY}: {name} is a file", do="name the folder that holds config.json and model.safetensors")
    if not HUB_NAME.fullmatch(name):
        raise RecipeError(f"{KEY}: there is no folder {name}", do="give a folder in the hub's form, or OWNER/NAME of the hub")
    return _fetched(name)


def _fetched(name: str) -> Path:
    """Return the folder of a hub model: of the cache where it is there, else fetched; only files that are read as data."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        what = f"{KEY}: there is no folder {name}, and models of the hub need huggingface-hub"
        raise DependencyError(what, do="pip install 'weighbridge[pretrained]'") from None
    repository, _, revision = name.partition("@")
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(WANTED)}
    try:
        return Path(snapshot_download(repository, local_files_only=True, **wanted))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(repository, **wanted))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(
            f"{KEY}: there is no folder {name}, and the hub does not give it ({why[:160]})",
            do="check the name and the connection, or fetch it elsewhere and name its folder",
        ) from None


def _config(name: str, folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise RecipeError(f"{KEY}: {name} holds no config.json", do="name a folder in the hub's form, as save_pretrained writes it")
    config = _json(name, folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise RecipeError(f"{KEY}: config.json of {name} names no model_type", do="save the model with a current transformers")
    if _asks_for_code(config):
        raise RecipeError(
            f"{KEY}: {name} asks for code of its own (auto_map), which is never run", do="choose a model that transformers itself knows"
        )
    if (folder / "adapter_config.json").exists():
        raise RecipeError(
            f"{KEY}: {name} is an adapter to another model", do="merge it into that model (peft: merge_and_unload) and save the whole"
        )
    if config.get("is_encoder_decoder") or {"text_config", "vision_config"} & set(config):
        raise RecipeError(
            f"{KEY}: {name} ({config['model_type']}) is more than one encoder", do="save its text or its image encoder by itself"
        )
    return config


def _asks_for_code(value: Any) -> bool:
    if isinstance(value, dict):
        return "auto_map" in value or any(map(_asks_for_code, value.values()))
    return isinstance(value, list) and any(map(_asks_for_code, value))


def _weights(name: str, folder: Path) -> list[str]:
    """Return the names of the files of weights."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted({str(part) for part in dict(_json(name, index).get("weight_map") or {}).values()})
        lacking = [part for part in parts if Path(part).name != part or not part.endswith(".safetensors") or not (folder / part).is_file()]
        if lacking or not parts:
            raise RecipeError(
                f"{KEY}: {name} lacks the weights {', '.join(lacking[:3]) or 'that its index names'}", do="fetch the model again"
            )
        return [index.name, *parts]
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        line = f"AutoModel.from_pretrained('{name}').save_pretrained('{Path(name).name}-safetensors')"
        raise RecipeError(
            f"{KEY}: {name} holds its weights as {pickles[0]} only; such a file can run code and is not read",
            do=f'where you trust its origin, convert it and copy the tokenizer: python -c "from transformers import AutoModel; {line}"',
        )
    raise RecipeError(f"{KEY}: {name} holds no model.safetensors", do="name a folder in the hub's form, as save_pretrained writes it")


def _tokenizer(name: str, folder: Path) -> str:
    """Return the tokenizer's state, without cutting or padding of its own."""
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = read_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        elif (folder / "vocab.txt").is_file():
            tokenizer = _word_pieces(name, folder)
        else:
            raise RecipeError(
                f"{KEY}: {name} holds neither tokenizer.json nor vocab.txt",
                do=f"python -c \"from transformers import AutoTokenizer as A; A.from_pretrained('{name}').save_pretrained('{name}')\"",
            )
    except (ValueError, OSError) as error:
        raise RecipeError(f"{KEY}: the tokenizer of {name} can not be read ({str(error)[:160]})", do="fetch the model again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return canonical(tokenizer.to_str())


def _word_pieces(name: str, folder: Path) -> Any:
    """Return BERT's tokenizer of a vocab.txt: one token a line, [CLS] and [SEP] around each text (Devlin 2019)."""
    made = library()
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {token: place for place, token in enumerate(lines)}
    lacking = [token for token in ("[UNK]", "[CLS]", "[SEP]") if token not in vocabulary]
    if lacking:
        raise RecipeError(
            f"{KEY}: vocab.txt of {name} lacks {lacking[0]}: it is not of BERT's kind", do="save its fast tokenizer as tokenizer.json"
        )
    path = folder / "tokenizer_config.json"
    options = _json(name, path) if path.is_file() else {}
    tokenizer = made.Tokenizer(made.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = made.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        strip_accents=options.get("strip_accents"), lowercase=bool(options.get("do_lower_case", True)),
    )  # fmt: skip
    tokenizer.pre_tokenizer = made.pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = made.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.decoder = made.decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token in vocabulary])
    return tokenizer


def _pad(config: dict[str, Any], tokenizer: str) -> int:
    stated = config.get("pad_token_id")
    if isinstance(stated, int) and 0 <= stated < int(config["vocab_size"]):
        return stated
    found = read_tokenizer(tokenizer)
    return next((number for token in ("[PAD]", "<pad>") if (number := found.token_to_id(token)) is not None), 0)


def _check_ids(name: str, tokenizer: str, config: dict[str, Any]) -> None:
    highest = max(read_tokenizer(tokenizer).get_vocab(with_added_tokens=True).values(), default=0)
    if highest >= int(config["vocab_size"]):
        raise RecipeError(
            f"{KEY}: the tokenizer of {name} does not fit its model: it gives ids up to {highest:,} of {config['vocab_size']:,}",
            do="put the tokenizer beside the model that it was saved with",
        )


def _longest(folder: Path, config: dict[str, Any], pad: int) -> int | None:
    """Return the most tokens of a row, those at its ends included."""
    places = config.get("max_position_embeddings") or config.get("n_positions")
    found = [int(places) - (pad + 1 if config["model_type"] in PLACES_AFTER_PADDING else 0)] if places else []
    path = folder / "tokenizer_config.json"
    stated = _json(str(folder), path).get("model_max_length") if path.is_file() else None
    found += [int(stated)] if isinstance(stated, int | float) and 0 < stated <= MOST_STATED_LENGTH else []
    return min(found, default=None)


def _image_form(name: str, folder: Path, config: dict[str, Any]) -> ImageForm:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise RecipeError(
            f"{KEY}: {name} holds no preprocessor_config.json: how its images are normalised is not known",
            do=f"save its AutoImageProcessor into {name}",
        )
    options = _json(name, path)
    if options.get("do_flip_channel_order"):
        raise RecipeError(f"{KEY}: {name} reads colours in the order blue, green, red, which is not supported", do="choose another model")
    channels = int(config.get("num_channels", 3))
    size = _side(config.get("image_size")) or _side(options.get("crop_size")) or _side(options.get("size"))
    if size is None:
        raise RecipeError(f"{KEY}: {name} states no image size", do="write size into its preprocessor_config.json")
    plain = not options.get("do_normalize", True)
    mean = (0.0,) * channels if plain else tuple(map(float, options.get("image_mean") or ()))
    std = (1.0,) * channels if plain else tuple(map(float, options.get("image_std") or ()))
    if len(mean) != channels or len(std) != channels or min(std, default=0) <= 0:
        raise RecipeError(
            f"{KEY}: preprocessor_config.json of {name} has {len(mean)} means for {channels} channels", do="mend image_mean and image_std"
        )
    return ImageForm(size=size, channels=channels, mean=mean, std=std)


def _side(value: Any) -> tuple[int, int] | None:
    if isinstance(value, dict):
        value = [value["height"], value["width"]] if {"height", "width"} <= set(value) else value.get("shortest_edge")
    if isinstance(value, int) and value > 0:
        return value, value
    whole = isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and side > 0 for side in value)
    return (value[0], value[1]) if whole else None


def _licence(card: Path) -> str:
    """Return what the front matter of the model's card states as its licence, empty where it states none."""
    import yaml

    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        stated = yaml.safe_load(found.group(1)) if found else None
    except yaml.YAMLError:
        return ""
    licence = stated.get("license") if isinstance(stated, dict) else None
    return str(licence)[:80] if isinstance(licence, str) else ""


def _json(name: str, path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{KEY}: {path.name} of {name} can not be read ({str(error)[:160]})", do="fetch the model again") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{KEY}: {path.name} of {name} is not a JSON object", do="fetch the model again")
    return value
