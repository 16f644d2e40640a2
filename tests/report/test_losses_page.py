"""The page of where a quantised network loses."""

from dataclasses import replace

import numpy as np
import pytest

from narrowcast.report import curve, losses_page
from tests.report import samples
from tests.report.test_html import HOSTILE, Outline


def hostile():
    found = samples.diagnosis()
    stem = found.blocks[0]
    tensors = tuple(replace(tensor, name=HOSTILE) for tensor in stem.tensors)
    causes = tuple(replace(cause, why=HOSTILE, action=HOSTILE) for cause in stem.causes)
    stem = replace(stem, name=HOSTILE, nodes=(HOSTILE,), kind=HOSTILE, tensors=tensors, causes=causes)
    texts = dict.fromkeys(("first", "second", "scheme", "data"), HOSTILE)
    return replace(found, blocks=(stem, *found.blocks[1:]), unmatched=(HOSTILE,), notes=(HOSTILE,), **texts)


@pytest.mark.parametrize("result", [samples.diagnosis(), hostile()], ids=["usual", "hostile"])
def test_the_page_is_well_formed_and_asks_for_nothing(result):
    document = losses_page.page(result)
    outline = Outline(document)
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(outline.tags)
    assert not {"src", "href", "xlink:href", "onerror", "onload", "action"} & {name for name, _ in outline.attributes}
    assert "url(" not in document
    assert "\x1b" not in document


def test_what_it_shows():
    outline = Outline(losses_page.page(samples.diagnosis()))
    labels = [value for name, value in outline.attributes if name == "aria-label"]
    assert labels[0] == "Signal to noise along the network"
    assert labels.count("Histogram of stem/conv before and after quantisation") == 1
    text = "".join(outline.text)
    for told in ("87.3 %", "the negative lobe of its activation rounds away", "--keep-float 'stem/conv'", "all but it"):
        assert told in text


def test_two_networks_that_are_the_same():
    found = samples.diagnosis()
    silent = replace(found.blocks[0], sqnr_db=np.inf, weights_db=np.inf, rounding_db=np.inf, causes=(), share=0.0)
    outline = Outline(losses_page.page(replace(found, blocks=(silent,), worst=())))
    assert "No block loses anything" in outline.text


@pytest.mark.parametrize(
    ("ratios", "parts"),
    [
        ((20, 10, np.inf), (1 / 11, 10 / 11, 0)),
        ((10, 10, 10), (1 / 3,) * 3),
        ((np.inf, np.inf, -np.inf), (0, 0, 1)),
        ((None, 30, None), (0, 1, 0)),
        ((np.inf, np.inf, np.inf), (0, 0, 0)),
    ],
)
def test_parts_of_noise_are_shares_of_power(ratios, parts):
    weights, rounding, above = ratios
    block = replace(samples.diagnosis().blocks[0], weights_db=weights, rounding_db=rounding, above_db=above)
    assert tuple(curve.parts_of(block).values()) == pytest.approx(parts)


def test_in_a_browser(chrome, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(losses_page.page(hostile()))
    chrome.resize(1280, 900)
    chrome.console()
    chrome.requests()
    chrome.open(path)
    assert chrome.console() == []
    assert chrome.requests() == [path.as_uri()]
    assert chrome.evaluate("return document.querySelectorAll('section.block').length") == 3
    assert chrome.evaluate("return document.documentElement.scrollWidth <= window.innerWidth")
    chrome.resize(390, 844)
    assert chrome.evaluate("return document.documentElement.scrollWidth <= window.innerWidth")
