"""A classifier that looks at five crops of a photo: the means, and everybody who uses them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from taxonet.classifier import Preprocessing, ScoredBatch, TaxonClassifier, fingerprint
from taxonet.data.resizing import ResizeSpec
from taxonet.data.table import ImageTable
from taxonet.data.transforms import plain
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.inference import adapt_batch_norm
from taxonet.recipes import PartChoice
from tests.helpers import SIZE, photo, save_photo, tiny_parts
from tests.reference.crops import five_crops

LARGER = 37


def five(head: str = "cosine") -> TaxonClassifier:
    parts = tiny_parts(head)
    given = parts.preprocessing.model_dump() | {"test_crops": 5}
    return TaxonClassifier(
        replace(parts, preprocessing=Preprocessing.model_validate(given)), device="cpu"
    )


def score(classifier: TaxonClassifier, images: list[Image.Image], batch_size: int) -> ScoredBatch:
    named = [(str(place), image) for place, image in enumerate(images)]
    batches = list(classifier.score(named, batch_size=batch_size))
    return ScoredBatch(
        [name for batch in batches for name in batch.names],
        {},
        torch.cat([batch.embedding for batch in batches]),
        torch.cat([batch.logits for batch in batches]),
    )


def crops(image: Image.Image) -> torch.Tensor:
    pixels = plain(ResizeSpec(size=(LARGER, LARGER)))(image)
    return torch.from_numpy(np.stack(five_crops(pixels.numpy(), (SIZE, SIZE))))


@pytest.mark.parametrize("head", ["cosine", "linear"])
@torch.no_grad()
def test_scores_and_embeddings_are_means_over_crops(head: str) -> None:
    classifier = five(head)
    network = classifier.network
    images = [photo(seed) for seed in range(3)]
    found = score(classifier, images, 64)
    for row, image in enumerate(images):
        output = network(crops(image))
        torch.testing.assert_close(found.embedding[row], output.embedding.mean(0))
        torch.testing.assert_close(found.logits[row], network.head.scale * output.scores.mean(0))


def test_crops_of_a_rectangle_are_rectangles() -> None:
    parts = tiny_parts("cosine")
    given = {"image_size": (40, 24), "test_crops": 5, "fit": "pad", "interpolation": "bicubic"}
    preprocessing = Preprocessing.model_validate(parts.preprocessing.model_dump() | given)
    classifier = TaxonClassifier(replace(parts, preprocessing=preprocessing), device="cpu")
    spec = ResizeSpec(size=(46, 27), fit="pad", interpolation="bicubic")
    cut = torch.from_numpy(np.stack(five_crops(plain(spec)(photo(0)).numpy(), (40, 24))))
    with torch.no_grad():
        output = classifier.network(cut)
    found = score(classifier, [photo(0)], 64)
    torch.testing.assert_close(found.embedding[0], output.embedding.mean(0))


def test_of_a_photo_of_one_colour_five_looks_are_one() -> None:
    """Where nothing is to be seen, there is nothing that a crop could miss."""
    flat = [Image.new("RGB", (40, 40), (30 * shade, 90, 200)) for shade in range(3)]
    one = TaxonClassifier(tiny_parts(), device="cpu")
    torch.testing.assert_close(score(five(), flat, 64).logits, score(one, flat, 64).logits)
    seen = [photo(seed) for seed in range(3)]
    assert not torch.allclose(score(five(), seen, 64).logits, score(one, seen, 64).logits)


def test_a_row_does_not_depend_on_its_batch() -> None:
    classifier, images = five(), [photo(seed) for seed in range(5)]
    together = score(classifier, images, 64)
    for batch_size in (1, 2):
        found = score(classifier, images, batch_size)
        torch.testing.assert_close(found.logits, together.logits, rtol=0, atol=1e-4)
    order = [4, 2, 0, 1, 3]
    shuffled = score(classifier, [images[place] for place in order], 2)
    torch.testing.assert_close(shuffled.logits, together.logits[order], rtol=0, atol=1e-4)


def test_the_folder_keeps_the_crops(tmp_path: Path, photos: list[str]) -> None:
    classifier = five()
    classifier.save(tmp_path / "classifier")
    read = TaxonClassifier.load(tmp_path / "classifier", device="cpu")
    assert read.parts.preprocessing.test_crops == 5
    rows = classifier.predict(photos)
    pd.testing.assert_frame_equal(read.predict(photos), rows)
    assert rows["error"].notna().sum() == 2, "what cannot be read stays a row"


def test_what_probabilities_follow_from_is_in_the_fingerprint() -> None:
    parts = tiny_parts()
    model = parts.recipe.model
    adapters = (None, PartChoice(name="adaptformer"), PartChoice(name="adaptformer", scale=0.2))
    prints = {fingerprint(five().parts)} | {
        fingerprint(
            replace(
                parts,
                recipe=parts.recipe.model_copy(
                    update={"model": model.model_copy(update={"adapter": adapter})}
                ),
            )
        )
        for adapter in adapters
    }
    assert len(prints) == 4


def test_batch_norm_adapts_to_what_the_network_sees(tmp_path: Path) -> None:
    rows = [save_photo(tmp_path / f"{seed}.png", seed).name for seed in range(6)]
    table = ImageTable(pd.DataFrame({"image": rows, "taxon": "Rubus"}), root=tmp_path)
    classifier = five()
    seen = torch.stack([crops(photo(seed)) for seed in range(6)], dim=1)
    batches = list(seen)
    expected = adapt_batch_norm(classifier.network, batches).state_dict()
    found = adapt_to_photos(classifier, table).network.state_dict()
    for key, one in expected.items():
        torch.testing.assert_close(found[key], one)
