"""A photo as it is sent: small, upright, and without anything that it knows besides its pixels."""

from io import BytesIO

from PIL import Image

from taxonet.data.decoding import ImageSource, load_image

_QUALITY = 90


def photo_to_send(source: ImageSource, *, max_side: int) -> bytes:
    """Return a photo as JPEG, its longest side at most ``max_side`` pixels.

    It is turned upright by its EXIF first. No metadata goes along: no place, camera, comment,
    preview or colour profile.

    Args:
        source: As `load_image` takes it.
        max_side: Pixels; smaller photos keep their size.

    Raises:
        BrokenImage: The image cannot be used.

    Examples:
        >>> stream = BytesIO()
        >>> Image.new("RGB", (300, 200)).save(stream, "PNG")
        >>> Image.open(BytesIO(photo_to_send(stream.getvalue(), max_side=30))).size
        (30, 20)
    """
    decoded = load_image(source, at_least=max_side)
    # Pillow keeps what it read beside the pixels and writes some of it again, such as comments.
    pixels = Image.new("RGB", decoded.size)
    pixels.paste(decoded)
    pixels.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    stream = BytesIO()
    pixels.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
