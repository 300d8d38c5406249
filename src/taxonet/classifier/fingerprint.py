"""Whether two classifiers say the same of every photo."""

from hashlib import sha256

from taxonet.classifier.parts import ClassifierParts


def fingerprint(parts: ClassifierParts) -> str:
    """Return a hash of all that the probabilities of a classifier follow from.

    Thresholds and policies are not among it: they follow from the probabilities.
    """
    found = sha256()
    for name, tensor in sorted(parts.network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.numpy().tobytes())
    adapter = parts.recipe.model.adapter
    said: tuple[object, ...] = (
        parts.taxonomy.digest,
        parts.class_nodes.tolist(),
        # What has a default came later: fingerprints of before must stay as they were.
        parts.preprocessing.model_dump_json(exclude_defaults=True),
        parts.recipe.loss.model_dump_json(),
        float(parts.network.head.scale),
        parts.calibration.temperature,
    )
    if adapter is not None:  # whose factors are no weights
        said = (*said, adapter.model_dump_json())
    found.update(repr(said).encode())
    return found.hexdigest()
