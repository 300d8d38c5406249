"""A tiny long-tailed set of 32 pixels, already decoded."""

from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from benchmarks.gpu_data import DeviceImages, to_device
from taxonet.data.table import ImageTable
from taxonet.seeds import generator

TRAIN = {"ash": 12, "beech": 9, "cedar": 7, "dogwood": 3}
TEST = 2


@pytest.fixture(scope="session")
def tiny() -> DeviceImages:
    """31 training images of four classes, and two test images of each."""
    rows, blobs = [], []
    for hue, (label, count) in enumerate(TRAIN.items()):
        for split, number in (("train", count), ("test", TEST)):
            for place in range(number):
                pixels = generator(label, split, place).integers(0, 200, (32, 32, 3))
                pixels[..., hue % 3] += 50
                stream = BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
                blobs.append(stream.getvalue())
                rows.append((f"{split}/{label}{place}.png", label, split))
    frame = pd.DataFrame(rows, columns=["image", "taxon", "split"])
    table = ImageTable(frame, blobs=pa.chunked_array([pa.array(blobs, pa.large_binary())]))
    return to_device(table, device=torch.device("cpu"))
