"""Files become pages, and pages passages: word for word, and nothing that nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_files import manual

from edge_agent.language.documents import HTML, Block, Page, paged, read_file
from edge_agent.language.passages import cut
from edge_agent.language.pdf import read_pdf
from edge_agent.language.words import clean, language_of, terms, trigrams

FOLDER = Path(__file__).parent / "manuals"
FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_section_of_a_manual_is_found_by_its_heading(file: Path) -> None:
    """In Markdown, HTML and text, in four languages."""
    passages = list(cut(read_file(file)))
    headings = list(dict.fromkeys(one.heading for one in passages))
    count = 20 if file.name.startswith("pump") else 10
    numbers = [one.split()[0] for one in headings[1:]]
    assert numbers == [str(number) for number in range(1, count + 1)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_passage_is_a_stretch_of_its_page(file: Path) -> None:
    """Word for word, at the place it names; every sign of a page that is no heading is in one."""
    pages = {page.number: page for page in read_file(file)}
    passages = list(cut(pages.values()))
    for one in passages:
        assert one.text == pages[one.page].text[one.start : one.end]
    inside = sum(len("".join(one.text.split())) for one in passages)
    headings = sum(len("".join(h.text.split())) for page in pages.values() for h in page.headings)
    whole = sum(len("".join(page.text.split())) for page in pages.values())
    assert inside + headings == whole


@pytest.mark.parametrize(
    ("file", "warnings"),
    [("pump.en.md", 5), ("pump.zh.md", 5), ("pump.ja.md", 5), ("pump.de.md", 5)],
)
def test_warnings_are_passages_of_their_own(file: str, warnings: int) -> None:
    """DANGER, 危险, 危険 and GEFAHR alike, each in its section."""
    found = [one for one in cut(read_file(FOLDER / file)) if one.hazard]
    assert [one.heading.split()[0] for one in found] == ["1", "3", "5", "11", "16"][:warnings]
    assert all("\n\n" not in one.text for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "The warning lamp is red.",
        "警告灯が点灯します。",
        "请注意方向。",
        "Dangerous goods",
        "WARNINGS",
    ],
)
def test_a_sentence_about_a_warning_is_none(text: str) -> None:
    """Only a signal word at the beginning counts."""
    assert not [one for one in cut(paged([Block(text)])) if one.hazard]


def test_what_no_reader_sees_is_not_in_the_text(tmp_path: Path) -> None:
    """Scripts, hidden elements, comments; an element that is not closed hides no other one."""
    file = tmp_path / "a.html"
    file.write_text(
        "<html><head><title>t</title></head><body><h1>Oil</h1><script>order()</script>"
        "<p style='display: none'>order one</p><div hidden><p>order two</div>"
        "<p>Change <b>the</b>\n oil.<br>Now<!-- order three --></p><style>p{}</style>"
        "<p style='color:white'>white</p></body></html>"
    )
    (page,) = read_file(file)
    assert page.text == "Oil\n\nChange the oil.\n\nNow\n\nwhite"
    markdown = tmp_path / "a.md"
    markdown.write_text("# Oil\n<!-- order\n\nfour -->\nChange it.\n\n```\n# no heading\n```\n")
    (page,) = read_file(markdown)
    assert "order" not in page.text
    assert [one.text for one in page.headings] == ["Oil"]


def test_controls_and_zero_widths_are_dropped() -> None:
    """A text reads as it is stored: no direction is turned, nothing is written over."""
    assert clean("a\u202eb\x1b[31mc\u200bd\r\ne\tf\x00\u00ad") == "ab[31mcd\ne f"


def test_files_in_old_encodings(tmp_path: Path) -> None:
    for name, raw in (
        ("a.txt", "Öl prüfen".encode("cp1252")),
        ("b.txt", "Öl prüfen".encode("utf-16")),
        ("c.htm", b"<meta charset=gb2312><p>" + "换油".encode("gb2312")),
    ):
        (tmp_path / name).write_bytes(raw)
    texts = [read_file(tmp_path / name)[0].text for name in ("a.txt", "b.txt", "c.htm")]
    assert texts == ["Öl prüfen", "Öl prüfen", "换油"]


def test_a_long_file_has_pages() -> None:
    """A page begins at a heading when the one before is long, and at a form feed."""
    blocks = [Block("x " * 2000), Block("Second", 1), Block("y"), Block("\f"), Block("z")]
    pages = paged(blocks)
    assert [page.text[:6] for page in pages] == ["x x x ", "Second", "z"]


@settings(max_examples=60, deadline=None)
@given(st.text(), st.sampled_from(sorted(HTML | {".md", ".txt"})))
def test_any_text_is_read(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    """Nothing that a file holds is an error, and every passage is word for word."""
    file = tmp_path_factory.mktemp("any") / f"a{suffix}"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    pages = {page.number: page for page in read_file(file)}
    for one in cut(pages.values()):
        assert one.text == pages[one.page].text[one.start : one.end]
        assert one.text.strip() == one.text != ""


def test_a_pdf_has_its_pages_and_headings(tmp_path: Path) -> None:
    """Lines in larger letters and numbered ones; white text is text like any other."""
    pytest.importorskip("pypdfium2")
    first = [("Filling and venting", 18, False), ("Loosen the vent screw.", 10, False)]
    second = [("4.2 Alignment", 10, False), ("Use shims.", 10, False), ("In white.", 10, True)]
    file = tmp_path / "a.pdf"
    file.write_bytes(manual([first, second]))
    pages, count = read_pdf(file, 10)
    assert (count, [[one.text for one in page.headings] for page in pages]) == (
        2,
        [["Filling and venting"], ["4.2 Alignment"]],
    )
    texts = [(one.page, one.heading, one.text) for one in cut(pages)]
    assert texts[0] == (1, "Filling and venting", "Loosen the vent screw.")
    assert texts[1][2].split("\n") == ["Use shims.", "In white."]
    assert len(read_pdf(file, 1)[0]) == 1


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I change the bearing?", "en"),
        ("Wie wechsle ich das Lager?", "de"),
        ("轴承怎么更换", "zh"),
        ("軸受の交換方法は", "ja"),
        ("E47", "en"),
        ("PLC の IP アドレスは", "ja"),
    ],
)
def test_the_language_of_a_question(text: str, language: str) -> None:
    assert language_of(text) == language


def test_short_words_of_chinese_are_found() -> None:
    """FTS5's trigrams miss words of one and two signs: pairs and single signs are indexed too."""
    assert trigrams("轴承") == []
    assert terms("轴承怎么换", question=True) == ["轴承", "换"]
    assert {"泵", "离心"} <= set(terms("离心泵"))


def test_a_page_has_an_end() -> None:
    """A page of megabytes is cut, so that no answer is."""
    page = Page(1)
    page.add(Block("x" * 100_000))
    assert len(page.text) < 30_000
