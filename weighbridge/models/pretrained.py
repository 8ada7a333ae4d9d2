"""Pretrained encoders of texts or images (Hugging Face transformers), read from a source's config and weights; no code of theirs is run.

A spec holds the encoder's config, so the network is built again without the source; its first weights are read from the source once.

Shape suffixes: B batch, L tokens or places, D width, H height, W width, C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from weighbridge.errors import DependencyError, RecipeError
from weighbridge.models.cnn import backbone
from weighbridge.models.fusion import Fusion
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenMean, masked_mean
from weighbridge.models.unsaid import unsaid
from weighbridge.preprocessing import Block, Source

if TYPE_CHECKING:
    from weighbridge.recipe import ModelOptions


class TextReader(nn.Module):
    """int32 [B, L] -> float [B, D]: the encoder over the tokens, then their mean or the first; zeros for a row without a token.

    Codes are ids plus 1 (preprocessing.text). Of a row without a token its first place is attended to, lest the softmax be over
    nothing. What is float already is taken for features that were computed before (training.features).
    """

    def __init__(self, encoder: nn.Module, *, own: bool, width: int, pad: int, pooling: str) -> None:
        super().__init__()
        self._shared = [encoder]  # one encoder for all columns: a module of the first reader, only pointed to by the others
        if own:
            self.encoder = encoder
        self.width, self.pad, self.first = width, pad, pooling == "first"

    def train(self, mode: bool = True) -> TextReader:
        super().train(mode)
        quiet(self._shared[0])
        return self

    def forward(self, codes_BL: Tensor) -> Tensor:
        if codes_BL.is_floating_point():
            return codes_BL
        held_BL = codes_BL != 0
        ids_BL = torch.where(held_BL, codes_BL - 1, self.pad).long()
        start_L = torch.arange(codes_BL.shape[1], device=codes_BL.device) == 0
        mask_BL = (held_BL | start_L).long()
        x_BLD: Tensor = self._shared[0](input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        if self.first:
            return x_BLD[:, 0] * held_BL[:, :1].to(x_BLD.dtype)
        return masked_mean(x_BLD, codes_BL)


class ImageReader(nn.Module):
    """uint8 [B, H, W, C] -> float [B, D]: scaled to the encoder's size, normalised by its own mean and deviation, read, and pooled."""

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, encoder: nn.Module, image: dict[str, Any], *, own: bool, width: int, pooling: str) -> None:
        super().__init__()
        self._shared = [encoder]
        if own:
            self.encoder = encoder
        self.size, self.channels = (int(image["size"][0]), int(image["size"][1])), int(image["channels"])
        self.width, self.first = width, pooling == "first"
        self.register_buffer("mean_C", torch.tensor(image["mean"]))
        self.register_buffer("std_C", torch.tensor(image["std"]))

    def train(self, mode: bool = True) -> ImageReader:
        super().train(mode)
        quiet(self._shared[0])
        return self

    def forward(self, image_BHWC: Tensor) -> Tensor:
        if image_BHWC.ndim == 2:
            return image_BHWC
        x_BCHW = self._sized(image_BHWC.to(torch.float32).permute(0, 3, 1, 2) / 255.0)
        x_BCHW = (x_BCHW - self.mean_C[:, None, None]) / self.std_C[:, None, None]
        found: Tensor = self._shared[0](pixel_values=x_BCHW).last_hidden_state
        if found.ndim == 4:  # a convolutional encoder: [B, D, H, W]
            return found.mean((2, 3))
        return found[:, 0] if self.first else found.mean(1)

    def _sized(self, x_BCHW: Tensor) -> Tensor:
        if x_BCHW.shape[1] != self.channels:
            x_BCHW = x_BCHW.expand(-1, self.channels, -1, -1) if x_BCHW.shape[1] == 1 else x_BCHW.mean(1, keepdim=True)
        if tuple(x_BCHW.shape[2:]) == self.size:
            return x_BCHW
        return functional.interpolate(x_BCHW, size=self.size, mode="bilinear", align_corners=False)


@model("pretrained")
def pretrained(spec: NetworkSpec) -> nn.Module:
    """Return the network around a pretrained encoder, its weights drawn at random; `begin` gives it those of the source.

    The encoder reads the columns of its kind; the others are read as by `cnn`: images by convolutions, texts as the mean of tokens.
    """
    known = spec.pretrained
    if known is None:
        raise RecipeError("training.model: pretrained needs a source", do="set training.model.source")
    kind = known["kind"]
    if not any(block.of == kind for block in spec.blocks):
        what = f"training.model.source: {known['source']} reads {'texts' if kind == 'text' else 'images'}, and the data has none"
        raise RecipeError(what, do="choose another source or another network, or set data.columns")
    encoder = build_encoder(known["config"])
    width = encoder_width(encoder)
    owned = next(block.name for block in spec.blocks if block.of == kind)

    def text(block: Block) -> tuple[nn.Module, int]:
        if kind != "text":
            return TokenMean(block, 2 * spec.sizes.width, spec.dropout), 2 * spec.sizes.width
        reader = TextReader(encoder, own=block.name == owned, width=width, pad=int(known["pad"]), pooling=known["pooling"])
        return reader, width

    def image(block: Block) -> tuple[nn.Module, int]:
        if kind != block.of:
            return backbone(spec, block)
        return ImageReader(encoder, known["image"], own=block.name == owned, width=width, pooling=known["pooling"]), width

    return Fusion(spec, image=image, text=text)


def describe_source(source: Source, options: ModelOptions) -> dict[str, Any]:
    """Return what a NetworkSpec keeps of a source: all that the network is built from, and where its weights came from."""
    image = source.image
    return {
        "source": source.name, "sha256": source.sha256, "weights_sha256": source.weights_sha256, "licence": source.licence,
        "kind": source.kind, "config": source.config, "pad": source.pad, "pooling": options.pooling,
        "image": None if image is None else {"size": list(image.size), "channels": image.channels, "mean": list(image.mean),
                                             "std": list(image.std)},
    }  # fmt: skip


def encoder_of(network: nn.Module) -> nn.Module:
    """Return the pretrained encoder within a network of this kind."""
    readers = (part for part in network.modules() if isinstance(part, TextReader | ImageReader))
    return next(readers)._shared[0]


def build_encoder(config: dict[str, Any]) -> nn.Module:
    """Return the encoder of a config with random weights, without a pooling head. Raises RecipeError for a kind that is not known."""
    library = transformers_library()
    kind = config["model_type"]
    if kind not in library.CONFIG_MAPPING:
        what = f"training.model.source: transformers {library.__version__} knows no model of type '{kind}'"
        raise RecipeError(what, do="install a newer transformers, or choose another model; code of a model's own is not run")
    with unsaid():  # the library imports more as it goes
        made = library.CONFIG_MAPPING[kind].from_dict(dict(config))
        try:
            encoder: nn.Module = library.AutoModel.from_config(made, trust_remote_code=False, add_pooling_layer=False)
        except TypeError:  # most encoders have no such head
            encoder = library.AutoModel.from_config(made, trust_remote_code=False)
    return encoder.float()


def read_weights(encoder: nn.Module, source: Source) -> None:
    """The encoder has the weights of the source. Raises RecipeError when they do not fit its config."""
    more = {} if any(name.startswith("pooler.") for name, _ in encoder.named_parameters()) else {"add_pooling_layer": False}
    kind: Any = type(encoder)
    settings: dict[str, Any] = {"config": encoder.config, "use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    try:
        try:
            found, said = kind.from_pretrained(str(source.folder), **settings, **more, dtype=torch.float32)
        except TypeError:
            found, said = kind.from_pretrained(str(source.folder), **settings, dtype=torch.float32)
        lacking = sorted(name for name in said["missing_keys"] if not name.startswith("pooler."))
        if lacking:
            raise ValueError(f"{len(lacking)} tensors are missing, {lacking[0]} first")
        encoder.load_state_dict(found.state_dict())
    except (RuntimeError, ValueError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise RecipeError(
            f"training.model.source: the weights of {source.name} do not fit its config.json ({why})", do="fetch the model again"
        ) from None


def encoder_width(encoder: nn.Module) -> int:
    """Return the width of the encoder's last layer."""
    config: Any = encoder.config
    return int(getattr(config, "hidden_size", None) or config.hidden_sizes[-1])


def quiet(encoder: nn.Module) -> None:
    """An encoder of which nothing is trained drops nothing either: a row has the same features at every epoch."""
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        nn.Module.train(encoder, False)


def transformers_library() -> Any:
    """Return the library, silent. Raises DependencyError with the pip line where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise DependencyError("training.model: pretrained needs transformers", do="pip install 'weighbridge[pretrained]'") from None
    library: Any = transformers
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


@contextlib.contextmanager
def peft() -> Iterator[Any]:
    """Give the library. Raises DependencyError with the pip line where it is not installed."""
    try:
        import peft as library
    except ImportError:
        raise DependencyError("training.model.tune: lora needs peft", do="pip install 'weighbridge[pretrained]'") from None
    yield library
