"""English prose out of distribution packages: downloaded as .deb files, unpacked beside, never installed."""

import gzip
import html.parser
import pathlib
import re
import subprocess

SKIPPED = {"head", "script", "style", "table"}
BLOCKS = {"p", "div", "li", "ul", "ol", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "section", "br", "tr", "blockquote"}
EMPTY = {"br", "img", "hr", "link", "meta", "input", "col", "area", "base", "wbr"}
NAVIGATION = re.compile(r"\b(docnav|navheader|navfooter|toc|indexterm|banner|index)\b")


class Prose(html.parser.HTMLParser):
    """The paragraphs of a page; lines of <pre> stay as they are, other white space becomes one blank."""

    def __init__(self):
        super().__init__()
        self.paragraphs, self.words, self.open, self.hidden, self.verbatim = [], [], [], 0, 0

    def handle_starttag(self, tag, attributes):
        if tag in BLOCKS:
            self.close_paragraph()
        if tag in EMPTY:
            return
        hides = tag in SKIPPED or bool(NAVIGATION.search(dict(attributes).get("class") or ""))
        self.open.append((tag, hides))
        self.hidden += hides
        self.verbatim += tag == "pre"

    def handle_endtag(self, tag):
        if tag in BLOCKS:
            self.close_paragraph()
        # A tag that was left open ends with the one around it.
        if tag not in (name for name, _ in self.open):
            return
        name = None
        while name != tag:
            name, hid = self.open.pop()
            self.hidden -= hid
            self.verbatim -= name == "pre"

    def handle_data(self, text):
        if not self.hidden:
            self.words.append(text if self.verbatim else re.sub(r"\s+", " ", text))

    def close_paragraph(self):
        text = "".join(self.words)
        self.words = []
        lines = [re.sub(r"[ \t\u00a0]+", " ", line) if not self.verbatim else line.rstrip() for line in text.splitlines()]
        text = "\n".join(lines).strip()
        if text:
            self.paragraphs.append(text)


def prose_of(page):
    parser = Prose()
    parser.feed(page)
    parser.close()
    parser.close_paragraph()
    return "\n\n".join(parser.paragraphs)


def unpack(packages, folder):
    """The first of `packages` that can be had, unpacked in `folder`; its name and version."""
    done = folder / "package"
    if done.exists():
        return done.read_text()
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True).returncode == 0:
            file = next(folder.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg-deb", "-x", file, folder / "files"], check=True)
            name = file.name.removesuffix(".deb").rsplit("_", 1)[0]
            file.unlink()
            done.write_text(name)
            return name
    raise SystemExit(f"none of {', '.join(packages)} can be downloaded by apt-get; run apt-get update first")


def documents(folder, part="", fewest=400):
    """The text of every page whose path holds `part`, in the order of their names; pages of a few words are left out."""
    found = []
    for path in sorted((folder / "files").rglob("*")):
        if part not in str(path) or not re.search(r"\.html?(\.gz)?$", path.name) or not path.is_file():
            continue
        data = path.read_bytes()
        text = prose_of((gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace"))
        if len(text) >= fewest:
            found.append(text)
    return found
