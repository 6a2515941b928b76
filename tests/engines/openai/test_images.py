"""What a chat server is sent of images: the pictures themselves, and nothing of where they are."""

import base64
import contextlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.engines.openai.faulty import Answerer, serving

from sparkcli.config import ModelConfig, RolloutConfig, ServerConfig
from sparkcli.engines import open_engine
from sparkcli.engines.openai.images import data_uri
from sparkcli.files.images import load_image
from sparkcli.records import Prompt, Rollout


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answerer]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(answerer := Answerer()):
        yield answerer


@pytest.fixture
def picture(tmp_path: Path) -> str:
    noise = Image.effect_noise((40, 30), 80).convert("RGB")
    noise.save(tmp_path / "private-name.png")
    return str(tmp_path / "private-name.png")


def sampled(server: Answerer, *prompts: Prompt, **settings: Any) -> list[list[Rollout]]:
    model = ModelConfig(name="builtin:tiny-math", engine="openai", **settings)
    with contextlib.closing(open_engine(model, None, ServerConfig(base_url=(server.url,), concurrency=1))) as engine:
        return list(engine.sample(prompts, RolloutConfig(samples=2, max_tokens=50)))


def decoded(url: str) -> tuple[str, bytes]:
    """Media type and bytes of a data URI."""
    header, _, data = url.partition(",")
    assert header.startswith("data:") and header.endswith(";base64")
    return header.removeprefix("data:").removesuffix(";base64"), base64.b64decode(data)


def urls(request: dict[str, Any]) -> list[str]:
    return [part["image_url"]["url"] for message in request["messages"] if isinstance(message["content"], list)
            for part in message["content"] if part["type"] == "image_url"]


def test_images_stand_at_their_places_and_no_path_is_told(server: Answerer, picture: str, tmp_path: Path) -> None:
    Image.new("RGB", (5, 5), "red").save(tmp_path / "red.png")
    parts = [{"type": "text", "text": "Is this "}, {"type": "image"}, {"type": "text", "text": " red as this? "},
             {"type": "image_url", "image_url": {"url": str(tmp_path / "red.png")}}]
    (group,) = sampled(server, Prompt(id="two", images=(picture,), prompt=[
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]))
    assert [rollout.error for rollout in group] == [None, None] and group[0].images == (picture,)
    [request] = server.asked
    system, user = request["messages"]
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "text", "image_url"]
    assert [decoded(url)[1] for url in urls(request)] == [
        Path(path).read_bytes() for path in (picture, tmp_path / "red.png")]
    assert str(tmp_path) not in json.dumps(request) and "private-name" not in json.dumps(request)


def test_images_of_a_record_stand_before_its_text(server: Answerer, picture: str) -> None:
    sampled(server, Prompt(id="one", prompt="What is it?", images=(picture,)))
    [message] = server.asked[0]["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]


def test_messages_without_images_are_sent_as_they_are(server: Answerer) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "7?"}]}]
    sampled(server, Prompt(id="text", prompt="7?"), Prompt(id="chat", prompt=chat))
    assert [request["messages"] for request in server.asked] == [[{"role": "user", "content": "7?"}], chat]


def test_what_is_large_is_scaled_down(server: Answerer, picture: str) -> None:
    sampled(server, Prompt(id="one", prompt="What is it?", images=(picture,)), max_pixels=300)
    kind, content = decoded(urls(server.asked[0])[0])
    assert kind == "image/png" and Image.open(io.BytesIO(content)).size == (20, 15)


def test_a_bad_image_is_its_prompts_error(server: Answerer, picture: str, tmp_path: Path) -> None:
    bad = Prompt(id="bad", prompt="?", images=(picture, str(tmp_path / "absent.png")))
    fewer = Prompt(id="fewer", prompt=[{"role": "user", "content": [{"type": "image"}]}])
    groups = sampled(server, bad, Prompt(id="good", prompt="?", images=(picture,)), fewer)
    assert "'bad': image 2 (" in (groups[0][0].error or "") and "no such file" in (groups[0][0].error or "")
    assert groups[1][0].error is None and "0 for 1 places" in (groups[2][0].error or "")
    assert len(server.asked) == 1


def test_remote_images_are_fetched_here_where_that_is_allowed(server: Answerer, picture: str) -> None:
    class Images(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(Path(picture).read_bytes())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Images) as images:
        threading.Thread(target=images.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{images.server_port}/secret.png"
        prompt = Prompt(id="far", prompt="?", images=(address,))
        (refused,), (fetched,) = sampled(server, prompt), sampled(server, prompt, allow_remote_images=True)
        images.shutdown()
    assert "--allow-remote-images" in (refused[0].error or "") and fetched[0].error is None
    [request] = server.asked
    sent = Image.open(io.BytesIO(decoded(urls(request)[0])[1]))
    assert sent.tobytes() == Image.open(picture).tobytes()
    assert address not in json.dumps(request)


class TestAsStored:
    """Whoever decodes what is sent sees what we see."""

    def sent(self, path: Path) -> tuple[str, bytes]:
        seen = load_image(str(path), allow_remote=False)
        kind, content = decoded(data_uri(str(path), seen))
        image = Image.open(io.BytesIO(content))
        assert image.convert("RGB").tobytes() == seen.tobytes() and image.size == seen.size
        assert Image.MIME[image.format or ""] == kind
        return kind, content

    @pytest.mark.parametrize(("name", "kind"), [("a.png", "image/png"), ("a.jpg", "image/jpeg"),
                                                ("a.webp", "image/webp")])
    def test_what_all_decode_alike_is_sent_as_it_is(self, tmp_path: Path, picture: str, name: str, kind: str) -> None:
        Image.open(picture).save(tmp_path / name)
        assert self.sent(tmp_path / name) == (kind, (tmp_path / name).read_bytes())

    def test_grey_is_sent_as_it_is(self, tmp_path: Path, picture: str) -> None:
        Image.open(picture).convert("L").save(tmp_path / "grey.png")
        assert self.sent(tmp_path / "grey.png")[1] == (tmp_path / "grey.png").read_bytes()

    def test_what_servers_may_see_otherwise_is_sent_as_we_see_it(self, tmp_path: Path, picture: str) -> None:
        image = Image.open(picture)
        turned = Image.Exif()
        turned[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=turned)
        image.convert("RGBA").resize((8, 8)).point(lambda value: value // 2).save(tmp_path / "transparent.png")
        image.save(tmp_path / "moving.gif", save_all=True, append_images=[image.rotate(90)])
        image.save(tmp_path / "old.bmp")
        for name in ("turned.jpg", "transparent.png", "moving.gif", "old.bmp"):
            kind, content = self.sent(tmp_path / name)
            assert kind == "image/png" and content != (tmp_path / name).read_bytes(), name
