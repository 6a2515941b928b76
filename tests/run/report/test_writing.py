"""The page: what stands on it, and that nothing in a record can be more than text."""

from pathlib import Path

import pytest
from tests.run.report.conftest import Read, Write, picture, row, scored

from sparkcli.run.report.writing import TEXT_SHOWN, page_on_records, page_on_run, visible

EVIL = ('<script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">x</a> ]]> --> </style>'
        '</title></textarea><svg onload=alert(4)> {{ 7*7 }} {% raw %} &amp; \u202eevil\u202c \x00\x07 half \ud83d')
TOLD = EVIL.replace("\u202e", "⟨U+202E⟩").replace("\u202c", "⟨U+202C⟩").replace(
    "\x00\x07", "⟨U+0000⟩⟨U+0007⟩").replace("\ud83d", "⟨U+D83D⟩")


def read(path: Path, limit: int = 100) -> Read:
    return Read(page_on_records(str(path), limit, allow_remote=False).content)


def every_field(evil: str) -> list[dict[str, object]]:
    """Records with this text wherever a record holds text."""
    judgement = {"mode": "pointwise", "status": "ok", "score": 0.5, "votes": 2, "asked": 3, "critique": evil}
    sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0, "max_tokens": 9, "engine": evil}
    parts = [{"type": "image", "image": f"javascript:{evil}"}, {"type": "text", "text": evil}, {"type": "image"}]
    messages = [{"role": evil, "content": evil}, {"role": "user", "content": parts}]
    return [{"id": evil, "prompt": messages, "question": evil, "answer": evil, "verifier": {"name": evil},
             "images": [f"data:text/html,{evil}"], "source": [{"id": evil, "sample": 0}], evil: evil, "sample": 0,
             "samples": 2, "completion": evil, "error": evil, "policy": evil, "sampling": sampling,
             "verdict": {"status": "wrong", "extracted": evil, "verifier": evil, "reason": evil}, "reward": 0.0,
             "judgement": judgement, "trace": [{"kind": "answer", "completion": evil, "extracted": evil}], "rounds": 0},
            {"id": f"other {evil}", "prompt": [{"role": "user", "content": [{"type": evil}]}]},
            {"id": f"no place {evil}", "prompt": [{"role": "user", "content": [{"type": "image"}]}], "question": evil}]


def test_nothing_in_a_record_is_more_than_text(write: Write):
    page = read(write(*every_field(EVIL)))
    tags = {tag for tag, _ in page.elements}
    assert tags & {"script", "img", "iframe", "object", "textarea", "foreignobject"} == set()
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    assert all(value.startswith(("#", "data:image/")) for name in ("href", "xlink:href", "src")
               for value in page.values(name))
    shown = " ".join(TOLD.split())
    assert page.text.count(shown) >= 10


def test_the_page_says_nothing_else_of_harmless_and_hostile_text(write: Write):
    """Markup in a field would change the elements of the page."""
    hostile, harmless = (read(write(*every_field(text))) for text in (EVIL, "x" * len(EVIL)))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]


def test_a_policy_lets_nothing_run_or_load(write: Write):
    page = read(write(row("a")))
    policy = next(attributes["content"] for tag, attributes in page.elements
                  if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")
    assert "script-src" not in policy


def test_the_same_records_give_the_same_bytes(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture(tmp_path / "a.png")
    write(*scored("p", "correct", "wrong", images=["a.png", "gone.png"]))
    monkeypatch.chdir(tmp_path)
    pages = [page_on_records("records.jsonl", 9, allow_remote=False).content for _ in range(2)]
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_a_group_with_all_that_is_known_of_it(write: Write):
    page = read(write(*scored("p", "correct", "wrong", "gold_unparseable")))
    for words in ("What is p?", "gold answer 4", "✓ correct sample 0 · answer 0 · reward 1 · stop · 3 tokens · mean "
                  "log-prob -1", "✗ wrong sample 1 · answer 1 · reward 0",
                  "gold unreadable sample 2 · answer 2 · reward –", r"It is \boxed{1}.", "correct 1 (33.3 %)",
                  "mixed 1 (100.0 %)"):
        assert words in page.text


def test_samples_that_failed_say_why(write: Write):
    failed = row("p", sample=0, samples=1, completion="", finish_reason="error", error="prompt of 9,000 tokens")
    assert "not sampled sample 0 · error Error: prompt of 9,000 tokens" in read(write(failed)).text


def test_judgements_and_reflections(write: Write):
    judgement = {"mode": "pointwise", "status": "ok", "score": 0.75, "label": "Yes", "votes": 4, "asked": 5,
                 "critique": "It adds up."}
    trace = [{"kind": "answer", "completion": "5", "extracted": "5"}, {"kind": "judge", "completion": "No."}]
    sample = row("p", sample=0, samples=1, completion="4")
    page = read(write({**sample, "judgement": judgement}, {**sample, "id": "q", "trace": trace, "rounds": 1},
                      {**sample, "id": "r", "judgement": {**judgement, "status": "no_verdict", "votes": 0}}))
    for words in ("judged right", "Judged pointwise: Yes score 0.75, 4 of 5 votes read", "critique It adds up.",
                  "2 turns of self-reflection answer: 5 5 judge No.",
                  "Judged pointwise: no verdict, 0 of 5 votes read"):
        assert words in page.text


def test_recycled_prompts_lead_to_what_they_were_made_from(write: Write):
    source = [{"id": "p", "sample": 1}, {"id": "elsewhere", "sample": 0}]
    page = read(write(*scored("p", "wrong"), row("p/judge", task="judge", source=source)))
    assert "made from sample 1 of p, sample 0 of elsewhere" in page.text
    assert "#records-1" in page.values("href") and "#records-2" not in page.values("href")


def test_images_stand_at_their_places_and_in_the_page_once(write: Write, tmp_path: Path):
    picture(tmp_path / "a.png")
    parts = [{"type": "text", "text": "before"}, {"type": "image"}, {"type": "text", "text": "after"}]
    rows = [row(id, prompt=[{"role": "user", "content": parts}], images=["a.png"]) for id in ("p", "q")]
    content = page_on_records(str(write(*rows)), 9, allow_remote=False).content.decode()
    assert content.count("data:image/") == 1
    assert content.index(">before<") < content.index('<use href="#pixels-1"') < content.index(">after<")
    assert content.count('<use href="#pixels-1"') == 2
    assert "p and 1 more a.png, 640 × 480" in Read(content.encode()).text


def test_images_that_cannot_be_shown_say_why(write: Write):
    page = read(write(row("p", images=["gone.png"]),
                      row("q", prompt=[{"role": "user", "content": [{"type": "image"}]}], question="Which?")))
    assert "Image 1 cannot be opened: gone.png: no such file" in page.text
    assert "Images cannot be placed: images: 0 for 1 places in the prompt" in page.text and "Which?" in page.text


def test_real_images_are_all_on_the_contact_sheet(shared_data: Path, write: Write):
    images = sorted((shared_data / "mathvision" / "images").iterdir())
    page = page_on_records(str(write(*(row(path.stem, images=[str(path)]) for path in images))), 5, allow_remote=False)
    assert page.summary == f"5 of {len(images)} prompts; {len(images)} images"
    assert page.content.count(b"data:image/") == len(images) and page.content.count(b"<use href") == 5
    assert len(page.content) < 20_000 * len(images)


def test_every_link_leads_somewhere_and_every_name_is_given_once(run_folder: Path):
    page = Read(page_on_run(run_folder, 9, allow_remote=False).content)
    names = page.values("id")
    assert len(names) == len(set(names))
    assert {link.removeprefix("#") for link in page.values("href") if link[0] == "#"} <= set(names)


def test_long_texts_are_folded_and_cut(write: Write):
    long = row("p", sample=0, samples=1, completion="x" * 1_000_000)
    content = page_on_records(str(write(long)), 9, allow_remote=False).content
    assert len(content) < 2 * TEXT_SHOWN
    page = Read(content)
    assert "1,000,000 characters" in page.text and "980,000 more characters are left out." in page.text
    assert "summary" in {tag for tag, _ in page.elements}


def test_what_is_left_out_is_told(write: Write):
    page = page_on_records(str(write(*(row(id) for id in "abc"))), 2, allow_remote=False)
    assert "2 shown, 1 left out (--limit)." in Read(page.content).text
    assert page.summary == "2 of 3 prompts"


def test_a_run_that_was_killed(run_folder: Path):
    page = page_on_run(run_folder, 9, allow_remote=False)
    text = Read(page.content).text
    assert page.summary == "2 of 4 steps; 2 of 2 prompts"
    for words in ("2 of 4 steps done: the run is not finished; 9 s.", "solve 25.0 ± 12.5 12", "self reflection -",
                  "Mean reward of the samples", "Time of a step", "train.lr 0.0001", "Step 2, policy update",
                  "Prompts of step 2, recycled update", "made from sample 1 of p"):
        assert words in text


def test_a_run_that_has_only_begun(tmp_path: Path):
    (tmp_path / "recipe.toml").write_text("[loop]\nsteps = 4\n")
    text = Read(page_on_run(tmp_path, 9, allow_remote=False).content).text
    assert "0 of 4 steps done" in text and "Nothing was evaluated yet." in text


@pytest.mark.parametrize(("text", "shown"), [
    ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
    ("a\r\nb\rc", "a\nb⟨U+000D⟩c"),
    ("مرحبا 数学 👍🏽", "مرحبا 数学 👍🏽"),
    ("\u2066a\u2069 \u200f \ufeff", "⟨U+2066⟩a⟨U+2069⟩ ⟨U+200F⟩ ⟨U+FEFF⟩"),
    ("\ufffd \uffff", "\ufffd ⟨U+FFFF⟩"),
])
def test_characters_that_would_hide_are_seen(text: str, shown: str):
    assert visible(text) == shown
