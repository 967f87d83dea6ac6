"""Draw every picture in docs/ from the records in evidence/ and a network: `python -m tools.pictures`.

It also writes docs/pictures.json: a digest of each picture and of everything that the pictures were drawn from. A test
compares these digests with the committed files, and so detects a picture that is older than its records. Chromium must
be installed (`apt-get install chromium`), and the extra `test`, which contains Playwright.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.atomic import replacing

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
EVIDENCE = Path("evidence")
PUBLISHED = Path("mnist_compact/reports/public_results.csv")
CURVES_OF = EVIDENCE / "m3_logged/seed_0"
STUDY = "under_8k"
NETWORK = "under_8k"
DRAWN = [(75, 85), (110, 60), (165, 65), (185, 100), (150, 135), (190, 165), (185, 210), (130, 235), (80, 215)]  # a 3
DOCS = Path("docs")
MANIFEST = DOCS / "pictures.json"
WIDTH_PX, HEIGHT_PX = 1100, 1330
MARGIN_PX = 4
PATIENCE_MS = 300_000


def main() -> None:
    """Draw all pictures of this checkout and write the manifest."""
    os.chdir(ROOT)
    sources = digests_of_sources()
    with tempfile.TemporaryDirectory() as folder:
        drawn = [
            draw_curves(Path(folder)),
            draw_means(Path(folder)),
            *draw_page(Path(folder)),
            draw_drawing(Path(folder)),
        ]
        for path in drawn:
            with replacing(DOCS / path.name) as temporary:
                shutil.copyfile(path, temporary)
    pictures = {path.name: digest([DOCS / path.name], DOCS) for path in drawn}
    with replacing(MANIFEST) as temporary:
        temporary.write_text(json.dumps({"pictures": pictures, "sources": sources}, indent=1, sort_keys=True) + "\n")
    print(f"{MANIFEST}: {', '.join(sorted(pictures))}")


def digest(paths: Iterable[Path], root: Path = Path()) -> str:
    """Return a digest of the names below `root` and of the contents of files."""
    hashed = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(root)}\n{len(content)}\n".encode() + content)
    return hashed.hexdigest()[:16]


def digests_of_sources(root: Path = Path()) -> dict[str, str]:
    """Return a digest of each confirmation, study and other record in evidence/, and of the published results.

    Texts are left out, because nothing is drawn from them.
    """
    files = [Path(folder, name) for folder, _, names in os.walk(root / EVIDENCE) for name in names]
    sources = defaultdict(list, {str(PUBLISHED): [root / PUBLISHED]})
    for path in files:
        if not path.name.startswith(".") and path.suffix != ".md":
            sources[str(Path(*path.relative_to(root).parts[:4]))].append(path)
    return {name: digest(paths, root) for name, paths in sorted(sources.items())}


def draw_curves(folder: Path) -> Path:
    """Draw the learning curves of the run of `experiment=m3_logged`."""
    from mnist_compact.reports import plots

    copied = Path(shutil.copytree(CURVES_OF, folder / "run"))
    return plots.draw_curves(copied).rename(folder / "m3_logged.png")


def draw_means(folder: Path) -> Path:
    """Draw the mean accuracy of every confirmation over its number of parameters."""
    from mnist_compact.cli.report import main as report

    picture = folder / "frontier.png"
    report([str(EVIDENCE), "--frontier", str(picture)])
    return picture


def draw_page(folder: Path) -> list[Path]:
    """Photograph the page of all records, and details of it."""
    from mnist_compact.cli.report import main as report

    file = folder / "page.html"
    report([str(EVIDENCE), "--page", str(file)])
    pictures = {name: folder / f"{name}.png" for name in ("page", "pareto", "page_confirmations", "page_study")}
    with opened(file) as page:
        page.locator("#size-figure .main-svg").first.wait_for()
        page.screenshot(path=pictures["page"])
        shoot(page, pictures["pareto"], "#size")
        shoot(page, pictures["page_confirmations"], "#confirmations", until="#confirmations-body table >> nth=0")
        study = f"#studies details:has(> summary strong:text-is('{STUDY}'))"
        page.locator(f"{study} > summary").click()
        shoot(page, pictures["page_study"], study, until=f"{study} .figure[aria-label^='Slices']")
    return list(pictures.values())


def draw_drawing(folder: Path) -> Path:
    """Photograph the page for drawing, with a digit and the receptive field of a unit."""
    from mnist_compact.cli.draw import main as draw

    file, picture = folder / "draw.html", folder / "draw.png"
    draw(["--zoo", NETWORK, "--out", str(file)])
    with opened(file) as page:
        box = page.locator("#paper").bounding_box()
        assert box is not None
        corner_x, corner_y = box["x"], box["y"]
        page.mouse.move(corner_x + DRAWN[0][0], corner_y + DRAWN[0][1])
        page.mouse.down()
        for x, y in DRAWN[1:]:
            page.mouse.move(corner_x + x, corner_y + y, steps=5)
        page.mouse.up()
        page.locator("#answer", has_text="This is a").wait_for()
        page.locator("#layers li").nth(2).locator("canvas").first.hover()
        page.screenshot(path=picture)
    return picture


@contextmanager
def opened(file: Path) -> Iterator["Page"]:
    """Open a page in the system's Chromium, without a network."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=sandbox, timeout=PATIENCE_MS)
        context = browser.new_context(offline=True, viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(file.as_uri())
        yield page
        browser.close()


def shoot(page: "Page", path: Path, element: str, *, until: str | None = None) -> None:
    """Photograph an element, down to the lower edge of the element `until` if it is given."""
    for figure in page.locator(f"{element} .figure").all():  # charts are drawn when they come into view
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    page.evaluate("window.scrollTo(0, 0)")
    box, end = page.locator(element).bounding_box(), page.locator(until or element).bounding_box()
    if box is None or end is None:
        raise SystemExit(f"the page does not show {element} and {until or element}")
    height = end["y"] + end["height"] - box["y"] + MARGIN_PX
    clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": height}
    page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
