"""The page in headless Chromium: nothing is cut off or overflows at three widths, and every text can be read."""

import shutil

import numpy as np
import pytest

from psahw.architecture.device import DEVICES
from psahw.network.evaluation import evaluate
from psahw.network.frontier import candidates
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.summary import summarise
from psahw.planner import search
from psahw.report.functions import table_functions
from psahw.report.page import render
from tests.report.test_accuracy import PICTURES, ROWS, answered

WIDTHS = (390, 1280, 1920)
LONG = "a-name-of-a-hundred-characters-without-a-space-" + "x" * 53

CHECK = """() => {
  const found = [], tolerance = 1.5;
  const say = (element, problem) => {
    const name = `${element.tagName}.${element.getAttribute('class') || ''}`;
    found.push(`${name} "${element.textContent.trim().slice(0, 40)}": ${problem}`);
  };
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide`);
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || getComputedStyle(element).visibility === 'hidden') continue;
    if (box.left < -tolerance || box.right > innerWidth + tolerance) say(element, 'outside the page');
    if (!element.closest('svg') && element.scrollWidth > element.clientWidth + tolerance && element.clientWidth)
      say(element, `content of ${element.scrollWidth} in ${element.clientWidth}`);
    const frame = element.closest('svg') || element.closest('.box, .card, td');
    if (frame && frame !== element) {
      const outer = frame.getBoundingClientRect();
      if (box.left < outer.left - tolerance || box.right > outer.right + tolerance
          || box.top < outer.top - tolerance || box.bottom > outer.bottom + tolerance)
        say(element, 'outside its frame');
    }
  }
  return found;
}"""

CONTRAST = """() => {
  const numbers = text => {  // "rgb(1, 2, 3)", "rgba(1, 2, 3, 0)" or "color(srgb 0.1 0.2 0.3)"
    const found = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith('color') ? found.map((v, i) => i < 3 ? 255 * v : v) : found;
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('title') || !element.getClientRects().length) continue;
    let behind = element;
    while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
    const style = getComputedStyle(element);
    const ink = light(numbers(element.closest('svg') ? style.fill : style.color));
    const paper = light(numbers(getComputedStyle(behind || document.body).backgroundColor));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.add(`${element.tagName}.${element.getAttribute('class')}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""


@pytest.fixture(scope="module")
def browser():
    """Return headless Chromium, or skip the test with a reason."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]"
    )
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def _page(name, classes, stages):
    """Return a page with every section."""
    rng = np.random.default_rng(0)
    network = random_network(rng, image=(16, 16), stages=stages, name=name, classes=classes)
    network.metadata.update(dataset="cifar10", accuracy={"cifar10 test INT8": 82.5, "validation INT8": 80.0})
    plan = search.make(network, DEVICES["xc7k160t"], clock_hz=100e6, bus_bytes=4).to_dict()
    images, labels = random_images(rng, network, 30), rng.integers(0, classes, 30)
    simulated = {"images": 1, "mismatched_logits": 0, "mismatched_classes": 0, "latency": [1, 123_456]}
    simulated |= {"frame_interval": 12_345, "frame_interval_predicted": 12_345, "latency_predicted": 7}
    other = random_network(np.random.default_rng(3), image=(16, 16), name=f"{name[:90]}-other")
    other.metadata["accuracy"] = {"validation INT8": 70.0}
    return render(
        summarise(network),
        table_functions(network),
        plan=plan | {"board": "marble"},
        simulation=simulated,
        evaluation=evaluate(network, images, labels, "the shipped sample"),
        synth={"resources": {"lut": 123_456.0, "ff": 123_456, "dsp": 234, "bram36": 13.5}},
        runs={f"runs/{name}": [{"epoch": n, "loss": 3.0 / n, "validation_accuracy": 20.0 * n} for n in (1, 2, 3)]},
        frontier=candidates([(name, network), ("b", other)]),
    )


PAGES = {
    "small": ("small", 10, (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1))),
    "long names, many classes": (LONG, 40, (StageShape(16, 8, 2), StageShape(24, 8, 1, 4, 3, shared=True))),
}


def _page_of_values(data):
    """Return a page with residual plots and the worst errors, as pictures or as rows, of values with long names."""
    network, evaluation = answered("values", 8, data)
    names = [f"{LONG}{index}" for index in range(8)]
    for part, name in zip(evaluation["values"] + evaluation["residuals"], names + names[:6], strict=True):
        part["name"] = name
    for error in evaluation["worst"]:
        for side in ("right", "answer"):
            error[side] = dict(zip(names, error[side].values(), strict=False))
    return render(summarise(network), {}, evaluation=evaluation)


MADE = {name: lambda arguments=arguments: _page(*arguments) for name, arguments in PAGES.items()} | {
    "residuals and pictures": lambda: _page_of_values(PICTURES),
    "rows": lambda: _page_of_values(ROWS),
}


@pytest.mark.parametrize("kind", MADE)
def test_page(browser, tmp_path, kind):
    path = tmp_path / "page.html"
    path.write_text(MADE[kind]())
    errors, problems = [], []
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view.on("console", lambda message: errors.append(message.text))
            view.on("pageerror", lambda error: errors.append(str(error)))
            view.goto(path.as_uri())
            broken = view.evaluate("[...document.images].filter(one => !one.naturalWidth).length")
            problems += [f"{broken} images do not load"] if broken else []
            view.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            problems += [f"{width} {scheme}: {problem}" for problem in view.evaluate(CHECK)]
            problems += [f"{scheme}, contrast of {problem}" for problem in view.evaluate(CONTRAST)]
            view.close()
    assert errors == []
    assert problems == []
