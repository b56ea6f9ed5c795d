"""The report's page in a real browser: nothing from outside, no error, and all that can be clicked does something."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_runs
import pytest

from actbench.analysis.claims import Claim
from actbench.report.page import StudyText, write_report
from actbench.report.palette import contrast
from actbench.store import Run

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
)
HOSTILE = '</script><img src=x onerror="alert(1)"><b>'
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One headless Chromium for all tests."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Four activations with seven seeds, fine-tunings, analyses, a second model of a hostile name, a run cut short."""
    root = tmp_path_factory.mktemp("runs")
    made = [fake_runs.pretrain(root, a, seed) for a in ("gelu", "raf", "poly_norm", "relu") for seed in range(7)]
    made += [fake_runs.finetune(root, run, task) for run in made for task in ("sst2", "rte") if run.seed < 3]
    made += [
        fake_runs.pretrain(root, a, seed, name="gpt-nano", steps=240) for a in ("gelu", "raf") for seed in range(2)
    ]
    for run in made[-4:]:
        run.info["recipe"]["name"] = HOSTILE
    made += [fake_runs.similarity(root, run) for run in made if run.kind == "pretrain" and run.seed < 2]
    return [*made, fake_runs.pretrain(root, "silu", 0, finished=False)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, runs: list[Run]) -> Path:
    """A report of them, with a claim."""
    folder = tmp_path_factory.mktemp("report")
    claim = Claim(text=f"RAF is better. {HOSTILE}", activation="raf", model="bert-nano")
    write_report(folder, StudyText(f"Activations {HOSTILE}", f"About. {HOSTILE}", claim), runs, "gelu")
    return folder / "report.html"


@pytest.fixture
def page(browser: Any, report: Path) -> Any:
    """The report as it opens on a desktop, light."""
    return opened(browser, report)


def opened(browser: Any, path: Path, size: tuple[int, int] = DESKTOP, theme: str = "light") -> Any:
    """Loads a page anew, with nothing left of an earlier one."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(path.as_uri())
    browser.execute_script("localStorage.clear()")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    return browser


def one(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def column(page: Any, table: str, title: str) -> list[str]:
    """The cells of a table's column, in the order they stand in now."""
    script = """
      const table = document.getElementById(arguments[0]).parentElement.querySelector("table");
      const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === arguments[1]);
      return [...table.tBodies[0].rows].map((row) => row.cells[at].textContent.trim());
    """
    return list(page.execute_script(script, f"table-{table}", title))


def heading(page: Any, table: str, title: str) -> Any:
    path = f"//h3[@id='table-{table}']/following-sibling::div//th/button[.='{title}']"
    return page.find_element("xpath", path)


def hover(page: Any, x: int, y: int = 0) -> None:
    """Moves the mouse over the first chart, counted from its middle."""
    plot = one(page, ".losses .u-over")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(page, duration=20).move_to_element_with_offset(plot, x, y).perform()


def ink(page: Any, variable: str, share: float = 1.0) -> int:
    """How many pixels of the first chart, or of a share of it at the left, have exactly an activation's colour."""
    script = """
      const probe = document.body.appendChild(document.createElement("i"));
      probe.style.color = `var(--${arguments[0]})`;
      const [r, g, b] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
      probe.remove();
      const canvas = document.querySelector(".losses canvas");
      const width = Math.round(canvas.width * arguments[1]);
      const data = canvas.getContext("2d").getImageData(0, 0, width, canvas.height).data;
      let found = 0;
      for (let i = 0; i < data.length; i += 4) found += data[i] === r && data[i + 1] === g && data[i + 2] === b;
      return found;
    """
    return int(page.execute_script(script, variable, share))


def tip(page: Any) -> list[str]:
    """The lines beside the cursor."""
    return [line.text.replace("\n", " ") for line in page.find_elements("css selector", ".losses .tip > *")]


def requests(page: Any) -> list[str]:
    """What the page asked for besides itself and pictures that it holds."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if url != page.current_url and not url.startswith("data:image/png")]


def test_it_opens_without_an_error_and_asks_for_nothing(page: Any) -> None:
    hover(page, 0)
    assert page.get_log("browser") == []
    assert requests(page) == []
    assert page.execute_script("return document.querySelectorAll('canvas').length") == 2


def test_what_users_wrote_is_text(page: Any) -> None:
    assert one(page, "h1").text == f"Activations {HOSTILE}"
    assert one(page, ".claim .text").text == f"RAF is better. {HOSTILE}"
    assert page.execute_script("return document.querySelectorAll('img, main b b').length") == 0
    titles = [title.text for title in page.find_elements("css selector", ".losses h3")]
    assert titles == [HOSTILE, "bert-nano"]


def test_the_claim_and_its_verdict_come_first(page: Any) -> None:
    assert one(page, "main section:first-of-type .badge").text == "Supported"
    assert "7 seeds" in one(page, ".claim li").text


def test_tables_sort_by_click_and_by_key(page: Any) -> None:
    title = "validation loss"
    before = column(page, "pretraining", title)
    button = heading(page, "pretraining", title)
    button.click()
    ascending = column(page, "pretraining", title)
    assert ascending == sorted(before, key=lambda text: float(text.split()[0])) != before
    button.send_keys(Keys.ENTER)
    assert column(page, "pretraining", title) == ascending[::-1]
    cell = page.execute_script("return arguments[0].parentElement.getAttribute('aria-sort')", button)
    assert cell == "descending"
    button.send_keys(Keys.SPACE)
    assert column(page, "pretraining", title) == before


def test_signed_and_missing_numbers_sort_as_numbers(page: Any) -> None:
    heading(page, "pretraining-differences", "Δ [95 %]").click()
    shown = column(page, "pretraining-differences", "Δ [95 %]")
    values = [float(text.split()[0].replace("−", "-")) for text in shown]
    assert values == sorted(values) and min(values) < 0 < max(values)
    heading(page, "runs", "result").click()
    assert column(page, "runs", "result")[-1] == "–"
    heading(page, "runs", "result").click()
    assert column(page, "runs", "result")[-1] == "–"


def test_hovering_reads_every_runs_loss_at_the_step(page: Any, runs: list[Run]) -> None:
    page.execute_script("document.querySelectorAll('.losses')[0].remove()")  # leaves bert-nano's
    hover(page, 100)
    lines = tip(page)
    step = int(re.match(r"step ([\d,]+) · [\d.,]+ ?[KMB]? ?tokens", lines[0])[1].replace(",", ""))  # type: ignore[index]
    logged = {
        run.id: next(row["loss"] for row in run.metrics() if row["kind"] == "validation" and row["step"] == step)
        for run in runs[:28]
    }
    shown = {
        button.get_attribute("title"): button.find_element("css selector", "output").text
        for button in page.find_elements("css selector", ".losses .seed")
    }
    assert shown == {id_: f"{loss:.4f}" for id_, loss in logged.items()}
    means = [float(line.split()[-1]) for line in lines[1:]]
    assert len(means) == 4 and means == sorted(means)
    gelu = sum(logged[run.id] for run in runs[:7]) / 7
    assert f"gelu {gelu:.4f}" in lines


def test_arrow_keys_read_too(page: Any) -> None:
    plot = one(page, ".plot")
    plot.send_keys(Keys.ARROW_RIGHT)
    first = tip(page)[0]
    plot.send_keys(Keys.ARROW_RIGHT)
    assert first.startswith("step 20 ") and tip(page)[0].startswith("step 40 ")
    plot.send_keys(Keys.ARROW_LEFT)
    assert tip(page)[0] == first


def test_the_legend_hides_an_activation_and_a_seed(page: Any) -> None:
    page.execute_script("document.querySelectorAll('.losses')[0].remove()")
    drawn = ink(page, "v2")
    assert drawn > 100
    names = {button.text.split("\n")[0]: button for button in page.find_elements("css selector", ".losses .whole")}
    names["raf"].click()
    assert ink(page, "v2") < drawn / 10 and names["raf"].get_attribute("aria-pressed") == "false"
    hover(page, 100)
    assert not any(line.startswith("raf") for line in tip(page)) and len(tip(page)) == 4
    names["raf"].click()
    assert ink(page, "v2") == drawn
    hover(page, 100)
    whole = tip(page)
    page.find_elements("css selector", ".losses .seed")[0].click()
    hover(page, 101)
    hover(page, 100)
    of = [next(line for line in lines if line.startswith("gelu")) for lines in (whole, tip(page))]
    assert of[0] != of[1]  # the mean is that of the seeds that are shown


def test_dragging_zooms_and_a_double_click_resets(page: Any) -> None:
    plot, reset = one(page, ".losses .u-over"), one(page, ".losses .reset")
    hover(page, -480)
    whole = tip(page)[0]
    assert ink(page, "v2", 0.12) == 0  # the first fall runs off the top
    assert not reset.is_enabled()
    chain = ActionChains(page, duration=50).move_to_element_with_offset(plot, 50, 0).click_and_hold()
    chain.move_by_offset(200, 0).release().perform()
    assert reset.is_enabled()
    hover(page, -480)
    assert tip(page)[0] != whole
    assert ink(page, "v2", 0.12) > 0  # what is left of the curve now spans the chart
    ActionChains(page).double_click(plot).perform()
    assert not reset.is_enabled()
    hover(page, -480)
    assert tip(page)[0] == whole


def test_training_losses_and_a_logarithmic_scale_are_a_click_away(page: Any) -> None:
    picture = "return document.querySelector('.losses canvas').toDataURL()"
    seen = [page.execute_script(picture)]
    for choice in ("[data-scale='log']", "[data-kind='train']"):
        one(page, f".losses {choice}").click()
        assert one(page, f".losses {choice}").get_attribute("aria-pressed") == "true"
        seen.append(page.execute_script(picture))
    assert len(set(seen)) == 3
    one(page, ".losses .plot").send_keys(Keys.ARROW_RIGHT)
    assert tip(page)[0].startswith("step 5 "), "validation has no such step"


def colours(page: Any, selector: str) -> tuple[Any, Any]:
    """An element's text colour and its ground's, as fractions."""
    script = """
      const element = document.querySelector(arguments[0]);
      let ground = element;
      while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
      return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
    """
    found = page.execute_script(script, selector)
    return tuple(tuple(int(number) / 255 for number in re.findall(r"\d+", text)[:3]) for text in found)  # type: ignore[return-value]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser: Any, report: Path, theme: str) -> None:
    page = opened(browser, report, theme=theme)
    ground = colours(page, "h1")[1]
    assert (sum(ground) < 0.5) is (theme == "dark")
    for selector in (
        "h1",
        ".about",
        ".badge",
        "td",
        "th button",
        ".notes",
        "figcaption",
        "summary",
        ".tested",
        "nav a",
    ):
        assert contrast(*colours(page, selector)) >= 4.5, selector


def test_the_theme_can_be_chosen_and_the_charts_follow(page: Any) -> None:
    before = page.execute_script("return document.querySelector('.losses canvas').toDataURL()")
    one(page, "#theme").click()
    assert sum(colours(page, "h1")[1]) < 0.5
    assert page.execute_script("return document.querySelector('.losses canvas').toDataURL()") != before
    page.refresh()
    assert sum(colours(page, "h1")[1]) < 0.5  # remembered
    one(page, "#theme").click()
    assert sum(colours(page, "h1")[1]) > 2.5


def test_a_phone_needs_no_sideways_scrolling(browser: Any, report: Path) -> None:
    page = opened(browser, report, PHONE)
    wide, outer = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= outer == 390
    canvas = page.execute_script("return document.querySelector('.losses canvas').getBoundingClientRect().right")
    assert canvas <= 390
    page.execute_script("window.scrollTo(9999, 0)")
    assert page.execute_script("return scrollX") == 0


def test_headings_and_names_guide_those_who_do_not_see(page: Any) -> None:
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    nameless = """
      const label = (e) => document.getElementById(e.getAttribute("aria-labelledby"))?.textContent;
      const name = (e) => e.getAttribute("aria-label") ?? label(e) ?? e.textContent;
      return [...document.querySelectorAll("button, [role], a, summary")].filter((e) => !name(e)?.trim()).length;
    """
    assert page.execute_script(nameless) == 0
    links = page.execute_script("return [...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href'))")
    assert len(links) == 9 and all(page.find_elements("css selector", link) for link in links)


def test_it_prints_light_and_within_the_paper(browser: Any, report: Path) -> None:
    page = opened(browser, report, theme="dark")
    look = "[document.querySelector('.losses canvas').clientWidth, getComputedStyle(document.body).color]"
    page.execute_script(f"addEventListener('beforeprint', () => {{ window.seen = {look} }})")
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert len(printed) > 10_000
    width, colour = page.execute_script("return window.seen")
    assert width <= 640 and colour == "rgb(27, 30, 35)"
    assert sum(colours(page, "h1")[1]) < 0.5  # the screen is as it was


def test_two_hundred_runs_open_at_once(browser: Any, tmp_path: Path) -> None:
    for activation in ("gelu", "raf", "poly_norm", "swiglu"):
        first = fake_runs.pretrain(tmp_path / "runs", activation, 0, steps=2500)
        for seed in range(1, 50):
            folder = tmp_path / "runs" / f"bert-nano-{activation}-{seed:08x}"
            shutil.copytree(first.folder, folder)
            info = json.loads((folder / "run.json").read_text())
            info["recipe"]["seed"] = seed
            (folder / "run.json").write_text(json.dumps(info))
    runs = [Run(folder) for folder in sorted((tmp_path / "runs").iterdir())]
    assert len(runs) == 200
    write_report(tmp_path / "report", StudyText("Many", ""), runs, "gelu")
    path = tmp_path / "report" / "report.html"
    assert path.stat().st_size < 15e6
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time: other work does not count
    page = opened(browser, path)
    measured = page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    assert 0 < next(one["value"] for one in measured if one["name"] == "TaskDuration") < 2
    assert len(page.find_elements("css selector", ".losses .seed")) == 200
    hover(page, 100)
    assert len(tip(page)) == 5 and page.get_log("browser") == []
