"""Pictures: bytes of unknown goodness to a small square of pixels, with limits on time and memory.

Idea: the header alone says how large a picture will be, so that is judged before a pixel is decoded. JPEG can be
decoded at an eighth of its size, unless it is progressive, so it may be larger than the formats that must be decoded
whole. Of an animation the first frame counts, transparency stands on white, CMYK and 16 bits become RGB and 8 bits, and
a camera's note on which side is up is heeded. The whole picture is pulled to a square: with bars beside it, the network
takes a daisy for a honeycomb, and a cut would lose the ends of long things.

Only formats that shops use are tried, for Pillow also knows some that call other programs. Cost: 4 ms for a JPEG of
1,000 x 1,000. Memory at the limit: 10 MB for a JPEG, 75 MB progressive, 290 MB for a PNG and 480 MB for a WebP with
transparency. Not for: vector graphics, camera raw, video.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from endcap.errors import ConfigError, InvalidInput, TooLarge
from endcap.types import U1

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
MOST_BYTES = 30_000_000
MOST_PIXELS = 25_000_000  # of formats that are decoded whole
MOST_DRAFT_PIXELS = 80_000_000  # of a JPEG that is not progressive
WHITE = (255, 255, 255)


def pillow() -> Any:
    """The module ``PIL.Image``. ``ConfigError`` where it is not installed."""
    try:
        from PIL import Image
    except ImportError as missing:
        raise ConfigError('no picture can be read without Pillow; run: pip install "endcap[image]"') from missing
    return Image


def square(data: bytes, side: int) -> U1:
    """A picture as RGB [side, side, 3]. ``InvalidInput`` or ``TooLarge`` say what is wrong with it."""
    images = pillow()
    if not data:
        raise InvalidInput("the picture is empty (0 bytes)")
    if len(data) > MOST_BYTES:
        raise TooLarge(f"the picture has {len(data):,} bytes; expected at most {MOST_BYTES:,}; send a smaller copy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", images.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # on odd metadata, which nobody needs
            with images.open(io.BytesIO(data), formats=known_formats(images)) as opened:
                check_size(opened)
                if opened.format == "JPEG":
                    opened.draft("RGB", (2 * side, 2 * side))
                return fitted(opened, side)
    except (InvalidInput, ConfigError):
        raise
    except (images.DecompressionBombError, images.DecompressionBombWarning) as bomb:
        raise TooLarge(f"the picture is too large: {bomb}; send a smaller copy") from bomb
    except images.UnidentifiedImageError as wrong:
        raise InvalidInput(f"these bytes are no picture of a known kind; expected {', '.join(FORMATS)}") from wrong
    except Exception as wrong:  # a decoder fed with broken bytes fails in many ways
        raise InvalidInput(f"the picture is broken or cut off: {str(wrong)[:200] or type(wrong).__name__}") from wrong


def known_formats(images: Any) -> list[str]:
    """Those of ``FORMATS`` that this Pillow was built with."""
    images.init()
    return [name for name in FORMATS if name in images.OPEN]


def check_size(image: Image) -> None:
    """``TooLarge`` by what the header says."""
    progressive = bool(image.info.get("progressive") or image.info.get("progression"))
    most = MOST_DRAFT_PIXELS if image.format == "JPEG" and not progressive else MOST_PIXELS
    pixels = image.width * image.height
    if pixels > most:
        kind = f"{'progressive ' if progressive else ''}{image.format}"
        raise TooLarge(
            f"the picture is {image.width:,} x {image.height:,} = {pixels / 1e6:,.0f} megapixels; expected at most "
            f"{most / 1e6:,.0f} of a {kind}; send a smaller copy"
        )


def fitted(image: Image, side: int) -> U1:
    """The whole of the first frame, the right side up, pulled to a square, on white."""
    from PIL import ImageOps

    images = pillow()
    picture = eight_bits(image)
    clear = picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info
    picture = picture.convert("RGBA" if clear else "RGB")
    picture = picture.resize((side, side), images.Resampling.BICUBIC, reducing_gap=3.0)
    picture.getexif().update(image.getexif())
    picture = ImageOps.exif_transpose(picture)
    if clear:
        canvas = images.new("RGB", (side, side), WHITE)
        canvas.paste(picture, None, picture)
        picture = canvas
    return np.asarray(picture, np.uint8)


def eight_bits(image: Image) -> Image:
    """Grey levels of 16 and 32 bits as 8 bits; any other picture as it is."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.asarray(image, np.float64)
    grey = np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0)
    top = 65_535.0 if image.mode.startswith("I") else max(float(grey.max(initial=0.0)), 1e-9)
    levels: U1 = (np.clip(grey / top, 0.0, 1.0) * 255.0).astype(np.uint8)
    made: Image = pillow().fromarray(levels)
    return made
