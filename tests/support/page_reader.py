"""The visible text, classes and attributes of an HTML page."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page's elements, the text of each by its class, and all visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.classes, self.shown = [], [], {}, []
        self._open = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in ("meta", "input"):
            self._open.append((tag, dict(attrs).get("class", "")))
            self.classes.setdefault(self._open[-1][1], []).append("")

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if self._open and self._open[-1][0] not in ("script", "style"):
            self.shown.append(data)
            for _, name in self._open:
                self.classes[name][-1] += data

    def text(self):
        return " ".join(" ".join(self.shown).split())

    def values(self, name):
        return [attributes[name] for attributes in self.attributes if name in attributes]
