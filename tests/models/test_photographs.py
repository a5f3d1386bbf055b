"""Real photographs, through every family's image processor, into a tiny model; and images as people store them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multimodal import FAMILIES, build_multimodal
from PIL import Image
from transformers.image_utils import load_image

from lens_truth.data.examples import Example, examples_hash
from lens_truth.data.images import check_images, image_hash, image_size, open_image
from lens_truth.errors import InputError
from lens_truth.models.batches import pad_rows
from lens_truth.models.image_input import image_arguments, images_of
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.scoring.capturing import capture

ROTATED = 6  # EXIF: to be turned by 90 degrees clockwise


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def stored(photo: Image.Image, folder: Path) -> dict[str, Path]:
    """One photograph in every way that images come in."""
    small = photo.resize((97, 61))
    half = Image.new("L", small.size, 128)
    variants: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "grey.png": (small.convert("L"), {}),
        "grey-alpha.png": (small.convert("LA"), {}),
        "palette.png": (small.quantize(32), {}),
        "palette-transparent.png": (small.quantize(32), {"transparency": bytes([0, 128, *[255] * 30])}),
        "alpha.png": (Image.merge("RGBA", (*small.split(), half)), {}),
        "cmyk.jpg": (small.convert("CMYK"), {}),
        "one-bit.png": (small.convert("1"), {}),
        "sixteen-bit.png": (Image.fromarray(np.asarray(small.convert("L"), dtype=np.uint16) * 257), {}),
        "rotated.jpg": (small, {"exif": _turned(ROTATED), "quality": 95}),
        **{f"turned-{n}.tiff": (small, {"exif": _turned(n)}) for n in (3, 6, 8)},
        **{f"turned-{n}.webp": (small, {"exif": _turned(n)}) for n in (2, 5, 7)},
        "odd.png": (photo.resize((331, 47)), {}),
        "thin.png": (photo.resize((3, 200)), {}),
        "pixel.png": (photo.resize((1, 1)), {}),
        "palette.gif": (small.quantize(32), {}),
        "small.webp": (small, {}),
    }
    for name, (image, more) in variants.items():
        image.save(folder / name, **more)
    return {name: folder / name for name in variants}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    y, x = np.mgrid[0:240, 0:320]
    picture = np.stack([x * 255 // 320, y * 255 // 240, (x + y) % 256], axis=-1).astype(np.uint8)
    return stored(Image.fromarray(picture), tmp_path_factory.mktemp("variants"))


def test_images_are_read_as_hugging_face_reads_them(variants: dict[str, Path]) -> None:
    for name, path in variants.items():
        image = open_image(str(path))
        assert image.mode == "RGB" and image.size == image_size(str(path)), name
        if name not in ("sixteen-bit.png", "palette-transparent.png"):  # one turns white there, one warns
            with Image.open(path) as opened:
                assert np.array_equal(np.asarray(image), np.asarray(load_image(opened))), name
    assert image_size(str(variants["rotated.jpg"])) == (61, 97)
    grey, deep = (np.asarray(open_image(str(variants[f"{name}.png"]))) for name in ("grey", "sixteen-bit"))
    assert np.array_equal(grey, deep)


def test_rotated_photographs_stand_upright(variants: dict[str, Path]) -> None:
    upright = open_image(str(variants["rotated.jpg"]))
    with Image.open(variants["rotated.jpg"]) as plain:
        assert np.array_equal(np.asarray(upright), np.asarray(plain.rotate(-90, expand=True)))


def test_what_is_in_an_image_counts_not_where_it_lies(variants: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.png"
    copy.write_bytes(variants["grey.png"].read_bytes())
    one, other, third = (
        [Example("x", "g", "q", "a", 1, image=str(path))]
        for path in (variants["grey.png"], copy, variants["alpha.png"])
    )
    assert examples_hash(one) == examples_hash(other) != examples_hash(third)
    before = image_hash(str(copy))
    copy.write_bytes(variants["odd.png"].read_bytes())
    assert image_hash(str(copy)) != before


def test_missing_images_are_counted(variants: dict[str, Path], tmp_path: Path) -> None:
    gone = [str(tmp_path / f"{n}.jpg") for n in (1, 2)]
    with pytest.raises(InputError, match=r"2 of 3 images are not there \(first: .*1\.jpg\)"):
        check_images([*gone, str(variants["odd.png"]), "", "black"])
    with pytest.raises(InputError, match=r"1 of 1 images are not there \(first: iVBORiVBOR.*\.\.\.\)"):
        check_images(["iVBOR" * 2000])  # a picture written out in letters is no file's name


def looked_at(model: Any, names: list[str]) -> None:
    """Shapes, spans and positions: in one batch every image is what it is alone, and a head reads behind it."""
    rows = [Example(str(i), str(i), "What is this?", "a thing", 1, image=name) for i, name in enumerate(names)]
    encoded = encode(model.tokenizer, rows, "plain", images_of(model))
    for row in encoded:
        assert row.image_span is not None
        start, stop = row.image_span
        assert row.ids[start:stop] == [images_of(model).token_id] * (stop - start)
        assert model.tokenizer.decode(row.ids[slice(*row.answer)]).strip() == "a thing"
    together = capture(model, rows, batch_size=len(rows)).z
    alone = capture(model, rows, batch_size=1).z
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, atol=5e-5, rtol=0)
    position = getattr(model.original_model.model, "get_rope_index", None)
    if position is not None and "mm_token_type_ids" in image_arguments(model, torch.zeros(1, 1).long(), names[:1]):
        for row in encoded:
            ids, mask = pad_rows([row.ids], model)
            more = image_arguments(model, ids, [row.image])
            places, _ = position(ids, attention_mask=mask, **{k: v for k, v in more.items() if k != "pixel_values"})
            assert row.image_span is not None
            start, stop = row.image_span
            _, height, width = (int(n) for n in more["image_grid_thw"][0])
            assert stop - start == height * width // 4
            # Behind the image the text goes on from its longer side.
            assert places[:, 0, stop].tolist() == [start + max(height, width) // 2] * 3


@pytest.mark.parametrize("family", list(FAMILIES))
def test_images_as_people_store_them(family: str, variants: dict[str, Path], tmp_path: Path) -> None:
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    names = [str(path) for path in variants.values()]
    if "qwen" in family:  # its processor refuses images more than 200 times as long as wide, by name
        strip = tmp_path / "strip.png"
        Image.new("RGB", (900, 3)).save(strip)
        with pytest.raises(InputError, match=r"strip\.png: .* 900 x 3 pixels \(absolute aspect ratio must be smaller"):
            looked_at(model, [str(strip)])
    looked_at(model, names)


@pytest.mark.published
@pytest.mark.parametrize("family", list(FAMILIES))
def test_real_photographs(family: str, data: Path, tmp_path: Path) -> None:
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    photographs = sorted((data / "images").rglob("*.jpg"))
    assert len(photographs) == 11
    looked_at(model, [str(path) for path in photographs])
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photographs[0].read_bytes()[:20000])
    with pytest.raises(InputError, match=r"cut\.jpg: is damaged and cannot be read"):
        looked_at(model, [str(cut)])
