"""A network as one self-contained page that draws it: its boxes are placed here, a script of ours paints them.

The page asks for nothing: the browser is told to run that one script, by its hash, and to load nothing at all. What
comes out of the file is data that the script only ever shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from narrowcast.evaluation.networks.differences import Difference, Differences
from narrowcast.evaluation.networks.records import Network
from narrowcast.report import differing
from narrowcast.report.drawing.data import data
from narrowcast.report.svg import Markup, element
from narrowcast.report.text import printable

__all__ = ["page", "side_by_side"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
SCRIPTS = ("state.js", "paint.js", "move.js", "panel.js")
"""Parts of the one script."""


def page(network: Network) -> str:
    """The document that draws a network."""
    return _document(network.path.name, data(network))


def side_by_side(found: Differences) -> str:
    """The document that draws two networks, which the differences hold, and marks what differs."""
    first, second = found.networks
    drawn = data(first, second)
    graphs, beyond = drawn["graphs"], drawn["sides"][1]["graph"]
    for graph in graphs:
        for box in graph["boxes"]:
            box["state"] = "alike" if box["kind"] == "port" else "alone"
    for number, one, other in found.pairs:
        twins = [(at, graphs[at]["skip"] + place) for at, place in ((number, one), (beyond + number, other))]
        for (at, place), twin in zip(twins, reversed(twins), strict=True):
            graphs[at]["boxes"][place] |= {"state": "alike", "twin": twin, "differs": []}
    for item in found.operators:
        box = graphs[item.graph]["boxes"][graphs[item.graph]["skip"] + (item.place or 0)]
        for marked in (box, graphs[box["twin"][0]]["boxes"][box["twin"][1]]):
            marked["state"] = "changed"
            marked["differs"].append(_told(item))
    drawn["ports"] = [(f"{item.type} {printable(item.owner)}", *_told(item)) for item in found.ports]
    return _document(f"{first.path.name} and {second.path.name}", drawn)


def _told(item: Difference) -> tuple[str, str, str]:
    """What differs, and how the two have it."""
    one, other = differing.values(item)
    return printable(item.what), one.text, other.text


def _document(title: str, content: dict[str, Any]) -> str:
    style = _part("page.css")
    script = f'(() => {{\n"use strict";\n{"".join(map(_part, SCRIPTS))}}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(digest)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{title}: narrowcast"),
        element("style", Markup(style)),
    )
    held = Markup(f'<script type="application/json" id="network">{_json(content)}</script>')
    body = element("body", held, element("script", Markup(script)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _json(content: Any) -> str:
    """JSON in which nothing can end the element that it stands in."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
