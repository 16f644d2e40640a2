# ruff: noqa: RUF001 - typographic signs are meant
"""The page that draws a network: what it is made of, and what a browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from narrowcast.evaluation.networks.differences import differences
from narrowcast.evaluation.networks.records import (
    Described,
    Network,
    Operator,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
    Weights,
)
from narrowcast.report.drawing import page as drawing
from narrowcast.report.drawing.data import LEVELS
from narrowcast.report.drawing.kinds import KINDS
from tests.report.test_html import Outline

HOSTILE = '</script><script>alert(1)</script><img src="http://example.invalid/x" onerror=alert(2)>"\'&<!--\x1b[2J\u2028'
WEIGHTS = Weights(-1.5, 2.0, 0.1, 0.4, 0.25, 0, (0, 1, 5, 10, 3, *[0] * 27))


def network(count=4, name="m.onnx", prefix="stage/op"):
    """A chain of convolutions, the last but one a loop with a graph inside."""
    kernel = Tensor("kernel", (4, 4, 3, 3), "float32", "constant", bytes=576, weights=WEIGHTS)
    tensors = [Tensor("image", (1, 4, None, 8), "float32", "input"), kernel]
    operators = []
    scale = Quantization((0.5,), (3,))
    for at in range(count):
        tensors.append(Tensor(f"{prefix}_{at}:0", (1, 4, 8, 8), "int8" if at % 2 else "float32", quantization=scale))
        inside = (("body", 1),) if at == count - 2 else ()
        attributes = {"strides": (1, 1), "auto_pad": prefix}
        inputs, kind = (0 if at == 0 else at + 1, 1), "Loop" if inside else "Conv"
        made = Operator(f"{prefix}_{at}", kind, inputs, (at + 2,), ("X", "W"), attributes, inside)
        operators.append(made)
    main = Subgraph("main", (0,), (count + 1,), tuple(tensors), tuple(operators))
    state = (
        Tensor("state", (2,), "float32", "input"),
        Tensor("outer", (2,), "float32", "captured"),
        Tensor("next", (2,), ""),
    )
    body = Subgraph(prefix, (0,), (2,), state, (Operator("add", "Add", (0, 1), (2,), ("A", "B")),))
    signature = Signature(prefix, 0, {prefix: 0}, {"result": count + 1})
    return Network(Path(name), 1234, "onnx", "hand", "as read", (main, body), (signature,))


def parts(document):
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", document, re.DOTALL)
    return json.loads(data), script


def test_one_script_of_ours_runs_and_the_page_asks_for_nothing():
    document = drawing.page(network())
    _, script = parts(document)
    outline = Outline(document)
    assert outline.tags.count("script") == 2
    assert not {"link", "img", "iframe", "object", "style src"} & set(outline.tags)
    assert not {"src", "href", "onerror", "onload", "action"} & {name for name, _ in outline.attributes}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(value for name, value in outline.attributes if name == "content" and "default-src" in value)
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|https?://(?!www\.w3)", script
    )
    style = Path(drawing.__file__).with_name("page.css").read_text()
    assert "url(" not in style
    assert all(style.count(f"--{kind}: ") == 2 for kind in KINDS)


def test_the_data_hold_boxes_tensors_and_routes():
    data, _ = parts(drawing.page(network()))
    main, body = data["graphs"]
    assert [box["type"] for box in main["boxes"]] == ["input", "Conv", "Conv", "Loop", "Conv", "output"]
    assert [box["type"] for box in body["boxes"]] == ["input", "captured", "Add", "output"]
    assert main["boxes"][3]["graphs"] == [["body", 1]]
    assert body["inside"] == [0, 3]
    kernel = main["tensors"][1]
    assert kernel["weights"]["low"] == "-1.5"
    assert len(kernel["weights"]["bars"]) == 32
    assert kernel["weights"]["bars"][:5] == "A" + LEVELS[7] + LEVELS[32] + "/" + LEVELS[19]
    assert main["tensors"][3]["scale"] == "scale 0.5, zero point 3"
    drawn = [tensor for tensor in main["tensors"] if tensor.get("pieces")]
    assert len(drawn) == 5
    assert all(len(tensor["pieces"]) % 4 == 0 for tensor in drawn)


def test_hostile_names_are_data():
    document = drawing.page(network(name=HOSTILE, prefix=HOSTILE))
    assert Outline(document).tags.count("script") == 2
    assert "img" not in Outline(document).tags
    assert "\x1b" not in document
    data, _ = parts(document)
    assert data["graphs"][0]["boxes"][1]["name"].startswith("</script>")


def test_a_graph_that_holds_itself_or_nothing():
    operator = Operator("loop", "Loop", (0,), (0,), subgraphs=(("body", 0),))
    itself = Subgraph("g", (0,), (0,), (Tensor("x", None, "", "input"),), (operator,))
    empty = Subgraph("", (), (), (), ())
    for graphs in ((itself,), (empty,), (itself, empty)):
        data, _ = parts(drawing.page(Network(Path("m"), 1, "onnx", "", "as read", graphs)))
        assert len(data["graphs"]) == len(graphs)


def compared(prefix="stage/op"):
    """Two networks: the second has an operator more in front of its last one, and one with another attribute."""
    one, other = network(prefix=prefix), network(prefix=prefix, name="n.onnx")
    main, body = other.graphs
    operators = list(main.operators)
    operators[1] = replace(operators[1], attributes={"strides": (2, 2), "auto_pad": prefix})
    more = Operator("more", "Relu", (2,), (len(main.tensors),))
    tensors = (*main.tensors, Tensor(prefix, (1,), "float32"))
    main = replace(main, operators=(*operators[:3], more, *operators[3:]), tensors=tensors)
    pair = one, replace(other, graphs=(main, body))
    found = differences(*(Described(each, lambda *_: None) for each in pair))
    return replace(found, networks=pair)


def test_two_side_by_side_are_marked():
    data, _ = parts(drawing.side_by_side(compared()))
    assert [side["title"] for side in data["sides"]] == ["m.onnx", "n.onnx"]
    assert data["sides"][1]["graph"] == 2
    first, _, second, _ = data["graphs"]
    assert [box["state"] for box in first["boxes"]] == ["alike", "alike", "changed", "alike", "alike", "alike"]
    assert [box["state"] for box in second["boxes"]] == [
        "alike",
        "alike",
        "changed",
        "alike",
        "alone",
        "alike",
        "alike",
    ]
    assert second["boxes"][2]["twin"] == [0, 2]
    assert first["boxes"][4]["twin"] == [2, 5]
    assert first["boxes"][2]["differs"] == second["boxes"][2]["differs"] == [["attribute strides", "[1, 1]", "[2, 2]"]]
    assert second["boxes"][3]["graphs"] == [["body", 3]]
    assert data["graphs"][3]["inside"] == [2, 3]


def test_connections_that_nobody_could_follow_are_left_out():
    count = 300
    tensors = tuple(Tensor(f"t{at}", (1,), "float32") for at in range(count + 1))
    operators = tuple(Operator("", "Sum", tuple(range(at + 1)), (at + 1,)) for at in range(count))
    graph = Subgraph("g", (0,), (count,), tensors, operators)
    data, _ = parts(drawing.page(Network(Path("m"), 1, "onnx", "", "as read", (graph,))))
    drawn = ["pieces" in tensor for tensor in data["graphs"][0]["tensors"]]
    assert 50 < sum(drawn) < 200
    assert all(drawn[-20:])


@pytest.fixture
def shown(chrome, tmp_path):
    def show(shown_network, scheme="light"):
        path = tmp_path / "network.html"
        document = (
            drawing.page(shown_network) if isinstance(shown_network, Network) else drawing.side_by_side(shown_network)
        )
        path.write_text(document, encoding="utf-8")
        chrome.resize(1280, 900)
        chrome.media(scheme=scheme)
        chrome.console()
        chrome.requests()
        chrome.open(path)
        return chrome, path

    return show


COLOURS = """
const sheet = document.querySelector('canvas.sheet'), found = new Set();
network.paint();
const pixels = sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data;
for (let i = 0; i < pixels.length; i += 4) found.add((pixels[i] << 16) + (pixels[i + 1] << 8) + pixels[i + 2]);
const style = getComputedStyle(document.documentElement);
const hue = (name) => parseInt(style.getPropertyValue(`--${name}`).trim().slice(1), 16);
return ['ground', 'card', 'edge', 'whole', 'convolution', 'control', 'port'].filter((name) => !found.has(hue(name)));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_a_browser_draws_it_without_errors_or_requests(shown, scheme, kind):
    chrome, path = shown(network() if kind == "plain" else network(name=HOSTILE, prefix=HOSTILE), scheme)
    assert chrome.evaluate(COLOURS) == []
    chrome.evaluate(
        "network.choose(1); network.open(1); network.choose(2); network.fit(); network.search('a'); network.paint()"
    )
    assert chrome.console() == []
    assert chrome.requests() == [path.as_uri()]
    assert chrome.evaluate("return document.scripts.length") == 2
    assert chrome.evaluate("return document.images.length + document.querySelectorAll('iframe').length") == 0


TYPE = """
const field = document.querySelector('input[type=search]');
field.value = %s;
field.dispatchEvent(new Event('input'));
return [...document.querySelectorAll('.results small')].map(item => item.textContent);
"""
ENTER = "document.querySelector('input').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))"
PANEL = "return document.querySelector('.panel').innerText"


def test_search_finds_an_operator_and_shows_it(shown):
    chrome, _ = shown(network(40))
    assert chrome.evaluate(TYPE % "'OP_31'") == ["stage/op_31"]
    chrome.evaluate(ENTER)
    assert chrome.evaluate("return network.chosen") == 32
    box = chrome.evaluate("return network.data.graphs[0].boxes[32].box")
    view = chrome.evaluate("return network.view")
    x, y = ((box[at] + box[at + 2] / 2 - view["xy"[at]]) * view["scale"] for at in (0, 1))
    assert (x, y) == pytest.approx((640, 450), abs=2)
    assert len(chrome.evaluate(TYPE % "'Conv'")) == 39
    assert chrome.evaluate(TYPE % "'nothing like it'") == []
    chrome.evaluate("[...document.querySelectorAll('.panel .close')].forEach(b => b.click())")
    chrome.evaluate(
        "[...document.querySelectorAll('.types button')].find(b => b.textContent.startsWith('Loop')).click()"
    )
    assert chrome.evaluate("return network.found.length") == 1


CLICK = """
const [x, y, w] = network.data.graphs[0].boxes[%d].box, at = network.view;
const where = {clientX: (x + w / 2 - at.x) * at.scale, clientY: (y + 8 - at.y) * at.scale};
const event = (kind) => new PointerEvent(kind, {...where, pointerId: 1, buttons: 1});
const sheet = document.querySelector('canvas.sheet');
sheet.setPointerCapture = () => {};
sheet.dispatchEvent(event('pointerdown'));
sheet.dispatchEvent(event('pointerup'));
"""


def test_a_click_shows_attributes_tensors_and_a_histogram(shown):
    chrome, _ = shown(network())
    chrome.evaluate(CLICK % 1)
    text = chrome.evaluate(PANEL)
    for told in (
        "Conv",
        "stage/op_0",
        "strides",
        "[1, 1]",
        "kernel",
        "4×4×3×3 float32",
        "-1.5",
        "25 % zero",
        "scale 0.5, zero point 3",
    ):
        assert told in text
    heights = chrome.evaluate("return [...document.querySelectorAll('.bars rect')].map(r => r.height.baseVal.value)")
    assert heights[:5] == pytest.approx([0, 7 / 63, 32 / 63, 1, 19 / 63], abs=1e-6)
    chrome.evaluate("document.querySelector('.panel .close').click()")
    assert "strides" not in chrome.evaluate(PANEL)
    assert "SIGNATURE STAGE/OP\nstage/op\nimage\nresult\nstage/op_3:0" in chrome.evaluate(PANEL)


def test_the_graph_inside_a_loop_opens_and_leads_back(shown):
    chrome, _ = shown(network())
    chrome.evaluate("network.choose(3)")
    chrome.evaluate(
        "[...document.querySelectorAll('.panel button')].find(b => b.textContent.startsWith('body')).click()"
    )
    assert "add" in " ".join(chrome.evaluate(TYPE % "'add'"))
    chrome.evaluate("document.querySelector('.path button').click()")
    assert chrome.evaluate("return network.chosen") == 3


def test_wheel_and_drag_move_the_view(shown):
    chrome, _ = shown(network())
    before = chrome.evaluate("return {...network.view}")
    turned = "new WheelEvent('wheel', {deltaY: -100, clientX: 640, clientY: 450})"
    chrome.evaluate(f"document.querySelector('canvas.sheet').dispatchEvent({turned})")
    after = chrome.evaluate("return {...network.view}")
    assert after["scale"] > before["scale"]
    for axis, at in (("x", 640), ("y", 450)):
        assert before[axis] + at / before["scale"] == pytest.approx(after[axis] + at / after["scale"])


WHERE = """
const [x, y, w] = network.data.graphs[%d].boxes[2].box, at = network.view;
return [(x + w / 2 - at.x) * at.scale, (y - at.y) * at.scale];
"""


@pytest.mark.parametrize("prefix", ["stage/op", HOSTILE])
def test_one_looks_across_from_one_network_to_the_other(shown, prefix):
    chrome, path = shown(compared(prefix))
    chrome.evaluate("network.choose(2); network.centre(2)")
    assert "attribute strides\n[1, 1]\n→ [2, 2]" in chrome.evaluate(PANEL)
    before = chrome.evaluate(WHERE % 0)
    chrome.evaluate(
        "[...document.querySelectorAll('.panel button')].find(b => b.textContent.startsWith('See it in')).click()"
    )
    assert chrome.evaluate("return [network.shown, network.chosen]") == [2, 2]
    assert chrome.evaluate(WHERE % 2) == pytest.approx(before)
    assert chrome.evaluate("return document.querySelector('h1').textContent") == "n.onnx"
    chrome.evaluate(TYPE % "'state:alone'")
    assert chrome.evaluate("return network.found") == [[2, 4]]
    chrome.evaluate("network.choose(-1); document.querySelector('.sides button').click()")
    assert chrome.evaluate("return network.shown") == 0
    assert chrome.console() == []
    assert chrome.requests() == [path.as_uri()]
