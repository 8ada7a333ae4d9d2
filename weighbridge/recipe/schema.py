"""The recipe's form. A section has the name of its stage; a key's description is its documentation, checked by a test."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from weighbridge.errors import did_you_mean
from weighbridge.recipe.anonymize import AnonymizeOptions
from weighbridge.recipe.audit import AuditSection
from weighbridge.recipe.deployment import DeploymentSection
from weighbridge.recipe.feedback import FeedbackSection
from weighbridge.recipe.labels import LabelOptions
from weighbridge.recipe.mitigation import Mitigation, MitigationSection
from weighbridge.recipe.optimization import OptimizationSection
from weighbridge.recipe.remedies import AdversarialOptions, ConstrainOptions, DebiasOptions, Mended, PrivacyOptions
from weighbridge.recipe.section import Auto, Key, Section, switch, type_only
from weighbridge.recipe.tracking import TrackingSection

RECIPE_VERSION = 1
Leak = Literal["duplicates", "near_duplicates", "target", "group", "time"]
ColumnType = Literal["number", "category", "date", "image", "audio", "text", "set", "id", "ignore"]


def _known_leaks(value: Any) -> Any:
    """Let a word stand for a list of one; a name that no leak has is refused with the nearest one that has."""
    names = [value] if isinstance(value, str) else value
    for name in names if isinstance(names, list) else ():
        if name not in get_args(Leak):
            raise ValueError(f"there is no leak '{name}'{did_you_mean(str(name), get_args(Leak))}; known: {', '.join(get_args(Leak))}")
    return names


class CsvOptions(Section):
    delimiter: str = Key("auto", "field separator; auto looks at the first lines", min_length=1)
    names: list[str] | None = Key(None, "column names, for a file without a header line")
    skip_rows: int = Key(0, "lines to skip before the header", ge=0)
    missing: list[str] = Key(["", "NA", "NaN", "nan", "null", "NULL", "None", "?"], "texts that mean a missing value")
    encoding: str = Key("utf-8", "text encoding of the file; bytes that do not fit are an error")
    strip: bool = Key(True, "remove spaces around values")


class CleanOptions(Section):
    duplicates: Literal["auto", "drop", "keep", "refuse"] = Key(
        "auto", "rows equal to an earlier row in every column; auto: dropped, but where texts or images come again in more than a tenth of the rows and the source gives no split, the leak gate asks"
    )
    near_duplicates: Literal["refuse", "drop"] = Key(
        "refuse", "training and validation rows whose image or text is a near copy of one on a later side; of a given split they are dropped anyway"
    )
    conflicts: Literal["keep", "drop", "refuse"] = Key("keep", "rows with equal inputs and different targets")
    constants: Literal["drop", "keep"] = Key("drop", "columns with one value only")
    ids: Literal["drop", "keep"] = Key("drop", "columns that only number or name the rows")
    missing_target: Literal["refuse", "drop"] = Key("refuse", "rows without a target (empty or NaN)")
    unreadable: Literal["refuse", "skip"] = Key("refuse", "images and clips that can not be opened")
    most_missing: float = Key(0.95, "an input column with a larger share of missing values is left out", ge=0, le=1)
    labels: LabelOptions = Key(LabelOptions(), "training rows whose label is known to be wrong")


class SplitOptions(Section):
    method: Literal["auto", "hash", "stratified", "group", "time", "given"] = Key(
        "auto", "auto: given when the source has splits or split.column is set, group when data.group is set, time when data.time is set, else hash"
    )
    validation: float = Key(0.15, "share of rows for early stopping and choice", gt=0, lt=1)
    test: float = Key(0.2, "share of rows read once per decision", gt=0, lt=1)
    column: str | None = Key(None, "column that holds train, validation or test for each row (method given)")
    train_rows: int | None = Key(None, "learn from at most this many training rows, chosen at random, a smaller part within a larger; validation and test rows stay the same", ge=1)

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"split.validation {self.validation} and split.test {self.test} leave no rows to train on")
        if self.column is not None and self.method not in ("auto", "given"):
            raise ValueError(f"split.column and split.method: {self.method} contradict each other; method given reads the column")
        return self


class DataSection(Section):
    source: str | dict[Literal["train", "validation", "test"], str] = Key(
        ..., "path, URL (any that fsspec opens), sklearn://NAME, hf://OWNER/NAME, database URL with data.query, or one of these for each split"
    )
    format: Literal["auto", "csv", "parquet", "jsonl", "arrow", "images", "audio", "idx", "sklearn", "hf", "sql"] = Key("auto", "how to read the source; auto goes by its name")
    target: str = Key("label", "the column to predict (label: the class folder of images or clips, the labels of idx files)")
    query: str | None = Key(None, "SQL query, for a database URL")
    columns: dict[str, ColumnType] = Key({}, "types that override what is inferred: number, category, date, image, audio, text, set, id, ignore")
    id: str | None = Key(None, "column that names a row for ever; default: a hash of the row's inputs")
    group: str | None = Key(None, "column whose values must not stand on two sides of a split (patient, user, document)")
    time: str | None = Key(None, "column of time; with method time the newest rows are the test split")
    weight: str | None = Key(None, "column of numbers that say how much each training row counts in the loss; it is no input")
    protected: list[str] = Key([], "columns between whose groups fairness is measured")
    limit: int | None = Key(None, "read the first rows only", ge=1)
    csv: CsvOptions = Key(CsvOptions(), "how CSV files are read")
    clean: CleanOptions = Key(CleanOptions(), "what is done with rows and columns that do not fit")
    split: SplitOptions = Key(SplitOptions(), "which rows train, choose and judge")
    anonymize: AnonymizeOptions = Key(AnonymizeOptions(), "what is taken out of the rows before anything of them is kept")
    allow: Annotated[list[Leak], BeforeValidator(_known_leaks)] = Key([], "leaks that do not stop the run; the report says so for each one found")

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.split.method == "group" and self.group is None:
            raise ValueError("split.method: group needs data.group: the column whose values stay together")
        if self.split.method == "time" and self.time is None:
            raise ValueError("split.method: time needs data.time: the column to order the rows by")
        if self.target in (self.group, self.time, self.id, self.weight):
            raise ValueError(f"data.target '{self.target}' is also named as id, group, time or weight; it can only be one of them")
        if self.weight is not None and self.weight in (self.group, self.time, self.id, self.split.column):
            raise ValueError(f"data.weight '{self.weight}' is also named as id, group, time or split.column; it can only be one of them")
        if self.columns.get(self.target) in ("ignore", "id", "image", "audio", "text", "date"):
            raise ValueError(f"data.columns.{self.target}: {self.columns[self.target]} contradicts data.target; a target is a category, number or set")
        self.anonymize.refuse_roles(target=(self.target,), group=(self.group,), time=(self.time,), weight=(self.weight,), protected=self.protected)
        if isinstance(self.source, dict) and "train" not in self.source:
            raise ValueError("data.source needs train: when it names a source for each split")
        return self


class NumberOptions(Section):
    scale: Literal["standard", "robust", "quantile", "none"] = Key("standard", "standard: mean 0, deviation 1; robust: median and quartile range; quantile: to a normal distribution")
    missing: Literal["median", "mean"] = Key("median", "value that stands for a missing one")
    indicator: bool = Key(True, "add an input that says that the value was missing (where any was, in training rows)")
    clip: float = Key(10.0, "scaled values are kept within plus and minus this", gt=0)


class CategoryOptions(Section):
    rare: int = Key(3, "values seen fewer times in training rows share one code", ge=1)
    most: int = Key(1000, "at most this many codes a column; the most frequent ones", ge=2)


class DateOptions(Section):
    parts: list[Literal["trend", "year", "month", "weekday", "day", "hour"]] = Key(["trend", "month", "weekday", "hour"], "what is taken from a date; cyclic parts as sine and cosine")


class ImageOptions(Section):
    size: int | tuple[int, int] | None = Key(None, "height and width in pixels; default: the images' own when they agree, else 64")
    channels: Literal[1, 3] | None = Key(None, "1 for grey, 3 for colour; default: as most images have it")


class AudioOptions(Section):
    rate: int | Auto = Key("auto", "samples a second that clips are brought to, 1,000 to 384,000; auto: what most training clips have, at most 16,000")
    seconds: float | Auto = Key("auto", "length of every clip: a longer one is cut, silence stands behind a shorter one; auto: what 95 % of training clips need, at most 10")
    mels: int = Key(40, "bands of the spectrogram, even on the mel scale", ge=4, le=256)
    window: float = Key(0.025, "seconds of sound that one column of the spectrogram shows", ge=0.001, le=1)
    hop: float = Key(0.01, "seconds from one column of the spectrogram to the next", ge=0.001, le=1)

    @field_validator("rate")
    @classmethod
    def _known_rate(cls, value: int | str) -> int | str:
        if not isinstance(value, str) and not 1_000 <= value <= 384_000:
            raise ValueError(f"must be auto or 1000 to 384000, not {value}")
        return value

    @field_validator("seconds")
    @classmethod
    def _known_length(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0.01 <= value <= 600:
            raise ValueError(f"must be auto or 0.01 to 600, not {value}")
        return value


class SetOptions(Section):
    separator: str = Key(";", "what stands between the values of a set that is written as text", min_length=1)
    rare: int = Key(3, "values seen fewer times in training rows are left out", ge=1)


class TextOptions(Section):
    tokens: Literal["auto", "bpe", "word", "character", "pretrained"] = Key("auto", "what a text is cut into; auto: the pretrained model's own, character for strings of a small alphabet without spaces (DNA, SMILES), word for scripts with spaces between words where few words come once only, else bpe (pieces of bytes; Chinese needs no segmenter)")
    vocabulary: int | None = Key(None, "at most this many tokens are learnt from training rows; default: 30,000 words, or 8,000 pieces or characters", ge=300, le=1_000_000)
    length: int | None = Key(None, "a text is cut after this many tokens; default: what 99 % of training rows need, at most 512", ge=1, le=65536)
    normalize: Literal["nfkc", "nfc", "none"] = Key("nfkc", "Unicode form: nfkc makes full-width and half-width characters one, nfc only joins accents")
    lowercase: bool = Key(True, "capital letters become small ones (not where tokens are characters)")


class PreprocessingSection(Section):
    number: NumberOptions = Key(NumberOptions(), "columns of numbers")
    category: CategoryOptions = Key(CategoryOptions(), "columns of categories")
    date: DateOptions = Key(DateOptions(), "columns of dates")
    image: ImageOptions = Key(ImageOptions(), "columns of images")
    audio: AudioOptions = Key(AudioOptions(), "columns of clips of sound")
    set: SetOptions = Key(SetOptions(), "columns of sets")
    text: TextOptions = Key(TextOptions(), "columns of text")
    like: str | None = Key(None, "run folder whose encoder is taken as it is, instead of one that is fitted to the training rows; a retraining from the champion's weights sets it")
    pretrained: str | None = Key(None, "the source whose tokenizer cuts the texts and whose image size is the largest kept; training.model.source is written here, and a network from scratch may use another's tokenizer")


class ModelOptions(Section):
    type: str = Key("auto", "auto, linear, mlp, cnn, rnn, transformer, pretrained, or the name of a plugin; auto: cnn where images or clips are, transformer where texts are, else mlp")
    size: Literal["xs", "s", "m", "l", "xl"] = Key("s", "the one dial: width and depth are derived from it and printed")
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "gelu"] = Key("relu", "non-linearity between layers")
    dropout: float = Key(0.1, "share of activations hidden while training", ge=0, lt=1)
    residual: bool = Key(False, "cnn: add skip connections (He 2016)")
    convolutions: int = Key(2, "cnn: convolutions in each stage", ge=1, le=4)
    norm: bool = Key(True, "cnn: batch normalisation after each convolution (Ioffe 2015)")
    flatten: bool = Key(False, "cnn: give every place of the last stage to the head, instead of their mean")
    hidden: list[Annotated[int, Field(ge=1)]] | None = Key(None, "mlp: widths of the hidden layers instead of the dial; cnn: hidden layers of the head (default: none, but where a table stands beside the images)")
    channels: list[Annotated[int, Field(ge=1)]] | None = Key(None, "cnn: channels of each block, instead of the dial")
    width: int | None = Key(None, "transformer: width of a token, instead of the dial; rnn: half of the width of a layer", ge=4)
    depth: int | None = Key(None, "transformer: number of blocks, rnn: of layers, instead of the dial", ge=1)
    cell: Literal["lstm", "gru"] = Key("lstm", "rnn: the recurrent cell (Hochreiter 1997; Cho 2014)")
    bidirectional: bool = Key(True, "rnn: read each text in both directions")
    vectors: str | None = Key(None, "rnn: file of word vectors that tokens begin with: text in the form of word2vec or GloVe, or .npy with its words one a line in the .txt beside it")
    source: str | None = Key(None, "pretrained: folder in the hub's form (config.json, model.safetensors, tokenizer.json), or OWNER/NAME[@REVISION] of the hub; weights as safetensors only, code of its own is never run")
    tune: Literal["frozen", "last", "all", "lora", "scratch"] = Key("frozen", "pretrained: what is trained beside the head: frozen nothing, last the last blocks, all everything, lora low-rank additions to all linear maps of the blocks (Hu 2022); scratch: everything, from weights drawn anew, to measure what pretraining is worth")
    blocks: int = Key(2, "pretrained with tune last: this many of the last blocks", ge=1)
    lora_rank: int = Key(8, "pretrained with tune lora: rank of the additions", ge=1, le=1024)
    pooling: Literal["mean", "first"] = Key("mean", "pretrained: a text or image is the mean over its tokens or places (Reimers 2019), or its first token ([CLS])")
    options: dict[str, Any] = Key({}, "further options of a plugin model, given to it as they are")
    start: str | None = Key(None, "run folder whose trained weights training goes on from, under preprocessing.like the same run; a retraining sets it")

    @model_validator(mode="after")
    def _source_and_type(self) -> Self:
        if self.type == "pretrained" and self.source is None:
            raise ValueError("training.model.type: pretrained needs training.model.source: a folder in the hub's form, or OWNER/NAME of the hub")
        if self.vectors is not None and self.type != "rnn":
            raise ValueError(f"training.model.vectors and training.model.type: {self.type} contradict each other; word vectors are for type rnn")
        if self.type != "pretrained" and self.source is not None:
            raise ValueError(f"training.model.source and training.model.type: {self.type} contradict each other; a source is for type pretrained")
        return self


class OptimizerOptions(Section):
    type: Literal["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"] = Key("adamw", "update rule")
    lr: float | Auto = Key("auto", "learning rate at its highest; auto: the model's own default")
    momentum: float = Key(0.9, "for momentum and rmsprop", ge=0, lt=1)
    beta1: float = Key(0.9, "for adam and adamw", ge=0, lt=1)
    beta2: float = Key(0.999, "for adam and adamw", ge=0, lt=1)
    layer_decay: float = Key(1.0, "pretrained: each block learns at this share of the rate of the block above it (Howard 2018); 1: all at one rate; usual are 0.65 to 0.95", gt=0, le=1)

    @field_validator("lr")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 < value < 100:
            raise ValueError(f"a learning rate is above 0 and below 100, not {value}")
        return value


class ScheduleOptions(Section):
    type: Literal["constant", "cosine", "one_cycle", "plateau"] = Key("cosine", "how the learning rate moves over the steps")
    warmup: float = Key(0.05, "share of the steps in which it rises from 0", ge=0, lt=1)
    patience: int = Key(3, "plateau: validations without improvement before it is divided", ge=1)
    factor: float = Key(0.3, "plateau: what it is multiplied with", gt=0, lt=1)


class EarlyStopping(Section):
    enabled: bool = Key(True, "stop when the validation rows no longer improve, and keep the best weights")
    patience: int = Key(10, "validations without improvement before stopping", ge=1)
    metric: Literal["auto", "loss", "accuracy", "rmse"] = Key("auto", "what must improve; auto: loss")
    least: float = Key(0.0, "a smaller improvement does not count", ge=0)


class AugmentOptions(Section):
    flip: bool = Key(False, "images: mirror left and right")
    crop: int = Key(0, "images: shift by up to this many pixels", ge=0)
    erase: float = Key(0.0, "images: chance of a hidden rectangle (Zhong 2020)", ge=0, le=1)
    mixup: float = Key(0.0, "strength alpha of mixup of rows (Zhang 2018); images and numbers", ge=0)
    cutmix: float = Key(0.0, "images: strength alpha of cutmix (Yun 2019)", ge=0)
    noise: float = Key(0.0, "numbers: standard deviation of added noise, in scaled units", ge=0)
    time_shift: float = Key(0.0, "clips: move to and fro by up to this share of their length", ge=0, le=0.5)
    spectrogram_masks: int = Key(0, "clips: this many runs of bands and of moments are hidden, each up to a fifth (SpecAugment, Park 2019)", ge=0, le=8)
    token_dropout: float = Key(0.0, "texts: share of tokens hidden at random places", ge=0, lt=1)
    span_mask: float = Key(0.0, "texts: share of tokens hidden in runs of three on average", ge=0, lt=1)
    modality_dropout: float = Key(0.0, "several inputs: chance that an image, a clip or a text is hidden in a row as if it were missing, so that the network learns to go without (Neverova 2016)", ge=0, lt=1)


class TrainingSection(Mended):
    model: Annotated[ModelOptions, type_only("type")] = Key(ModelOptions(), "the network; a word stands for model.type")
    loss: Literal["auto", "cross_entropy", "log_loss", "focal", "mse", "huber"] = Key("auto", "auto: cross_entropy for categories, log_loss for sets, mse for numbers")
    focal_gamma: float = Key(2.0, "focal: weight of hard rows (Lin 2017)", ge=0)
    huber_delta: float = Key(1.0, "huber: where the square ends, in deviations of the target", gt=0)
    class_weights: Literal["none", "balanced"] | dict[str, float] = Key("none", "weights of the classes in the loss")
    balance: Literal["none", "resample", "square_root"] = Key("none", "how often rows of each class come in an epoch, whose length stays: none as they are, resample all classes alike, square_root as the square roots of their rows (Kang 2020; Mahajan 2018)")
    reweigh: list[str] = Key([], "columns (sex, race) by which training rows are weighted so that their groups and the classes come together as often as by chance (Kamiran and Calders 2012); several are crossed")
    label_smoothing: float = Key(0.0, "share of the target spread over all classes", ge=0, lt=1)
    optimizer: Annotated[OptimizerOptions, type_only("type")] = Key(OptimizerOptions(), "the update rule; a word stands for optimizer.type")
    schedule: Annotated[ScheduleOptions, type_only("type")] = Key(ScheduleOptions(), "the learning rate over time; a word stands for schedule.type")
    l1: float = Key(0.0, "weight of the sum of absolute weights", ge=0)
    l2: float = Key(1e-4, "weight decay: decoupled for adamw (Loshchilov 2019), else added to the gradient", ge=0)
    epochs: int = Key(30, "passes over the training rows, at most", ge=1)
    budget: float | None = Key(None, "minutes of training, at most; the number of steps is fixed from a measured trial, so that a resumed run ends equal", gt=0)
    batch_size: int | Auto = Key("auto", "rows a step; auto: by a short measured trial")
    order: Literal["auto", "whole", "blocks"] = Key("auto", "how training rows are shuffled: whole, or for data larger than memory by blocks within windows; auto: blocks where they take over half of the free memory")
    accumulate: int = Key(1, "batches whose gradients are summed before an update", ge=1)
    clip: float | None = Key(1.0, "largest norm of the gradient; null: unbounded", gt=0)
    ema: float = Key(0.0, "decay of the moving average of weights that is kept instead of the last (0: none)", ge=0, lt=1)
    early_stopping: EarlyStopping = Key(EarlyStopping(), "when to stop")
    augment: AugmentOptions = Key(AugmentOptions(), "changes to whole batches while training")
    adversarial: AdversarialOptions = Key(AdversarialOptions(), "learn from inputs that are moved against the network, so that small changes do not turn its answers")
    debias: DebiasOptions = Key(DebiasOptions(), "learn answers from which an adversary can not read a column")
    constrain: ConstrainOptions = Key(ConstrainOptions(), "learn under the constraint that rates are alike in all groups of a column")
    privacy: PrivacyOptions = Key(PrivacyOptions(), "learn so that the weights tell little of any one training row")
    precision: Literal["auto", "fp32", "bf16"] = Key("auto", "auto: the faster by a short measured trial")
    memory_format: Literal["auto", "contiguous", "channels_last"] = Key("auto", "auto: the faster by a short measured trial")
    compile: bool | Auto = Key("auto", "torch.compile; auto: tried where the training is long enough to pay for it")
    device: str = Key("auto", "auto, cpu, cuda, cuda:1, mps")
    seeds: int = Key(1, "how often the network is trained, each time from another seed; the first is packaged, the others show the spread", ge=1, le=100)
    threads: int | Auto = Key("auto", "CPU threads; auto: all physical cores that this process may use")
    checkpoint_s: float = Key(30.0, "seconds between saved states; the end of training and a stop save one, too", gt=0)

    @field_validator("batch_size", "threads")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if not isinstance(value, str) and value < 1:
            raise ValueError(f"must be auto or at least 1, not {value}")
        return value

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.optimizer.layer_decay != 1 and self.model.type != "pretrained":
            raise ValueError(f"training.optimizer.layer_decay and training.model.type: {self.model.type} contradict each other; layer-wise rates are for type pretrained")
        if self.augment.mixup and self.augment.cutmix:
            raise ValueError("training.augment.mixup and training.augment.cutmix contradict each other; a batch is mixed in one way")
        if self.label_smoothing and self.loss in ("mse", "huber"):
            raise ValueError(f"training.label_smoothing and training.loss: {self.loss} contradict each other; smoothing is for classes")
        if self.class_weights != "none" and self.loss in ("mse", "huber"):
            raise ValueError(f"training.class_weights and training.loss: {self.loss} contradict each other; weights are for classes")
        return self


class LearningCurveOptions(Section):
    enabled: bool = Key(False, "train on nested subsets of the training rows too: would more rows help? Off because it costs about six trainings")
    sizes: int = Key(5, "sizes of subsets, each half of the next, the largest all training rows", ge=5, le=12)
    repeats: int = Key(3, "trainings at each size, each on other rows and from another seed", ge=3, le=50)
    budget: float = Key(30.0, "minutes that all of it may take, estimated from the run's own training; beyond that it is not measured", gt=0)
    times: float = Key(2.0, "how many times the training rows the curve is carried on to; beyond 4 it says that nothing supports it", gt=1, le=1000)


class EvaluationSection(Section):
    baselines: list[Literal["trivial", "linear", "boosting"]] = Key(["trivial", "linear", "boosting"], "what the model is compared with; trivial: majority class or mean")
    resamples: int = Key(2000, "bootstrap resamples for an interval", ge=200)
    worst: int = Key(12, "mistakes shown in the report", ge=0, le=60)
    slices: bool = Key(True, "look for slices of the inputs where the model is weak: found on validation rows, judged on test rows")
    learning_curve: Annotated[LearningCurveOptions, switch] = Key(LearningCurveOptions(), "would more training rows help; true stands for learning_curve.enabled")


class ReportSection(Section):
    language: Literal["en", "zh"] = Key("en", "language of the report and the card")


class Recipe(Section):
    """The whole recipe; defaults are what an expert would accept."""

    version: Literal[1] = Key(RECIPE_VERSION, "version of the recipe's form")
    name: str | None = Key(None, "name of the run folder; default: the recipe file's name", pattern=r"^[\w][\w.\-]{0,99}$")
    seed: int = Key(0, "all randomness is derived from it by named keys", ge=0, lt=2**31)
    data: DataSection = Key(..., "what is read, cleaned and split")
    preprocessing: PreprocessingSection = Key(PreprocessingSection(), "how columns become arrays")
    training: TrainingSection = Key(TrainingSection(), "the network and how it learns")
    optimization: Annotated[OptimizationSection, switch] = Key(OptimizationSection(), "which network is the most capable, and which is its lightest form that is not measurably worse; false leaves the network as it is")
    evaluation: EvaluationSection = Key(EvaluationSection(), "how it is judged")
    audit: Annotated[AuditSection, switch] = Key(AuditSection(), "which limitations are measured; false: none beyond what the evaluation shows")
    mitigation: Mitigation = Key(MitigationSection(), "which remedies are tried, and what each costs; a list stands for mitigation.remedies")
    deployment: DeploymentSection = Key(DeploymentSection(), "what is packaged")
    feedback: FeedbackSection = Key(FeedbackSection(), "what may happen by itself to the model in service")
    report: ReportSection = Key(ReportSection(), "how findings are shown")
    tracking: TrackingSection = Key(TrackingSection(), "who else is told: a list of trackers, or a mapping with their options; changes no result")

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        has_time = self.data.time is not None and self.data.split.method in ("auto", "time")
        if has_time and self.data.group is not None and self.data.split.method == "auto":
            raise ValueError("data.group and data.time are both set; say which one splits with data.split.method: group or time")
        if self.training.privacy.enabled and self.optimization.enabled:
            raise ValueError("training.privacy and optimization contradict each other; what competes with the network and what makes it lighter reads training rows without noise: set optimization: false")
        return self

    @model_validator(mode="after")
    def _same_encoder(self) -> Self:
        start, like = self.training.model.start, self.preprocessing.like
        if start is not None and start != like:
            raise ValueError(f"training.model.start: {start} and preprocessing.like: {like} contradict each other; weights read only what their own encoder wrote")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        """The source is named with the model and needed before it: preprocessing.pretrained holds it too, and so does that stage's key."""
        source, known = self.training.model.source, self.preprocessing.pretrained
        if source is not None and known is None:
            object.__setattr__(self, "preprocessing", self.preprocessing.model_copy(update={"pretrained": source}))
        elif source is not None and known != source:
            raise ValueError(f"preprocessing.pretrained: {known} and training.model.source: {source} contradict each other; leave out the first")
        if self.preprocessing.text.tokens == "pretrained" and self.preprocessing.pretrained is None:
            raise ValueError("preprocessing.text.tokens: pretrained needs preprocessing.pretrained or training.model.source: whose tokens")
        return self
