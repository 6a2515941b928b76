"""Images of records: every place and every kind, upright on white; and what is refused, in one line."""

import base64
import io
import struct
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sparkcli.errors import InputError, SparkError
from sparkcli.files import images
from sparkcli.files.images import absolute_images, load_image, load_images, read_image, store_image, told
from sparkcli.files.pixels import picture
from sparkcli.records import Prompt

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG whose header may say anything."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def corner(content: bytes) -> tuple[int, int, int]:
    """The pixel in the upper left corner, as a model would see it."""
    image = load_image(uri(content), allow_remote=False)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


PICTURE = Image.radial_gradient("L").convert("RGB")


def palette(first: tuple[int, int, int]) -> Image.Image:
    image = Image.new("P", (4, 3), 0)
    image.putpalette([*first, 0, 0, 255])
    return image


@pytest.mark.parametrize(("content", "expected"), [
    (encoded(Image.new("RGB", (4, 3), RED)), RED),
    (encoded(Image.new("L", (4, 3), 7)), (7, 7, 7)),
    (encoded(Image.new("1", (4, 3), 1)), WHITE),
    (encoded(Image.new("I;16", (4, 3), 65535)), WHITE),
    (encoded(Image.new("I;16", (4, 3), 32768)), (128, 128, 128)),
    (encoded(Image.new("I;16", (4, 3), 0)), (0, 0, 0)),
    (encoded(Image.new("I;16", (4, 3), 0), transparency=0), WHITE),
    (encoded(Image.new("I", (4, 3), 65535), "PPM"), WHITE),
    (encoded(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "TIFF"), RED),
    (encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), RED),
    (encoded(palette(RED)), RED),
    (encoded(palette(RED), bits=1), RED),
    (encoded(palette((0, 0, 0)), transparency=0), WHITE),
    (encoded(palette((0, 0, 0)), "GIF", transparency=0), WHITE),
    (encoded(Image.new("LA", (4, 3), (0, 0))), WHITE),
    (encoded(Image.new("RGBA", (4, 3), (0, 0, 0, 0))), WHITE),
    (encoded(Image.new("RGBA", (4, 3), (0, 0, 0, 255))), (0, 0, 0)),
    (encoded(Image.new("RGBA", (4, 3), (255, 0, 0, 51))), (255, 204, 204)),
    (encoded(Image.new("RGB", (4, 3), (0, 0, 0)), transparency=(0, 0, 0)), WHITE),
    (encoded(Image.new("RGBA", (4, 3), (0, 0, 0, 0)), "WEBP", lossless=True), WHITE),
    (encoded(Image.new("RGB", (4, 3), RED), "BMP"), RED),
])
def test_every_mode_is_seen_in_colour_on_white(content: bytes, expected: tuple[int, int, int]):
    assert corner(content) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP", "MPO", "AVIF"])
def test_of_an_animation_the_first_frame_is_seen(kind: str):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    assert corner(encoded(frames[0], kind, save_all=True, append_images=frames[1:])) == pytest.approx(RED, abs=6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_camera_is_turned_upright(kind: str, orientation: int):
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 16, 16))
    undo = [None, None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_270][orientation]
    held = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(uri(encoded(held, kind, exif=exif)), allow_remote=False)
    assert image.size == (48, 32)
    assert image.getpixel((4, 4)) == pytest.approx(RED, abs=12)
    assert image.getpixel((44, 28)) == pytest.approx(WHITE, abs=12)


def test_broken_notes_beside_the_pixels_are_no_reason_to_refuse_them():
    assert corner(encoded(Image.new("RGB", (16, 16), RED), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05brok")) == (
        pytest.approx(RED, abs=2))


def png_of_noise() -> bytes:
    return encoded(Image.effect_noise((300, 300), 60), "PNG")


def filled_up(content: bytes) -> bytes:
    """The first half, and zeros: what an interrupted download may leave."""
    return content[:len(content) // 2] + bytes(len(content) - len(content) // 2)


def test_an_old_bitmap_is_read_by_its_own_header():
    """OS/2's is of 12 bytes: width and height have two each."""
    header = b"BM" + struct.pack("<IHHI", 26 + 12, 0, 0, 26) + struct.pack("<IHHHH", 12, 1, 3, 1, 24)
    assert picture(header + b"\x00\x00\xff\x00" * 3).size == (1, 3)


BOMB = png(50_000, 50_000)

REFUSED: list[tuple[bytes, str]] = [
    (b"", "is empty; was the file written whole?"),
    (b"just some words\n",
     "no image in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000); it is a text file"),
    (b"<!DOCTYPE html><html>404</html>", "it is an HTML page, was a download refused?"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it looks like SVG, save it as PNG"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer, run git lfs pull"),
    (b"BMI of a person, by age and sex: see the table\n", "cannot be decoded: "),
    (b"GIF8 is how these begin: see the specification\n", "; it is a text file"),
    (filled_up(png_of_noise()), "cannot be decoded: broken PNG file"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image in a format that is read"),
    (bytes(range(256)), "was it cut, or is it another kind of file?"),
    (png(0, 0), "0 × 0 pixels: there is nothing to see; leave the image out"),
    (png(7, 0), "7 × 0 pixels: there is nothing to see"),
    (b"GIF89a" + bytes(20), "0 × 0 pixels: there is nothing to see"),
    (png(10_000, 10_000), "10000 × 10000 pixels, above 89,478,485, which may be a decompression bomb; scale it down"),
    (BOMB, "50000 × 50000 pixels, above 89,478,485"),
    (png(2**31 - 1, 2**31 - 1), "2147483647 × 2147483647 pixels, above"),
    (encoded(Image.new("F", (4, 3)), "TIFF"), "its pixels are floating-point numbers of no known range"),
    (png(10, 10), "cannot be decoded: image file is truncated"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_image(str(path), allow_remote=False)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_half_a_picture_is_never_shown(kind: str, share: float):
    content = encoded(PICTURE, kind)
    assert load_image(uri(content), allow_remote=False).size == PICTURE.size
    with pytest.raises(InputError):
        load_image(uri(content[:int(len(content) * share)]), allow_remote=False)


def test_a_bomb_is_refused_by_its_header_before_memory_is_taken():
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(InputError, match="decompression bomb"):
        load_image(uri(BOMB), allow_remote=False)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_paths_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "folder.png").mkdir()
    for path, message in ((tmp_path / "none.png", "no such file; paths are relative to the file that names them"),
                          (tmp_path / "folder.png", "is a directory; name the image in it"),
                          ("/dev/null", "is no regular file"), ("a\0b", "cannot be read"),
                          ("x" * 300, "cannot be read: File name too long"),
                          ("file:///etc/hostname", "only http and https URLs are read; name a file by its path")):
        with pytest.raises(InputError, match=message) as raised:
            load_image(str(path), allow_remote=True)
        assert "\n" not in str(raised.value)


def test_a_huge_file_is_not_read(tmp_path: Path):
    path = tmp_path / "a.png"
    with open(path, "wb") as file:
        file.truncate(images.LARGEST_BYTES + 1)
    with pytest.raises(InputError, match="268,435,457 bytes, above 268,435,456; scale it down"):
        read_image(str(path), allow_remote=False)


@pytest.mark.parametrize("write", [
    uri,
    lambda content: uri(content).rstrip("="),
    lambda content: uri(content).replace("data:", "DATA:").replace(";base64", ";BASE64"),
    lambda content: urllib.parse.quote(uri(content), safe=":;,/"),
    lambda content: "\n ".join(uri(content)[i:i + 60] for i in range(0, len(uri(content)), 60)),
    lambda content: f"data:image/png,{urllib.parse.quote_from_bytes(content)}",
])
def test_data_uris(write: Callable[[bytes], str]):
    content = encoded(PICTURE)
    assert read_image(write(content), allow_remote=False) == content


@pytest.mark.parametrize(("reference", "message"), [
    ("data:image/png;base64", "data:image/png;base64,… (0 bytes): a data URI without a comma"),
    ("data:image/png;base64,***", "whose base64 cannot be decoded; was it cut?"),
    ("data:,hello", "data:,… (5 bytes): no image in a format that is read"),
])
def test_data_uris_that_hold_no_image(reference: str, message: str):
    with pytest.raises(InputError) as raised:
        load_image(reference, allow_remote=False)
    assert message in str(raised.value)


def test_images_are_told_in_short():
    assert told(f"data:image/png;base64,{'A' * 4000}") == "data:image/png;base64,… (3000 bytes)"
    assert told("figures/\n1.png") == "figures/ 1.png"
    assert len(told("https://example.org/" + "x" * 5000)) < 200


def test_images_of_a_prompt_are_named_by_number(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(encoded(PICTURE))
    found = load_images("p1", [str(tmp_path / "a.png"), uri(encoded(PICTURE))], allow_remote=False)
    assert [image.size for image in found] == [PICTURE.size] * 2
    with pytest.raises(InputError) as raised:
        load_images("p1", [str(tmp_path / "a.png"), "b.png"], allow_remote=False)
    assert str(raised.value).startswith("prompt 'p1': image 2 (b.png): no such file; paths are relative to the file")


def test_images_are_kept_once_under_their_content(tmp_path: Path):
    content = encoded(PICTURE)
    first = store_image(content, tmp_path / "new" / "images")
    before = first.stat().st_mtime_ns
    assert store_image(content, tmp_path / "new" / "images") == first
    assert first.read_bytes() == content and first.stat().st_mtime_ns == before
    assert first.suffix == ".png" and len(first.stem) == 64
    assert store_image(encoded(PICTURE, "JPEG"), first.parent).suffix == ".jpg"
    assert len(list(first.parent.iterdir())) == 2


def test_what_cannot_be_kept(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SparkError, match="cannot be written: File exists; name another folder"):
        store_image(encoded(PICTURE), tmp_path / "file")
    with pytest.raises(InputError, match=r"image \(5 bytes\): no image"):
        store_image(b"hello", tmp_path)


def test_relative_paths_become_absolute_in_lists_and_in_messages(tmp_path: Path):
    kept = ["https://example.org/b.png", "data:image/png;base64,AA==", "/abs/c.png"]
    parts = [{"type": "text", "text": "image"}, {"type": "image"}, {"type": "image", "image": "a.png"},
             {"type": "image", "path": "a.png", "detail": "low"}, {"type": "image_url", "image_url": "a.png"},
             {"type": "image_url", "image_url": {"url": "a.png", "detail": "low"}}, {"type": "image", "url": kept[0]}]
    messages = [{"role": "system", "content": "a.png"}, {"role": "user", "content": parts}]
    found = absolute_images(Prompt(id="p", prompt=messages, images=("a.png", *kept)), tmp_path)
    path = str(tmp_path / "a.png")
    assert found.images == (path, *kept)
    assert isinstance(found.prompt, list)
    assert found.prompt[0] == messages[0]
    assert found.prompt[1]["content"] == [
        *parts[:2], {"type": "image", "image": path}, {"type": "image", "path": path, "detail": "low"},
        {"type": "image_url", "image_url": path},
        {"type": "image_url", "image_url": {"url": path, "detail": "low"}}, parts[6]]
    assert parts[2] == {"type": "image", "image": "a.png"}


class Site(BaseHTTPRequestHandler):
    """A server that has `/a.png`, and is unkind on other paths."""

    content = encoded(PICTURE)

    def do_GET(self) -> None:
        ways: dict[str, Callable[[], None]] = {
            "/a.png": lambda: self.answer(200, self.content), "/b%20%C3%A9.png": lambda: self.answer(200, self.content),
            "/moved": lambda: self.answer(302, b"", location="/a.png"),
            "/away": lambda: self.answer(302, b"", location="file:///etc/hostname"),
            "/ftp": lambda: self.answer(302, b"", location="ftp://localhost/a.png"),
            "/loop": lambda: self.answer(302, b"", location="/loop"),
            "/cut": lambda: self.answer(200, self.content[:100], length=len(self.content)),
            "/page": lambda: self.answer(200, b"<html>sign in</html>"),
            "/endless": self.endless, "/silent": lambda: threading.Event().wait(0.6) and None}
        ways.get(self.path, lambda: self.answer(404, b"none"))()

    def answer(self, status: int, content: bytes, location: str = "", length: int | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return  # the other side had enough

    def log_message(self, *told: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = False  # they end before the test does
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_remote_images_need_permission(site: str):
    with pytest.raises(InputError, match=r"/a\.png: is remote; allow it with --allow-remote-images"):
        load_image(f"{site}/a.png", allow_remote=False)
    for path in ("a.png", "moved", "b é.png", "b%20%C3%A9.png"):
        assert load_image(f"{site}/{path}", allow_remote=True).size == PICTURE.size


@pytest.mark.parametrize(("path", "message"), [
    ("none.png", "the server answered 404 Not Found; check the URL"), ("loop", "the server answered 302"),
    ("away", "the server answered 302"), ("ftp", "cannot be fetched: unknown url type: ftp"),
    ("cut", r"the connection ended after 100 of \d+ bytes; try again"), ("page", "it is an HTML page"),
    ("endless", "more than 1,000,000 bytes"), ("silent", "cannot be fetched"),
])
def test_unkind_servers(site: str, monkeypatch: pytest.MonkeyPatch, path: str, message: str):
    monkeypatch.setattr(images, "LARGEST_BYTES", 1_000_000)
    monkeypatch.setattr(images, "SECONDS", 0.3)
    with pytest.raises(InputError, match=message) as raised:
        load_image(f"{site}/{path}", allow_remote=True)
    assert str(raised.value).startswith(f"{site}/{path}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.png", "http://", "http://[::1/a.png", "https://127.0.0.1:9/a"])
def test_servers_that_are_none(url: str):
    with pytest.raises(InputError, match="cannot be fetched"):
        load_image(url, allow_remote=True)
