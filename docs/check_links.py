"""Whether every internal link of a built site leads to a place on a page, and pages need no network."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The theme's own templates.
NO_PAGES = "_static"


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.places: set[str] = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.places.add(values.get("id") or "")
        link = values.get("href" if tag in ("a", "link") else "src") or ""
        self.links.add(link)
        if tag not in ("a", "link") or values.get("rel") == "stylesheet":
            self.loaded.add(link)


def broken(site: Path) -> list[str]:
    """Return a sentence for each internal link or image of a folder of pages that leads nowhere, or to a network."""
    files = [path.resolve() for path in site.rglob("*.html") if NO_PAGES not in path.relative_to(site).parts]
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in files}
    sentences = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.netloc and link in page.loaded:
                sentences.append(f"{path.relative_to(site.resolve())}: {link} is loaded from a network.")
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = f"{path.relative_to(site.resolve())}: {link}"
            if not target.exists():
                sentences.append(f"{where} is no file.")
            elif target in pages and unquote(parts.fragment) not in pages[target].places:
                sentences.append(f"{where} is no place on that page.")
    return sentences


def after_build(app: object, exception: Exception | None) -> None:
    """Fail a build whose pages have a broken internal link."""
    from sphinx.errors import ExtensionError

    if exception is None and (sentences := broken(Path(app.outdir))):
        raise ExtensionError("Broken internal links:\n" + "\n".join(sentences))
