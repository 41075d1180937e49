"""Images of all sorts made PNG files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import ConfigurationError

_AS_THEY_ARE = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "WEBP": ".webp"}
_CHANNELS = (1, 3, 4)
_EXPECTED = "HxW, CxHxW or HxWxC with 1, 3 or 4 channels, or several: NxCxHxW or NxHxWxC"


@dataclass(frozen=True)
class Picture:
    """An image file's contents."""

    data: bytes
    ending: str
    size: tuple[int, int]


class Unfit(ConfigurationError):
    """Values on another scale than an image's; `clipped` are the pictures they would make."""

    def __init__(self, message: str, hint: str, clipped: list[Picture]) -> None:
        super().__init__(message, hint=hint)
        self.clipped = clipped


def is_several(image: Any) -> bool:
    """Whether this is a list of images or an array of them."""
    return isinstance(image, (list, tuple)) or len(getattr(image, "shape", ())) == 4


def pictures(image: Any) -> list[Picture]:
    """The image as a file's contents; several for a batch or a list."""
    if isinstance(image, (list, tuple)):
        return [picture for each in image for picture in pictures(each)]
    if isinstance(image, (str, os.PathLike)):
        return [_from_file(Path(image))]
    if hasattr(image, "save") and hasattr(image, "mode"):
        return [_encoded(image)]
    return _from_array(image)


def decoded(data: bytes) -> Picture | None:
    """The picture that an encoded image is, as it is, if Pillow knows it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            ending = _AS_THEY_ARE.get(image.format or "")
            return Picture(data, ending, image.size) if ending else _encoded(image)
    except (UnidentifiedImageError, OSError):
        return None


def _from_file(path: Path) -> Picture:
    try:
        picture = decoded(path.expanduser().read_bytes())
    except OSError as error:
        raise ConfigurationError(f"can't read the image {path}: {error.strerror}") from error
    if picture is None:
        raise ConfigurationError(f"{path} is no image that Pillow can read")
    return picture


def _encoded(image: Any) -> Picture:
    """A PIL image as PNG, in a mode that PNG has."""
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return Picture(buffer.getvalue(), ".png", image.size)


def _from_array(image: Any) -> list[Picture]:
    import numpy as np

    array, is_tensor = _array(image)
    layers = _layers(array, channels_first=is_tensor)
    if layers is None:
        shape = "x".join(map(str, array.shape)) or "a single number"
        hint = "Give one-channel images of a batch a channel axis: images[:, None]."
        raise ConfigurationError(
            f"{_kind(image)} of shape {shape} is no image: expected {_EXPECTED}",
            hint=hint if array.ndim == 3 else None,
        )
    if array.dtype == bool:
        return [_png(np.where(each, np.uint8(255), np.uint8(0))) for each in layers]
    if array.dtype == np.uint8:
        return [_png(each) for each in layers]
    if array.dtype.kind not in "iuf":
        raise ConfigurationError(f"an image of {array.dtype} values: expected numbers")
    return _scaled(image, array, layers)


def _scaled(image: Any, array: Any, layers: Any) -> list[Picture]:
    import numpy as np

    top = 1.0 if array.dtype.kind == "f" else 255
    numbers = np.nan_to_num(layers, nan=0.0, posinf=np.inf, neginf=-np.inf)
    made = [_png(_bytes(each, 255 / top)) for each in np.clip(numbers, 0, top)]
    low, high = layers.min(), layers.max()
    if low >= 0 and high <= top:  # a NaN is neither
        return made
    shape = "x".join(map(str, array.shape))
    raise Unfit(
        f"{_kind(image)} of shape {shape} and type {array.dtype} has"
        f" {_range(layers)}: expected 0 to {top:g} in an image",
        f"Scale it, or cut it off: image.{'clamp' if hasattr(image, 'clamp') else 'clip'}"
        f"(0, {top:g}).",
        made,
    )


def _range(layers: Any) -> str:
    import numpy as np

    missing = np.isnan(layers)
    if missing.all():  # of which numpy's nanmin would warn
        return "only NaN"
    what = "NaN and values" if missing.any() else "values"
    return f"{what} from {np.nanmin(layers):g} to {np.nanmax(layers):g}"


def _bytes(layer: Any, scale: float) -> Any:
    import numpy as np

    return (layer * scale + 0.5).astype(np.uint8)


def _array(image: Any) -> tuple[Any, bool]:
    """A numpy array, and whether it was a tensor, whose channels come first."""
    import numpy as np

    if not hasattr(image, "detach"):
        if not hasattr(image, "__array__"):
            raise ConfigurationError(
                f"can't make an image of {_kind(image)}",
                hint="Give a tensor, an array, a PIL image or a path; figures go to .figure().",
            )
        return np.asarray(image), False
    tensor = image.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy knows no bfloat16
    return tensor.cpu().numpy(), True


def _layers(array: Any, *, channels_first: bool) -> Any:
    """The images along a first axis, each HxW or HxWxC; None where the shape tells of none."""
    if 0 in array.shape:
        return None
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        return None
    for axis in (1, 3) if channels_first else (3, 1):
        if array.shape[axis] in _CHANNELS:
            moved = array.transpose(0, 2, 3, 1) if axis == 1 else array
            return moved[..., 0] if moved.shape[-1] == 1 else moved
    return None


def _png(layer: Any) -> Picture:
    import numpy as np
    from PIL import Image

    return _encoded(Image.fromarray(np.ascontiguousarray(layer)))


def _kind(image: Any) -> str:
    name = type(image).__name__
    return f"an {name}" if name[0].lower() in "aeio" else f"a {name}"


def captions(caption: str | Sequence[str] | None, count: int) -> Iterator[str | None]:
    """A caption for each of so many pictures."""
    if caption is None or isinstance(caption, str):
        return iter([caption] * count)
    if len(caption) != count:
        raise ConfigurationError(f"{len(caption)} captions for {count} images")
    return iter(map(str, caption))
