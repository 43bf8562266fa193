"""Training recipes: one TOML file, two tables, no inheritance.

A recipe says everything that decides the result of a training run; an unknown key is an error, so
a typing mistake cannot train something else in silence.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from specformer_encoder.errors import RecipeError
from specformer_encoder.model import ModelConfig

T = TypeVar("T")

_POSITIVE = (
    "length",
    "width",
    "layers",
    "heads",
    "expansion",
    "steps",
    "batch",
    "learning_rate",
    "warmup",
    "temperature",
    "validate_every",
    "thin_reads",
)
_SHARES = ("mask", "dropout_keep")
_PROBABILITIES = (
    "dither",
    "shift_probability",
    "noise_probability",
    "thin_probability",
    "dropout_probability",
    "panel_share",
    "random_share",
    "kept_share",
)
_NOT_NEGATIVE = ("noise", "tilt", "decode_weight", "agree_weight", "window_stride")

_HERE = Path(__file__).parent
#: In an installed package the recipes lie inside it, in a checkout beside it.
RECIPES = next((d for d in (_HERE / "recipes", _HERE.parent / "recipes") if d.is_dir()), _HERE)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train."""

    seed: int
    """Decides initialisation, batches, masks and dropped genes."""
    steps: int
    """Optimiser steps."""
    batch: int
    """Samples a step; each is seen in two views."""
    learning_rate: float
    """Highest rate; linear warm-up, then a cosine down to a tenth."""
    warmup: int
    """Steps of warm-up."""
    weight_decay: float
    """Decoupled weight decay of the matrices inside the blocks; gene vectors are not decayed."""
    mask: float
    """Share of a sequence's genes that are hidden in training; validation always hides 0.15."""
    decode_weight: float
    """Weight of the whole-profile decoding loss beside the masked-gene loss; 0 leaves it out."""
    agree_weight: float
    """Weight of the agreement between two views of a sample; 0 leaves it out."""
    temperature: float
    """Of the agreement's cosine similarities."""
    dither: float
    """Share of a stored level's step over which it is spread in training; 0 keeps the middle."""
    shift_probability: float
    """Share of the genome-wide profiles of a view that are shifted to another pipeline."""
    noise_probability: float
    """Share of the profiles of a view that get pipeline noise."""
    noise: float
    """Octaves; highest standard deviation of that noise over genes."""
    tilt: float
    """Octaves; standard deviation of its slopes on the genes' typical level and log length."""
    thin_probability: float
    """Share of the profiles of a view that are counted once more with fewer reads."""
    thin_reads: float
    """Fewest reads of such a profile; the number is log-uniform up to 3e7."""
    dropout_probability: float
    """Share of the views in which genes are dropped as if a panel had not measured them."""
    dropout_keep: float
    """Smallest share of the vocabulary kept in such a view; the share is log-uniform up to 1."""
    panel_share: float
    """Share of such views that keep the genes of a real panel of the corpus instead."""
    panel_weight: float
    """How often a panel profile is drawn beside a genome-wide one of an equally large cohort."""
    warm_start: bool
    """Begin with gene vectors from the co-occurrence of genes in the training sequences."""
    validate_every: int
    """Steps between validations; the checkpoint with the lowest validation loss is kept."""
    bfloat16: bool
    """Compute in bfloat16 where it is safe; weights stay in float32."""
    random_share: float = 0.0
    """Share of the hidden genes in whose place training shows a random gene, not the mask."""
    kept_share: float = 0.0
    """Share of the hidden genes that training shows all the same, to be named again."""
    window_stride: int = 0
    """Training reads a window of the whole sequence that begins at a random multiple of this;
    0 reads the first genes, as validation and the finished encoder always do."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run's whole description."""

    name: str
    model: ModelConfig
    train: TrainConfig


def load_recipe(name: str, genes: int) -> Recipe:
    """Read a recipe by name (`debug`, `cpu`, …) or path.

    Parameters
    ----------
    name
        Name of a bundled recipe, or the path of a TOML file.
    genes
        Size of the vocabulary, V.

    Raises
    ------
    RecipeError
        If there is no such recipe, or a key is unknown, missing or of the wrong type.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise RecipeError(f"There is no recipe {name!r}.", f"Use one of {known}, or a .toml file.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.", "Mend that line.") from error
    if "genes" in tables.get("model", {}):
        raise RecipeError(f"{path} sets genes, which the corpus decides.", "Leave it out.")
    extra = set(tables) - {"model", "train"}
    if extra:
        raise RecipeError(f"{path} has an unknown table {min(extra)!r}.", "Use model and train.")
    model = _fill(ModelConfig, {"genes": genes, **tables.get("model", {})}, path)
    train = _fill(TrainConfig, tables.get("train", {}), path)
    _check_ranges(model, train, path)
    return Recipe(path.stem, model, train)


def stored_recipe(text: str) -> Recipe | None:
    """The recipe that a checkpoint carries as JSON; None if it has keys that are not known here.

    Keys that came later take their defaults, with which they change nothing.
    """
    tables = json.loads(text)
    try:
        model, train = ModelConfig(**tables["model"]), TrainConfig(**tables["train"])
    except TypeError:
        return None
    return Recipe(tables["name"], model, train)


def _check_ranges(model: ModelConfig, train: TrainConfig, path: Path) -> None:
    sizes = {**dataclasses.asdict(model), **dataclasses.asdict(train)}
    for name in _POSITIVE:
        if sizes[name] <= 0:
            raise RecipeError(f"{path}: {name} = {sizes[name]} must be above zero.", "Correct it.")
    for name in _SHARES:
        if not 0 < sizes[name] <= 1:
            raise RecipeError(f"{path}: {name} = {sizes[name]} must be in (0, 1].", "Correct it.")
    for name in _PROBABILITIES:
        if not 0 <= sizes[name] <= 1:
            raise RecipeError(f"{path}: {name} = {sizes[name]} must be in [0, 1].", "Correct it.")
    for name in _NOT_NEGATIVE:
        if sizes[name] < 0:
            raise RecipeError(f"{path}: {name} = {sizes[name]} must not be below 0.", "Correct it.")
    if train.random_share + train.kept_share > 1:
        raise RecipeError(
            f"{path}: random_share {train.random_share} and kept_share {train.kept_share} exceed 1 "
            "together.",
            "Lower one; the rest of the hidden genes is masked.",
        )
    if model.length > model.genes:
        raise RecipeError(
            f"{path}: length {model.length} exceeds the {model.genes} genes of the vocabulary.",
            "Use a shorter one.",
        )
    if model.width % model.heads:
        raise RecipeError(
            f"{path}: width {model.width} is not a multiple of heads {model.heads}.",
            "Change one of them.",
        )


def _fill(kind: type[T], values: dict[str, object], path: Path) -> T:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - set(fields)
    if unknown:
        raise RecipeError(
            f"{path} has an unknown key {min(unknown)!r}.", f"Known keys: {', '.join(fields)}."
        )
    absent = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING
    ]
    if absent:
        raise RecipeError(f"{path} lacks the keys {', '.join(absent)}.", "Add them.")
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}
    for name, value in values.items():
        expected = kinds[str(fields[name].type)]
        if not isinstance(value, expected) or isinstance(value, bool) != (expected is bool):
            raise RecipeError(
                f"{path}: {name} = {value!r} should be {fields[name].type}.", "Correct it."
            )
    return kind(**values)
