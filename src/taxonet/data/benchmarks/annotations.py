"""Annotation files in the JSON layout of COCO: images, annotations, categories."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from taxonet.errors import DataError


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None


def records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """Return one of the lists of an annotation file.

    Raises:
        DataError: It is not there or empty.
    """
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not found:
        raise DataError(
            f"{path} has no list {key!r}: expected an annotation file with images, annotations and "
            "categories (the files of the test images have no annotations)."
        )
    return found


def labelled_images(content: Any, path: Path) -> pd.DataFrame:
    """Join images and annotations: one row an image, with the number of its category.

    Raises:
        DataError: A field is missing, or an image has no annotation or an annotation no image.
    """
    try:
        files = {image["id"]: image["file_name"] for image in records(content, "images", path)}
        category = {
            note["image_id"]: note["category_id"] for note in records(content, "annotations", path)
        }
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: an image or annotation lacks {error}.") from None
    if files.keys() != category.keys():
        without = len(files.keys() - category.keys())
        unknown = len(category.keys() - files.keys())
        raise DataError(
            f"{path}: {without:,} images have no annotation and {unknown:,} annotations no image: "
            "the file is incomplete or was changed."
        )
    return pd.DataFrame(
        {"image": files.values(), "taxon": [str(category[image]) for image in files]}
    )
