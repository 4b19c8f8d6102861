"""Every kind of picture as RGB, and one line for what can't be read."""

import gc
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.images import image_io
from benchmarks.images.image_io import read_rgb, to_rgb
from benchmarks.images.sets import Images
from tests.conftest import ROOT


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
COLOUR = Image.fromarray(PIXELS)
GREY16 = PIXELS[..., 0].astype(np.uint16) * 256 + 7


def of(file: Path) -> Images:
    return Images("one", 1, lambda row: Image.open(file), lambda row: str(file))


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_rgb(of(file), 0)
    gc.collect()  # a file left open would warn here
    message = str(caught.value)
    assert message.startswith(f"{file}: not a readable image (") and "\n" not in message
    return message.removeprefix(str(file))


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("1", "png"), ("L", "png"), ("L", "jpg"), ("LA", "png"), ("P", "png"), ("P", "gif"), ("P", "bmp"), ("RGB", "ppm"),
        ("RGB", "png"), ("RGB", "webp"), ("RGBA", "png"), ("RGBA", "webp"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"),
        ("LAB", "tif"),
    ],
)  # fmt: skip
def test_what_pillow_converts_is_as_pillow_converts_it(mode: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{ending}"
    COLOUR.convert(mode).save(file)
    with Image.open(file) as expected:
        found = read_rgb(of(file), 0)
        assert (found.mode, found.size) == ("RGB", (30, 20))
        assert found.tobytes() == expected.convert("RGB").tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_in_memory(mode: str) -> None:
    through = {"PA": "P", "RGBa": "RGBA"}.get(mode, mode)
    assert to_rgb(COLOUR.convert(through).convert(mode)).mode == "RGB"


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 2))], ids=["one colour", "each colour"])
def test_palettes_with_transparency_keep_their_colours(transparency: int | bytes, tmp_path: Path) -> None:
    palette = COLOUR.quantize(128)
    expected = palette.convert("RGB")
    palette.save(tmp_path / "a.png", transparency=transparency)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info["transparency"] == transparency
    assert read_rgb(of(tmp_path / "a.png"), 0).tobytes() == expected.tobytes()


def test_transparency_is_dropped_not_blended(tmp_path: Path) -> None:
    clear = COLOUR.copy()
    clear.putalpha(0)
    clear.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_rgb(of(tmp_path / "a.png"), 0)), PIXELS)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_greys_keep_their_upper_bits(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{ending}"
    Image.fromarray(GREY16).save(file)
    found = np.asarray(read_rgb(of(file), 0))
    assert all(np.array_equal(found[..., channel], PIXELS[..., 0]) for channel in range(3))


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_16_bit_greys_of_either_byte_order(kind: str) -> None:
    mode = "I;16B" if kind == ">u2" else "I;16"
    grey = Image.frombytes(mode, (30, 20), GREY16.astype(kind).tobytes())
    assert np.array_equal(np.asarray(to_rgb(grey))[..., 1], PIXELS[..., 0])


def test_32_bit_integers_are_16_bit_greys_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(GREY16.astype(np.int32)).save(file)
    assert np.array_equal(np.asarray(read_rgb(of(file), 0))[..., 2], PIXELS[..., 0])
    for wrong in (-1, 65536):
        Image.fromarray(np.full((4, 4), wrong, dtype=np.int32)).save(file)
        assert "32-bit grey values outside 0 to 65535; save it with 8 or 16 bits" in refusal(file)


def test_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    assert "float pixels, which have no agreed range; save it with 8 or 16 bits" in refusal(tmp_path / "a.tif")


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    COLOUR.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_rgb(of(tmp_path / "a.png"), 0)), PIXELS)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_frames_is_read(ending: str, tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    lossless: dict[str, Any] = {"lossless": True} if ending == "webp" else {}
    red.save(tmp_path / f"a.{ending}", save_all=True, append_images=[blue], **lossless)
    assert read_rgb(of(tmp_path / f"a.{ending}"), 0).getpixel((4, 4)) == (255, 0, 0)
    gc.collect()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("not a picture")


def cut_jpeg(file: Path) -> None:
    COLOUR.save(file, "jpeg")
    os.truncate(file, file.stat().st_size // 2)


def cut_png(file: Path) -> None:
    COLOUR.save(file, "png")
    os.truncate(file, file.stat().st_size // 2)


def only_a_header(file: Path) -> None:
    COLOUR.save(file, "png")
    os.truncate(file, 40)


def cut_tiff(file: Path) -> None:
    COLOUR.save(file, "tiff", compression="tiff_lzw")
    whole = file.read_bytes()
    file.write_bytes(whole[:8] + bytes(200) + whole[208:])


def folder(file: Path) -> None:
    file.mkdir()


def absent(file: Path) -> None:
    pass


@pytest.mark.parametrize("make", [empty, text, cut_jpeg, cut_png, only_a_header, cut_tiff, folder, absent])
def test_what_is_no_picture_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / "a b.jpg"
    make(file)
    assert str(file) not in refusal(file)  # named once


def test_pictures_with_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    monkeypatch.setattr(image_io, "MOST_PIXELS", 600)
    COLOUR.save(file)
    assert read_rgb(of(file), 0).size == (30, 20)
    Image.new("RGB", (601, 1)).save(file)
    assert "601 x 1 pixels, more than 600; make it smaller" in refusal(file)


def test_a_picture_over_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "a.ppm"
    file.write_bytes(b"P6 20000 20000 255\n")  # a header that promises 1.2 GB
    assert "20000 x 20000 pixels" in refusal(file)
    file.write_bytes(b"P6 9500 9500 255\n")
    with Image.open(file) as opened:  # Pillow would warn from here on, were it asked to
        assert opened.size == (9500, 9500)


@pytest.mark.slow
def test_a_picture_that_pillow_warns_of_is_read(tmp_path: Path) -> None:
    Image.new("1", (9500, 9500)).save(tmp_path / "a.png")
    assert read_rgb(of(tmp_path / "a.png"), 0).size == (9500, 9500)


def test_broken_metadata_warns_nobody(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    COLOUR.save(file, tiffinfo={270: "x" * 50})
    whole = file.read_bytes()
    place = whole.index(struct.pack("<HHI", 270, 2, 51))
    file.write_bytes(whole[: place + 4] + struct.pack("<I", 60000) + whole[place + 8 :])  # more than the file has
    code = (
        "import sys; from PIL import Image; from benchmarks.images.image_io import read_rgb;"
        "from benchmarks.images.sets import Images;"
        "print(read_rgb(Images('x', 1, lambda row: Image.open(sys.argv[1]), str), 0).size)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, file], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert (done.stdout, done.stderr) == ("(30, 20)\n", "")
