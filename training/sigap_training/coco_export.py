"""A Roboflow COCO-segmentation export: `train/ valid/ test/`, each with pictures and `_annotations.coco.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from sigap_training.coco_masks import Shape, draw
from sigap_training.reasons import reasons
from sigap_training.slices import BadData

ANNOTATIONS = "_annotations.coco.json"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class Category(BaseModel):
    """What an annotation marks."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    supercategory: str | None = None


class _Annotation(BaseModel):
    id: int | str
    image_id: int | str
    category_id: int
    segmentation: Shape
    iscrowd: Literal[0, 1] = 0


class _Image(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int | str
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Document(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[Category]


@dataclass(frozen=True)
class Picture:
    """One picture of an export, not read yet.

    Attributes:
        path: its file.
        entry: what the export states about it: `height`, `width`, perhaps `source`, `patient`, `weak`; and the names of
            its annotations' `categories`.
        shapes: its annotations: number, category, shape.
    """

    path: Path
    entry: dict[str, Any]
    shapes: tuple[tuple[int | str, int, Shape], ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.entry["height"], self.entry["width"]

    def read(self) -> NDArray[np.uint8]:
        """Pixels [H, W].

        Raises:
            BadData: the file is missing, unreadable or not of its stated size.
        """
        pixels = read_picture(self.path)
        self._refuse_size(pixels.shape)
        return pixels

    def draw(self, channels: Sequence[AbstractSet[int]]) -> NDArray[np.uint8]:
        """0 or 1 [C, H, W]: inside any annotation of a channel.

        Args:
            channels: the ids of each one's categories.

        Raises:
            BadData: a shape is none.
        """
        masks = np.zeros((len(channels), *self.size), np.uint8)
        for number, category, shape in self.shapes:
            try:
                drawn = draw(shape, *self.size)
            except ValueError as error:
                raise BadData(f"{self.path}: annotation {number}: {error}") from error
            masks[[category in categories for categories in channels]] |= drawn
        return masks

    def check(self) -> None:
        """Refuse what `read` and `draw` would refuse, from the file's header.

        Raises:
            BadData: as they do, but for pixels that cannot be decoded.
        """
        self._refuse_size(picture_size(self.path))
        self.draw([])

    def _refuse_size(self, found: tuple[int, ...]) -> None:
        if found != self.size:
            raise BadData(f"{self.path}: {found} pixels (rows, columns), but {ANNOTATIONS} states {self.size}")


@dataclass(frozen=True)
class Export:
    """One split.

    Attributes:
        path: its annotation file.
        categories: in order of id.
        pictures: in the file's order.
    """

    path: Path
    categories: tuple[Category, ...]
    pictures: tuple[Picture, ...]


def read_list(folder: Path) -> Export:
    """Read a split's annotation file; its pictures stay untouched.

    Raises:
        BadData: it is missing or broken, or an annotation or a picture contradicts another.
    """
    path = folder / ANNOTATIONS
    try:
        document = _Document.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        raise BadData(f"{path} cannot be read: {reasons(error)}") from error
    categories = {category.id: category for category in document.categories}
    _refuse_twins(path, "category", [category.id for category in document.categories])
    _refuse_twins(path, "image", [image.id for image in document.images])
    _refuse_twins(path, "file name", [image.file_name for image in document.images])
    shapes = defaultdict(list)
    known = {image.id for image in document.images}
    for annotation in document.annotations:
        if annotation.category_id not in categories:
            raise BadData(f"{path}: annotation {annotation.id} has unknown category {annotation.category_id}")
        if annotation.image_id not in known:
            raise BadData(f"{path}: annotation {annotation.id} belongs to no image")
        shapes[annotation.image_id].append((annotation.id, annotation.category_id, annotation.segmentation))
    pictures = []
    for image in document.images:
        if Path(image.file_name).name != image.file_name:
            raise BadData(f"{path}: {image.file_name!r} is no file name")
        names = {categories[category].name for _, category, _ in shapes[image.id]}
        entry = image.model_dump() | {"categories": names}
        pictures.append(Picture(folder / image.file_name, entry, tuple(shapes[image.id])))
    return Export(path, tuple(categories[number] for number in sorted(categories)), tuple(pictures))


def channel_categories(exports: Sequence[Export]) -> tuple[Category, ...]:
    """The categories that are channels of their own, in order of id, the same for all splits.

    Roboflow puts a category 0 before the others that no annotation has: the name of the whole, which is their
    supercategory. It is left out.

    Raises:
        BadData: two splits have other categories.
    """
    first = exports[0]
    for export in exports[1:]:
        if export.categories != first.categories:
            raise BadData(f"{export.path}: its categories are not those of {first.path}")
    used = {category for export in exports for picture in export.pictures for _, category, _ in picture.shapes}
    wholes = {category.supercategory for category in first.categories if category.id != 0}
    return tuple(
        category
        for category in first.categories
        if category.id != 0 or category.id in used or category.name not in wholes
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """An 8-bit picture as grey, [H, W].

    Raises:
        BadData: it is missing or unreadable, or has more than 8 bits: a window was not applied.
    """
    with _opened(path) as picture:
        try:
            return np.array(picture.convert("L"))  # a copy: torch wants it writable
        except (OSError, SyntaxError, ValueError) as error:
            raise BadData(f"{path} cannot be read: {error}") from error


def picture_size(path: Path) -> tuple[int, int]:
    """Rows and columns, from the header.

    Raises:
        BadData: as `read_picture`, but for pixels that cannot be decoded.
    """
    with _opened(path) as picture:
        return picture.height, picture.width


def _opened(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    if picture.mode not in _MODES:
        mode = picture.mode
        picture.close()
        raise BadData(f"{path}: pixels of kind {mode}: 8-bit pictures of a window are needed")
    return picture


def _refuse_twins(path: Path, what: str, numbers: Sequence[int | str]) -> None:
    seen = set()
    for number in numbers:
        if number in seen:
            raise BadData(f"{path}: {what} {number} is listed twice")
        seen.add(number)
