"""Measure the retrieval of manuals: the figures of docs/language.md.

    scripts/retrieval                            # 60 factory questions in three languages
    scripts/retrieval --questions tests/language/fresh2  # others; nothing was fitted on these
    scripts/retrieval --encoder both             # with another encoder (none, use, e5, both)
    scripts/retrieval --debian DIR [--take 5]    # titles of Debian Reference, in en, ja and zh
    scripts/retrieval --speed [FILE.pdf ...]     # a question to 2,000 pages, or to these manuals

DIR: usr/share/debian-reference of the packages debian-reference-en, -ja and -zh-cn. The title of a
section is the question there, and titles are taken out of the index. The weights were fitted on
one half of the sections (by a hash); the figures are of the other, unless --all is given.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As the daemon sets it for the processes that answer; read once, by the import of numpy.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import yaml

from edge_agent.language import parse_child
from edge_agent.language.calibration import calibrate, saved
from edge_agent.language.documents import Block, paged, read_file
from edge_agent.language.encoders import embedded_text, open_encoder
from edge_agent.language.index import Document, Index
from edge_agent.language.quotes import Quoter
from edge_agent.language.retrieval import Retriever

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.language.documents import Page
    from edge_agent.language.encoders import Encoder

TESTS = Path(__file__).parents[1] / "tests" / "language"
LANGUAGES = ("en", "zh", "ja")
SUFFIXES = {"en": "en", "zh": "zh-cn", "ja": "ja"}
NUMBER = re.compile(r"(?:第\s*)?(\d{1,2}(?:\.\d{1,2})*)\.?\s*(?:章\s*)?(.*)")
BATCH = 32


def main() -> int:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(prog="scripts/retrieval", description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", choices=["none", "use", "e5", "both"], default="use")
    parser.add_argument("--questions", type=Path, default=TESTS, metavar="DIR")
    parser.add_argument("--debian", type=Path, metavar="DIR")
    parser.add_argument("--take", type=int, default=5, metavar="N", help="R@1 and R@N")
    parser.add_argument("--all", action="store_true", help="also the half that was fitted on")
    parser.add_argument("--speed", type=Path, nargs="*", metavar="FILE")
    args = parser.parse_args()
    encoder = open_encoder(args.encoder)
    if args.debian:
        debian(encoder, args.debian, args.take, with_fitted=args.all)
    elif args.speed is not None:
        speed(encoder, args.speed)
    else:
        factory(encoder, args.questions)
    return 0


def indexed(encoder: Encoder | None, files: list[Path], *, titles: bool = True) -> Index:
    """An index of files; without titles, they are in no text that is searched."""
    index = Index.in_memory()
    for file in files:
        index.add(Document(file.name, file.name, "", 0, 0), read_file(file))
    if not titles:
        for table in ("trigram", "term"):
            index.db.execute(f"UPDATE {table} SET heading = ''")  # noqa: S608 (of two)
        index.db.execute("CREATE TABLE titles AS SELECT id, heading FROM parts")
        index.db.execute("UPDATE parts SET path = '', heading = ''")
    encode(index, encoder)
    return index


def encode(index: Index, encoder: Encoder | None) -> None:
    """Make the vectors of all passages."""
    if encoder is None:
        return
    index.set_meta("encoder", encoder.name)
    while batch := index.without_vectors(BATCH):
        vectors = encoder.encode_passages([embedded_text(one) for one in batch])
        index.add_vectors([one.id for one in batch], vectors)
    index.touch()


# Factory questions --------------------------------------------------------------------------------


def factory(encoder: Encoder | None, folder: Path) -> None:
    """Manuals of all languages together, then of one other language alone."""
    asked = yaml.safe_load((folder / "questions.yaml").read_text("utf-8"))
    print(
        "| question | manuals | ranked first | answered | answered rightly | wrongly | verbatim |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    files = sorted((folder / "manuals").iterdir())
    quoter, retriever = calibrated(indexed(encoder, files), encoder)
    for language in (*LANGUAGES, "de"):
        if not any(language in one for one in asked["answerable"]):
            continue
        row(asked, quoter, retriever, language, "all")
    if encoder is None:
        return
    for target in LANGUAGES:
        mine = [file for file in files if f".{target}." in file.name]
        quoter, retriever = calibrated(indexed(encoder, mine), encoder)
        for language in LANGUAGES:
            if language != target:
                row(asked, quoter, retriever, language, target)


def calibrated(index: Index, encoder: Encoder | None) -> tuple[Quoter, Retriever]:
    """Calibrate every manual, as the index child does."""
    retriever = Retriever(index, encoder)
    retriever.refresh()
    for document in index.documents():
        index.set_calibration(document.id, saved(calibrate(retriever, document)))
    index.touch()
    return Quoter(retriever), retriever


def row(
    asked: dict[str, Any], quoter: Quoter, retriever: Retriever, language: str, manuals: str
) -> None:
    """Rates over all questions of a language."""
    first = answered = right = quotes = verbatim = 0
    known = [one for one in asked["answerable"] if language in one]
    unknown = [one for one in asked["unanswerable"] if language in one]
    for one in known:
        found = quoter.answer(one[language], language)["passages"]
        best = retriever.search(one[language], language)[:1]
        first += any(goal(b.passage.name, b.passage.heading) == one["goal"] for b in best)
        said = [p for p in found if p["role"] == "passage"]
        answered += bool(said)
        right += bool(said) and goal(said[0]["document"], said[0]["heading"]) == one["goal"]
        quotes += len(found)
        verbatim += sum(is_verbatim(retriever.index, each) for each in found)
    wrong = sum(bool(quoter.answer(one[language], language)["passages"]) for one in unknown)
    rates = [first / len(known), answered / len(known), right / max(answered, 1)]
    shown = " | ".join(f"{100 * rate:.0f} %" for rate in [*rates, wrong / len(unknown)])
    print(f"| {language} | {manuals} | {shown} | {verbatim} of {quotes} |", flush=True)


def goal(document: str, heading: str) -> str:
    """The manual and the number of the section."""
    return f"{document.split('.', maxsplit=1)[0]} {heading.split(maxsplit=1)[0]}"


def is_verbatim(index: Index, quote: dict[str, Any]) -> bool:
    """True if the stored page that a quote names holds it."""
    _, _, _, document, _, number = str(quote["url"]).split("/")
    page = index.page(document, int(number))
    return page is not None and quote["text"] in page[0]


# Debian Reference ---------------------------------------------------------------------------------


def debian(encoder: Encoder | None, folder: Path, take: int, *, with_fitted: bool) -> None:
    """Titles of sections as questions, in each language and across languages."""
    indexes, titles, goals = {}, {}, {}
    for language, suffix in SUFFIXES.items():
        begun = time.monotonic()
        files = sorted(folder.glob(f"ch*.{suffix}.html"))
        indexes[language] = indexed(encoder, files, titles=False)
        titles[language], goals[language] = sections(indexes[language])
        print(f"{language}: {time.monotonic() - begun:.0f} s to index", file=sys.stderr, flush=True)
    common = sorted(set.intersection(*(set(one) for one in titles.values())))
    common = [key for key in common if with_fitted or is_held_out(key)]
    print(f"{len(common)} sections, encoder {encoder.name if encoder else 'none'}")
    pairs = [(one, one) for one in LANGUAGES]
    pairs += permutations(LANGUAGES, 2) if encoder else []
    for question, manual in pairs:
        retriever = Retriever(indexes[manual], encoder)
        retriever.refresh()
        ranks = [
            rank(retriever, titles[question][key], question, goals[manual][key], take)
            for key in common
        ]
        first, all_of_them = np.mean([r == 0 for r in ranks]), np.mean([r < take for r in ranks])
        print(f"{question} -> {manual}: R@1 {first:.2f} R@{take} {all_of_them:.2f}", flush=True)


def is_held_out(key: str) -> bool:
    """True for half of the sections, on which nothing was fitted."""
    return int(sha256(key.encode()).hexdigest(), 16) % 2 == 1


def sections(index: Index) -> tuple[dict[str, str], dict[str, set[int]]]:
    """Titles and parts by chapter and number, the same in all languages."""
    titles: dict[str, str] = {}
    goals: dict[str, set[int]] = {}
    query = "SELECT p.id, p.document, t.heading FROM parts AS p JOIN titles AS t ON t.id = p.id"
    for part, document, heading in index.db.execute(query):
        if match := NUMBER.fullmatch(heading):
            key = f"{document[:4]} {match[1]}"
            titles[key] = match[2]
            goals.setdefault(key, set()).add(part)
    return titles, goals


def rank(retriever: Retriever, question: str, language: str, wanted: set[int], take: int) -> int:
    """The place of a section among the sections that are found; `take` if it is not."""
    found = retriever.search(question, language)
    places = dict.fromkeys((one.passage.document, one.passage.section) for one in found)
    mine = {(o.passage.document, o.passage.section) for o in found if o.passage.part in wanted}
    return next((i for i, place in enumerate(places) if place in mine), take)


# Speed --------------------------------------------------------------------------------------------


def speed(encoder: Encoder | None, files: list[Path]) -> None:
    """How long a question takes, over 2,000 pages of invented sections or over files."""
    numbers = np.random.default_rng(1)
    index = Index.in_memory()
    begun = time.monotonic(), time.process_time()
    for document, pages in read(files) if files else invented(numbers):
        index.add(document, pages)
    encode(index, encoder)
    calibrated(index, encoder)
    took = time.monotonic() - begun[0], time.process_time() - begun[1]
    count = sum(document.pages for document in index.documents())
    print(
        f"{count} pages, {len(index.passages())} passages read, indexed, encoded and calibrated in"
        f" {took[0]:.0f} s, {took[1]:.0f} s of processor"
    )
    headings = [one.heading for one in index.passages() if one.heading]
    quoter = Quoter(Retriever(index, encoder))
    times = []
    for _ in range(200):
        question = f"How do I change the {numbers.choice(headings)}?"
        start = time.monotonic(), time.process_time()
        quoter.answer(question, "en")
        times.append((time.monotonic() - start[0], time.process_time() - start[1]))
    for name, column in zip(("clock", "processor"), zip(*times[1:], strict=True), strict=True):
        p50, p95 = np.quantile(column, [0.5, 0.95]) * 1000
        print(f"question to quotes, by the {name}: p50 {p50:.0f} ms, p95 {p95:.0f} ms")


def read(files: list[Path]) -> Iterator[tuple[Document, list[Page]]]:
    """The files as documents."""
    for file in files:
        pages, count = parse_child.read(file, 5000)
        yield Document(file.name.rjust(16, "0"), file.name, "", 0, 0, pages=count), pages


def invented(numbers: np.random.Generator) -> Iterator[tuple[Document, list[Page]]]:
    """Twenty documents of a hundred pages."""
    words = [f"{a}{b}" for a in ("bear", "seal", "valv", "pump", "belt", "mot") for b in range(500)]
    for document in range(20):
        blocks = []
        for number in range(100):
            blocks.append(Block(f"{number}.1 {' '.join(numbers.choice(words, 3))}", 1))
            blocks += [Block(" ".join(numbers.choice(words, 90)) + ".") for _ in range(3)]
            blocks.append(Block("\f"))
        name = f"{document:02}.md"
        pages = paged(blocks)
        yield Document(name.rjust(16, "0"), name, "", 0, 0, pages=len(pages)), pages


if __name__ == "__main__":
    sys.exit(main())
