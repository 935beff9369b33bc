"""Hostile picture files: each is refused naming the picture, or is the ordinary picture that it claims to be."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import numpy as np
import pytest
from attack import GOOD_PNG, Attacker, body_picture, check_fails, check_survives, each, encoded
from PIL import Image

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
FIELDS = ("images[0]", "image_paths[0]")
#: A file, made when it is needed.
Make = Callable[[], bytes]


def upload(http: Attacker, content: bytes, name: str = "front.png") -> httpx.Response:
    """The file as the front view, beside an honest right view."""
    files = [("images", (name, content)), ("images", ("right.png", GOOD_PNG))]
    return http.post("/3d/from-image", files=files, data={"views": "front,right", "quality_tier": "fast"})


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, rows: Iterable[bytes] | None = None) -> bytes:
    """A PNG of one colour, whose rows are never held all at once."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width * bits * channels + 7) // 8)
    packed = b"".join(packer.compress(row) for row in (rows if rows is not None else (row for _ in range(height))))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return PNG_BEGIN + chunk(b"IHDR", header) + chunk(b"IDAT", packed + packer.flush()) + chunk(b"IEND", b"")


def with_chunks(*chunks: bytes) -> bytes:
    """The honest picture with more chunks behind its header."""
    return GOOD_PNG[:33] + b"".join(chunks) + GOOD_PNG[33:]


def webp_of_one_colour(width: int, height: int) -> bytes:
    """Lossless WebP whose five codes have one symbol each: no bits at all per pixel."""
    fields = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    fields += [part for value in (0, 200, 0, 255, 0) for part in ((1, 1), (0, 1), (1, 1), (value, 8))]
    number, length = 0, 0
    for value, size in fields:
        number |= value << length
        length += size
    stream = number.to_bytes((length + 7) // 8 + 1, "little")
    stream += b"\0" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(stream)) + b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A small CMYK JPEG whose frame header says that it is large."""
    content = bytearray(encoded(Image.new("CMYK", (16, 16), (0, 200, 200, 0)), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


BOMBS: dict[str, Make] = {
    "88 million pixels in 250 kB": lambda: png(9400, 9400),
    "177 million pixels in 500 kB": lambda: png(13300, 13300),
    "2500 million pixels of one bit": lambda: png(50_000, 50_000, bits=1, colour=0),
    "268 million pixels of WebP in 50 bytes": lambda: webp_of_one_colour(16384, 16384),
    "400 million pixels of CMYK": lambda: jpeg_that_claims(20_000, 20_000),
    "one pixel more than is read": lambda: png(5000, 5001),
}


@pytest.mark.parametrize("make", **each(BOMBS))
def test_pictures_of_too_many_pixels_are_refused(http: Attacker, make: Make) -> None:
    content = make()
    assert len(content) < 2_000_000
    check_fails(http, upload(http, content), *FIELDS)


LARGEST: dict[str, Make] = {
    "PNG": lambda: png(5000, 5000),
    "PNG of sixteen bits and alpha": lambda: png(4900, 4900, bits=16, colour=6),
    "WebP": lambda: webp_of_one_colour(5000, 5000),
}


@pytest.mark.parametrize("make", **each(LARGEST))
def test_the_largest_pictures_that_are_read_cost_no_more_than_they_may(http: Attacker, make: Make) -> None:
    check_survives(http, upload(http, make()), *FIELDS)


def frames(form: str, **options: Any) -> bytes:
    first, second = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    return encoded(first, form, save_all=True, append_images=[second] * 50, **options)


ANIMATIONS: dict[str, Make] = {
    "GIF": lambda: frames("GIF", duration=20),
    "WebP": lambda: frames("WEBP", duration=20),
    "PNG": lambda: frames("PNG", duration=20),
    "TIFF": lambda: frames("TIFF"),
}


@pytest.mark.parametrize("make", **each(ANIMATIONS))
def test_pictures_of_many_frames_are_refused(http: Attacker, make: Make) -> None:
    check_fails(http, upload(http, make()), *FIELDS)


def archive(before: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("evil.html", "<script>alert(1)</script>")
    return before + buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
LIES: dict[str, Make] = {
    "HTML": lambda: HTML,
    "SVG": lambda: SVG,
    "ZIP": archive,
    "PDF": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF",
    "PDF behind the first bytes of a JPEG": lambda: b"\xff\xd8\xff%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF",
    "sound in the container of WebP": lambda: b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 40,
}


@pytest.mark.parametrize("make", **each(LIES))
def test_files_that_are_no_pictures_are_refused(http: Attacker, make: Make) -> None:
    check_fails(http, upload(http, make()), *FIELDS)


POLYGLOTS: dict[str, Make] = {
    "ZIP behind a PNG": lambda: archive(GOOD_PNG),
    "HTML inside a PNG": lambda: with_chunks(chunk(b"tEXt", b"Comment\0" + HTML)),
}


@pytest.mark.parametrize("make", **each(POLYGLOTS))
def test_what_is_hidden_in_a_picture_does_not_come_out_of_it(mesh: Any, http: Attacker, make: Make) -> None:
    reply = upload(http, make(), name="front.html")
    if check_survives(http, reply, *FIELDS) != "completed":
        return
    status = http.get(reply.json()["status_url"]).json()
    for output in status["outputs"]:
        got = http.get(output["url"])
        assert "html" not in got.headers["content-type"]
        assert b"evil.html" not in got.content and HTML not in got.content, output["name"]


CUTS = {
    "behind the signature": 8,
    "inside the header": 20,
    "behind the header": 33,
    "inside the pixels": -40,
    "before the last chunk": -12,
}


@pytest.mark.parametrize("length", **each(CUTS))
def test_pictures_that_end_too_early_are_refused_or_whole(http: Attacker, length: int) -> None:
    # Random colours do not pack, so that a cut anywhere inside them is missed.
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 4), np.uint8)
    noise[..., 3] = np.asarray(body_picture())[..., 3]
    content = encoded(Image.fromarray(noise))[:length]
    check_survives(http, upload(http, content), *FIELDS)
    if length != CUTS["before the last chunk"]:
        check_fails(http, upload(http, content), *FIELDS)


SIZES = {"no pixels": (0, 0), "one pixel": (1, 1), "one wide and sixty thousand high": (1, 60_000)}


@pytest.mark.parametrize(("width", "height"), **each(SIZES))
def test_sizes_that_no_picture_has_are_refused(http: Attacker, width: int, height: int) -> None:
    check_fails(http, upload(http, png(width, height)), *FIELDS)


def jpeg_with_exif(exif: bytes) -> bytes:
    content = encoded(body_picture("RGB"), "JPEG")
    segment = b"Exif\0\0" + exif
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


def exif_of_entries(*entries: bytes) -> bytes:
    """A TIFF directory that is said to go on with itself."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + b"".join(entries) + struct.pack(">I", 8)


METADATA: dict[str, Make] = {
    "texts that unpack to 200 MB": lambda: with_chunks(
        *(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 1_000_000, 9)) for _ in range(200))
    ),
    "one text that unpacks to 400 MB": lambda: with_chunks(
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 400_000_000, 9))
    ),
    "a colour profile that unpacks to 400 MB": lambda: with_chunks(
        chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"\0" * 400_000_000, 1))
    ),
    "a directory that contains itself": lambda: jpeg_with_exif(
        exif_of_entries(
            struct.pack(">HHII", 0x0112, 3, 2**31, 8),
            struct.pack(">HHII", 0x8769, 4, 1, 8),
            struct.pack(">HHII", 0x9C9C, 12, 2**32 - 1, 8),
        )
    ),
}


@pytest.mark.parametrize("make", **each(METADATA))
def test_metadata_that_unpacks_to_much_more_is_harmless(http: Attacker, make: Make) -> None:
    check_survives(http, upload(http, make()), *FIELDS)


def sixteen_bits() -> bytes:
    grey = np.asarray(body_picture("L"), np.uint16)
    return encoded(Image.fromarray(grey * np.uint16(257)))


#: Pictures as scanners, phones and painting programs write them.
HONEST: dict[str, Make] = {
    "CMYK JPEG": lambda: encoded(body_picture("CMYK"), "JPEG"),
    "grey JPEG": lambda: encoded(body_picture("L"), "JPEG"),
    "sixteen bits of grey": sixteen_bits,
    "a palette": lambda: encoded(body_picture("RGB").convert("P", palette=Image.Palette.ADAPTIVE)),
    "grey with alpha": lambda: encoded(body_picture("LA")),
    "WebP with alpha": lambda: encoded(body_picture(), "WEBP", lossless=True),
}


@pytest.mark.parametrize("make", **each(HONEST))
def test_unusual_but_honest_pictures_are_made_into_models(http: Attacker, make: Make) -> None:
    assert check_survives(http, upload(http, make()), *FIELDS) == "completed"


def fits() -> bytes:
    cards = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2")
    cards += ("NAXIS1  =                   64", "NAXIS2  =                   64", "END")
    return "".join(card.ljust(80) for card in cards).encode().ljust(2880) + b"\0" * 2880


OTHER_FORMATS: dict[str, Make] = {
    "FITS": fits,
    "PSD": lambda: b"8BPS\0\x01" + b"\0" * 6 + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + b"\0" * 14 + b"\xff" * 12288,
    "EPS": lambda: encoded(body_picture("RGB"), "EPS"),
    "WMF": lambda: (
        struct.pack("<IHhhhhHIH", 0x9AC6CDD7, 0, 0, 0, 999, 999, 96, 0, 0) + b"\x01\0\x09\0\0\x03" + b"\0" * 99
    ),
    "ICNS": lambda: encoded(body_picture(size_px=128), "ICNS"),
}


@pytest.mark.parametrize("make", **each(OTHER_FORMATS))
def test_formats_with_large_decoders_are_refused(http: Attacker, make: Make) -> None:
    check_fails(http, upload(http, make()), *FIELDS)
