"""The page for drawing in a real Chromium: it computes what Python computes, and can be used without a mouse."""

import base64

import numpy as np
import pytest
import torch
from browsers import PHONE, Tab, chromium
from drawn import enlarged, photographed, placed
from family import MEMBERS, images, mnist
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from mnist_compact.deploy.drawing_page import network_data, write_drawing_page
from mnist_compact.deploy.preprocessing import NoDigitError, to_mnist
from mnist_compact.zoo.registry import load

pytestmark = pytest.mark.browser

# Points of the strokes in the drawing area of 280×280 px.
DIGITS = {
    1: [[(140, 50), (140, 230)]],
    4: [[(100, 50), (85, 150), (200, 150)], [(180, 60), (180, 235)]],
    7: [[(80, 60), (205, 60), (130, 235)]],
}
NOTHING = "Draw a digit from 0 to 9."  # the answer before a stroke
# The logits of images that are given as base64 of 784 levels each.
LOGITS = """([network, images]) => {
    const values = decoded(network.values);
    return images.map((each) => [
        ...mapsOf(network, values, Uint8Array.from(atob(each), (c) => c.charCodeAt(0))).at(-1)]);
}"""
PIXELS = "(it) => [...it.getContext('2d').getImageData(0, 0, it.width, it.height).data]"
MARKED = [214, 0, 170, 255]  # red, green, blue and opacity of the unit whose field is outlined
SEEN = """([levels, height, width]) => {
    const image = toMnist(Uint8Array.from(atob(levels), (c) => c.charCodeAt(0)), height, width);
    return image && [...image];
}"""


@pytest.fixture(scope="module")
def tabs():
    """The tab of a window and that of a phone, both online: a request would be seen."""
    with chromium() as browser:
        yield {"window": Tab(browser), "phone": Tab(browser, **PHONE)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "draw.html"
    write_drawing_page(load("under_8k"), "under_8k", path)
    return path


@pytest.fixture
def open_page(tabs, file):
    """open_page() -> the page; at the end it may have requested and reported nothing."""

    def opened(screen="window"):
        return tabs[screen].open(file)

    yield opened
    assert [fault for tab in tabs.values() for fault in tab.faults()] == []


def as_text(levels):
    return base64.b64encode(np.ascontiguousarray(levels).tobytes()).decode()


def logits_in(page, classifier, shown):
    found = page.evaluate(LOGITS, [network_data(classifier), [as_text(image) for image in shown.numpy()]])
    return torch.tensor(found)


def test_logits_of_every_member_of_the_family_are_those_of_torch(open_page):
    page, shown = open_page(), images(4)
    for name, make in MEMBERS.items():
        classifier = make()
        with torch.no_grad():
            expected = classifier(shown)
        torch.testing.assert_close(logits_in(page, classifier, shown), expected, rtol=0, atol=1e-4, msg=name)


@pytest.mark.mnist
def test_logits_of_200_test_images_are_those_of_torch(open_page):
    shown = mnist(200).evaluation.images
    classifier = load("under_8k")
    with torch.no_grad():
        expected = classifier(shown)
    difference = (logits_in(open_page(), classifier, shown) - expected).abs().max().item()
    print(f"largest difference of a logit: {difference:.2g}")
    assert difference <= 1e-4


def pictures():
    """Drawings and simulated photos of several sizes, dark on light and light on dark."""
    generator = np.random.default_rng(0)
    for number, digit in enumerate([1, 4, 7, 4]):
        height, width = [(280, 280), (300, 500), (997, 331), (40, 90)][number % 4]
        side = min(height, width) * 4 // 5
        picture = Image.new("L", (width, height), int(generator.integers(150, 256)))
        for points in DIGITS[digit]:
            line = [(x * side / 280 + 4, y * side / 280 + 4) for x, y in points]
            ImageDraw.Draw(picture).line(line, fill=int(generator.integers(0, 90)), width=max(2, side // 12))
        levels = np.asarray(picture)
        yield from (levels, 255 - levels)
        small = to_mnist(levels)
        yield enlarged(small, int(generator.integers(28, 400)))
        yield photographed(small, generator)
        yield placed(small, generator)


def test_preprocessing_is_that_of_python(open_page):
    """A level may differ by one where a value lies between two levels, which rounding decides."""
    page, different, count = open_page(), 0, 0
    for levels in pictures():
        expected = to_mnist(levels).astype(int).ravel()
        found = np.array(page.evaluate(SEEN, [as_text(levels), *levels.shape]))
        assert np.abs(found - expected).max() <= 1
        different += int((found != expected).sum())
        count += 1
    print(f"{count} pictures, {different} levels differ")
    assert count == 20
    assert different <= 2


@pytest.mark.parametrize("levels", [np.full((90, 60), 200), np.zeros((28, 28)), np.eye(8, 40) * 20 + 100])
def test_pictures_without_a_digit_are_refused_as_in_python(open_page, levels):
    levels = levels.astype(np.uint8)
    with pytest.raises(NoDigitError):
        to_mnist(levels)
    assert open_page().evaluate(SEEN, [as_text(levels), *levels.shape]) is None


def draw_by_mouse(page, digit):
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    for (x, y), *others in DIGITS[digit]:
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=2)
        page.mouse.up()


def bar_widths(page):
    return page.locator("#bars .bar div").evaluate_all("(bars) => bars.map((bar) => parseFloat(bar.style.width))")


@pytest.mark.parametrize("digit", [1, 4, pytest.param(7, marks=pytest.mark.slow)])
def test_drawn_digit_is_classified_as_in_python_and_announced(open_page, digit):
    page = open_page()
    page.emulate_media(color_scheme="dark" if digit == 4 else "light")
    answer = page.locator("#answer")
    expect(answer).to_have_attribute("aria-live", "polite")
    draw_by_mouse(page, digit)
    expect(answer).to_contain_text(f"This is a {digit}: ")
    widths = bar_widths(page)
    assert int(np.argmax(widths)) == digit
    assert widths[digit] > 50
    expect(page.locator("#bars .best")).to_contain_text(str(digit))
    drawn = [point for stroke in page.evaluate("drawing.strokes") for point in stroke]
    for x, y in (point for points in DIGITS[digit] for point in points):
        assert min(abs(x - column) + abs(y - row) for column, row in drawn) < 3  # where the mouse was
    levels = np.array(page.evaluate("[...drawing.levels]"), np.uint8).reshape(280, 280)
    pixels = page.locator("#image").evaluate("(it) => [...it.getContext('2d').getImageData(0, 0, 28, 28).data]")
    image = np.array(pixels).reshape(28, 28, 4)
    assert np.abs(image[:, :, 0] - to_mnist(levels).astype(int)).max() <= 1
    digits, confidence = load("under_8k").classify(to_mnist(levels)[None])
    assert answer.text_content() == f"This is a {digits.item()}: {100 * confidence.item():.1f} %"
    maps = page.locator("#layers li").first.locator("canvas")  # of the first layer
    assert len({tuple(maps.nth(i).evaluate(PIXELS)) for i in range(maps.count())}) > maps.count() // 2
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate("drawing.strokes.length") == len(DIGITS[digit]) - 1
    if len(DIGITS[digit]) == 1:
        expect(answer).to_have_text(NOTHING)
    else:
        remaining = np.array(page.evaluate("[...drawing.levels]"), np.uint8)
        assert 0 < (remaining < 255).sum() < (levels < 255).sum()
    page.get_by_role("button", name="Clear").click()
    expect(answer).to_have_text(NOTHING)
    assert max(bar_widths(page)) == 0


def test_finger_draws_on_a_phone_and_the_page_fits(open_page):
    page = open_page("phone")
    box = page.locator("#paper").bounding_box()
    expect(page.locator("#paper")).to_have_css("touch-action", "none")  # otherwise a finger scrolls the page
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    for y in range(60, 230, 34):
        point = {"x": box["x"] + 140, "y": box["y"] + y}
        touch("touchStart" if y == 60 else "touchMove", point)
    touch("touchEnd")
    expect(page.locator("#answer")).to_contain_text("This is a 1: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.scrollY") == 0  # the finger has drawn and not scrolled


def test_keyboard_draws_and_clears(open_page):
    page = open_page()
    paper = page.get_by_role("application", name="Drawing area")
    page.keyboard.press("Tab")
    expect(paper).to_be_focused()
    for key in ["ArrowUp"] * 7 + [" "] + ["ArrowDown"] * 14:
        page.keyboard.press(key)
    expect(page.locator("#brush-status")).to_have_text("Brush down")
    page.keyboard.press(" ")
    expect(page.locator("#answer")).to_contain_text("This is a 1: ")
    before = page.evaluate("[...drawing.levels]")
    for key in ["ArrowRight"] * 5:  # the brush is up
        page.keyboard.press(key)
    assert page.evaluate("[...drawing.levels]") == before
    page.keyboard.press("Escape")
    expect(page.locator("#answer")).to_have_text(NOTHING)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Clear")).to_be_focused()


def test_units_outline_their_receptive_fields(open_page):
    page = open_page()
    frame, label = page.locator("#field"), page.locator("#unit")
    expect(frame).to_be_hidden()
    first = page.get_by_role("group", name="Layer 1: Convolution 3×3, SiLU, 13 maps of 26×26, receptive field 3×3 px")
    page.locator("#undo").focus()
    page.keyboard.press("Tab")
    expect(first).to_be_focused()
    expect(label).to_have_text("Layer 1, row 14, column 14 depends on rows 14–16 and columns 14–16.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(label).to_have_text("Layer 1, row 13, column 15 depends on rows 13–15 and columns 15–17.")
    pixels = np.array(page.locator("#layers li").first.locator("canvas").first.evaluate(PIXELS)).reshape(26, 26, 4)
    assert [tuple(place) for place in np.argwhere((pixels == MARKED).all(2))] == [(12, 14)]
    outer, inner = page.locator("#image").bounding_box(), frame.bounding_box()
    assert inner["x"] - outer["x"] == pytest.approx(14 * outer["width"] / 28, abs=1)
    assert inner["y"] - outer["y"] == pytest.approx(12 * outer["height"] / 28, abs=1)
    assert inner["width"] == pytest.approx(3 * outer["width"] / 28, abs=1)
    last = page.locator("#layers li").last
    last.locator("canvas").first.hover()
    expect(label).to_have_text("Layer 15, row 1, column 1 depends on rows 1–28 and columns 1–28.")
    assert page.locator("#layers canvas").count() == sum(
        each["channels"] for each in network_data(load("under_8k"))["maps"][1:]
    )
