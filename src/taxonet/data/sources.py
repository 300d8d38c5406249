"""Open a collection of labelled photos, whatever form it has on disk."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from taxonet.data.decoding import IMAGE_SUFFIXES
from taxonet.data.manifests import MANIFEST_SUFFIXES, read_manifest
from taxonet.data.table import SPLITS, ImageTable
from taxonet.errors import DataError


def open_images(
    path: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    labelled: bool = True,
) -> ImageTable:
    """Open labelled photos: a folder of folders, or a CSV, TSV or Parquet table.

    - A **folder** has one sub-folder for each label, with the photos directly in it. Where all
      sub-folders are called after splits (``train``, ``val``, ``calibration``, ``test``) the
      labels lie one level deeper. Hidden files are skipped; other files are left out and
      reported in the table's ``notes``.
    - A **table of paths** is UTF-8 with a header. The image is in a column such as ``image``,
      ``path`` or ``filename``, the label in one such as ``taxon``, ``label`` or ``species``.
      Paths are relative to the table's folder, or to the folder ``images`` beside it. Columns
      ``split``, ``group``, ``region`` and so on are used; all others are kept. A file that does
      not exist is no error here: it becomes a broken image when it is read.
    - **Parquet with bytes** has the photos inside, in a column of binary values or of structs
      with a field ``bytes``.

    Args:
        path: The folder or file.
        image_column: Name of the image column, where it is none of the usual ones.
        label_column: Name of the label column likewise.
        labelled: False opens photos without labels: no label column is looked for.

    Raises:
        DataError: There is nothing there, or no telling what it is; the message says what to do.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: expected a folder of photos or a table of them.")
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DataError(
            f"{path}: labelled photos come as a folder with one sub-folder for each label, or as "
            f"a table ({', '.join(MANIFEST_SUFFIXES)}), not as {path.suffix or 'such a file'}."
        )
    return read_manifest(
        path, image_column=image_column, label_column=label_column, labelled=labelled
    )


def _open_folder(root: Path) -> ImageTable:
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    records: list[dict[str, str]] = []
    left_out = [entry for entry in _visible(root) if not entry.is_dir()]
    if folders and all(folder.name in SPLITS for folder in folders):
        for split in folders:
            left_out += [entry for entry in _visible(split) if not entry.is_dir()]
            for folder in _visible(split):
                if folder.is_dir():
                    _add_label(root, folder, {"split": split.name}, records, left_out)
    else:
        for folder in folders:
            _add_label(root, folder, {}, records, left_out)
    if not records:
        raise _no_images(root, left_out)
    return ImageTable(pd.DataFrame(records), root=root, notes=_notes(root, left_out))


def _add_label(
    root: Path,
    folder: Path,
    known: dict[str, str],
    records: list[dict[str, str]],
    left_out: list[Path],
) -> None:
    for entry in _visible(folder):
        # A folder called x.jpg comes along: reading it gives a row with the reason.
        if entry.suffix.lower() in IMAGE_SUFFIXES:
            image = entry.relative_to(root).as_posix()
            records.append({"image": image, "taxon": folder.name, **known})
        else:
            left_out.append(entry)


def _visible(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    return [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]


def _notes(root: Path, left_out: Iterable[Path]) -> tuple[str, ...]:
    """Say what was left out: how many of each kind, with an example."""
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for path in left_out:
        if path.is_dir():
            kind = "folders below a label"
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            kind = "photos outside the label folders"
        else:
            kind = f"files of the kind {path.suffix.lower() or '(no suffix)'}"
        kinds[kind] += 1
        examples.setdefault(kind, path.relative_to(root).as_posix())
    return tuple(
        f"Left out {count} {kind} (first: {examples[kind]})." for kind, count in kinds.items()
    )


def _no_images(root: Path, left_out: list[Path]) -> DataError:
    expected = "expected one sub-folder for each label, with the photos directly in it."
    deeper = [entry for entry in left_out if entry.is_dir()]
    tables = [entry for entry in left_out if entry.suffix.lower() in MANIFEST_SUFFIXES]
    hint = ""
    if tables:
        hint = f" There is a table: if it lists the photos, open {tables[0]}."
    elif deeper:
        hint = f" There are folders a level deeper: open {deeper[0].parent} instead?"
    return DataError(f"{root} holds no labelled photo: {expected}{hint}")
