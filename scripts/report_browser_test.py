#!/usr/bin/python3
"""Opens reports in a headless Chromium, as on a phone and on a desktop, light and dark. Prints TAP.

usage: report_browser_test.py [--screenshots DIR] [RESULTS...]     without RESULTS: of results that are made up

Looks for what a person would see: a page wider than its window, texts that are cut off or too faint to read, plots
without data, errors on the console, links that lead nowhere, anything that is fetched from elsewhere. Skipped, with the
reason, without Chromium and its driver: scripts/setup --checks installs them.
"""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTHS = (360, 1280)
THEMES = ("light", "dark")

# What is wrong with the page, as a list of texts.
LOOK = r"""
const wrong = [], width = document.documentElement.clientWidth;
const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + " \"" + e.textContent.trim().slice(0, 30) + "\"";
if (document.documentElement.scrollWidth > width) wrong.push("the page is " + document.documentElement.scrollWidth + " wide");
for (const e of document.querySelectorAll("body *")) {
  if (e.closest(".scroll, svg") && !e.classList.contains("scroll")) continue;
  const box = e.getBoundingClientRect();
  if (box.width && (box.right > width + 0.5 || box.left < -0.5)) wrong.push(name(e) + " reaches from " + box.left + " to " + box.right);
}
const channels = colour => colour.match(/[\d.]+/g).map(Number);
const light = colour => {
  const [r, g, b] = channels(colour).map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const plots = [...document.querySelectorAll("figure.plot")];
if (!plots.length) wrong.push("there is no plot");
for (const plot of plots) {
  const surface = getComputedStyle(plot).backgroundColor, svg = plot.querySelector("svg"), frame = svg.getBoundingClientRect();
  const data = [...svg.querySelectorAll("[id*='data-']")].filter(e => { const b = e.getBoundingClientRect(); return b.width + b.height > 0; });
  if (!data.length) wrong.push(plot.id + " has no data");
  for (const mark of svg.querySelectorAll("[id*='data-'] path, [id*='data-'] use")) {
    if (mark.closest("defs")) continue;
    for (const property of ["stroke", "fill"]) {
      const colour = getComputedStyle(mark)[property];
      if (colour.startsWith("rgb(") && colour != surface && contrast(colour, surface) < 3) wrong.push(plot.id + ": faint mark " + colour);
    }
  }
  const texts = [...svg.querySelectorAll("text")].filter(e => e.textContent.trim());
  if (!texts.length) wrong.push(plot.id + " has no text");
  const boxes = texts.map(e => [e, e.getBoundingClientRect()]);
  for (const [e, box] of boxes) {
    if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
      wrong.push(plot.id + ": cut off: " + e.textContent);
    if (contrast(getComputedStyle(e).fill, surface) < 4.5) wrong.push(plot.id + ": faint: " + e.textContent);
    if (parseFloat(getComputedStyle(e).fontSize) * frame.width / svg.viewBox.baseVal.width < 7.5) wrong.push(plot.id + ": small: " + e.textContent);
  }
  for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
    const a = boxes[i][1], b = boxes[j][1];
    if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
      wrong.push(plot.id + ": \"" + boxes[i][0].textContent + "\" is over \"" + boxes[j][0].textContent + "\"");
  }
}
for (const e of document.querySelectorAll("h1, h2, h3, p, dd, dt, li, td, span, b, summary, a")) {
  const box = e.closest(".tile, figure, details, .box") || document.body;
  if (e.textContent.trim() && contrast(getComputedStyle(e).color, getComputedStyle(box).backgroundColor) < 4.5) wrong.push("faint: " + name(e));
}
const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
if (new Set(ids).size != ids.length) wrong.push("an id is there twice: " + ids.find((id, i) => ids.indexOf(id) != i));
for (const link of document.querySelectorAll("a[href^='#']")) if (!document.getElementById(link.hash.slice(1))) wrong.push("no " + link.hash);
for (const use of document.querySelectorAll("use")) if (!document.querySelector(CSS.escape ? "#" + CSS.escape((use.getAttribute("href") || use.getAttribute("xlink:href")).slice(1)) : "x")) wrong.push("use of nothing");
for (const entry of performance.getEntriesByType("resource")) if (!entry.name.startsWith("data:")) wrong.push("fetched " + entry.name);
for (const e of document.querySelectorAll("figure.plot")) {
  const numbers = e.closest("section").querySelectorAll("details td");
  if (!numbers.length) wrong.push(e.id + " has no table");
}
return [...new Set(wrong)].slice(0, 20);
"""


def why_not():
    """Why there can be no browser; "": there can."""
    try:
        import matplotlib  # noqa: F401
        import selenium  # noqa: F401
    except ImportError as error:
        return "%s; scripts/setup --checks" % error
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return "%s is not installed; scripts/setup --checks" % missing[0] if missing else ""


def start():
    os.environ.setdefault("HOME", os.environ.get("TEST_TMPDIR", "/tmp"))  # a test has none, and Chromium wants one
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--no-first-run", "--disable-background-networking", "--disable-extensions"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)


def set_up(browser, width, theme):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                            {"features": [{"name": "prefers-color-scheme", "value": theme}]})


def photograph(browser, path):
    import base64

    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {
        "captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": size["width"],
                                                "height": min(size["height"], 16000), "scale": 1}})
    with open(path, "wb") as file:
        file.write(base64.b64decode(shot["data"]))


def look(browser, page, width, theme, shot):
    """-> what is wrong, as texts."""
    set_up(browser, width, theme)
    browser.get("file://" + os.path.abspath(page))
    wrong = browser.execute_script(LOOK)
    if shot:
        photograph(browser, shot)
    browser.execute_script("for (const e of document.querySelectorAll('details')) e.open = true")
    wrong += ["with tables open: " + text for text in browser.execute_script(LOOK) if text not in wrong]
    return wrong + ["on the console: " + entry["message"] for entry in browser.get_log("browser")]


def dead_links(browser, page):
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(e => e.getAttribute('href'))")
    return ["%s leads nowhere" % link for link in links
            if not link.startswith("#") and not os.path.exists(os.path.join(os.path.dirname(page), link))]


def report_of(directory):
    subprocess.run([os.path.join(HERE, "report"), directory], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(directory, "report.html")


def made_up_pages(directory):
    """A full report, and one of a single benchmark, where all else is left out."""
    sys.path.insert(0, HERE)
    from benchmarking import made_up

    made_up.make(os.path.join(directory, "full"))
    made_up.make(os.path.join(directory, "faults"), kinds=(made_up.fault_rows,))
    return [report_of(os.path.join(directory, name)) for name in ("full", "faults")]


def checks(browser, pages, shots):
    """Pairs of what was looked at, and what is wrong with it."""
    for page in pages:
        name = os.path.basename(os.path.dirname(os.path.abspath(page)))
        for width in WIDTHS:
            for theme in THEMES:
                shot = os.path.join(shots, "%s-%d-%s.png" % (name, width, theme)) if shots else ""
                yield "%s, %d wide, %s" % (name, width, theme), look(browser, page, width, theme, shot)
        yield "links of %s" % name, dead_links(browser, page)


def main(arguments):
    shots = ""
    if arguments[:1] == ["--screenshots"]:
        shots, arguments = arguments[1], arguments[2:]
        os.makedirs(shots, exist_ok=True)
    reason = why_not()
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    failed = number = 0
    with tempfile.TemporaryDirectory() as directory:
        pages = [report_of(one) for one in arguments] or made_up_pages(directory)
        browser = start()
        try:
            for number, (what, wrong) in enumerate(checks(browser, pages, shots), 1):
                failed += bool(wrong)
                print("%sok %d - %s" % ("not " if wrong else "", number, what))
                for text in wrong:
                    print("#   " + text)
        finally:
            browser.quit()
    print("1..%d" % number)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
