"""Pages in a real browser: headless Chromium, driven by Selenium. Without one these tests are skipped, and say why;
with TINYNET_BROWSER=required in the environment, as in CI, its absence is a failure.
"""

import os
import shutil
import time

import pytest

SIZE = (1300, 900)


def absent(why):
    if os.environ.get("TINYNET_BROWSER") == "required":
        pytest.fail(f"TINYNET_BROWSER=required, but {why}")
    pytest.skip(why)


@pytest.fixture(scope="session")
def driver():
    try:
        from selenium import webdriver
    except ImportError:
        absent("Selenium is not installed: pip install selenium")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    control = shutil.which("chromedriver")
    if program is None or control is None:
        absent("there is no Chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-device-scale-factor=1"):
        options.add_argument(flag)
    options.add_argument(f"--window-size={SIZE[0]},{SIZE[1]}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
    driver.set_page_load_timeout(120)  # a page that hangs is a failure, not a hanging test
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


class Page:
    """A page in the browser, and its window.tinynet.state()."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address):
        self.driver.get_log("browser")  # forget what earlier pages said
        self.driver.get(address if str(address).startswith("http") else address.as_uri())
        self.until(lambda: self.js("return !!window.tinynet && window.tinynet.state().ready"))
        return self

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def state(self):
        self.settle()
        return self.js("return window.tinynet.state()")

    def settle(self):
        """Wait for what was asked to be drawn; drawing happens before the next frame."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def until(self, condition, seconds=20):
        """Wait for something to become true; how long it takes does not matter, unless it takes for ever."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)
        return found

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def click(self, selector):
        self.js("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0]).textContent.toWellFormed()", selector)

    def plot(self, metric):
        """The element of a chart."""
        metrics = [chart["metric"] for chart in self.state()["charts"]]
        return self.all("#charts .plot")[metrics.index(metric)]

    def drag(self, metric, start, end):
        """Drag over a chart, from one share of the width inside its axes to another."""
        from selenium.webdriver.common.action_chains import ActionChains

        plot = self.plot(metric)
        self.js("arguments[0].scrollIntoView({block: 'center'})", plot)
        box = next(chart["box"] for chart in self.state()["charts"] if chart["metric"] == metric)
        middle = plot.size["width"] / 2
        places = [round(box["left"] + share * (box["right"] - box["left"]) - middle) for share in (start, end)]
        chain = ActionChains(self.driver, duration=20).move_to_element_with_offset(plot, places[0], 0)
        if start == end:
            chain.perform()
        else:
            chain.click_and_hold().move_by_offset(places[1] - places[0], 0).release().perform()

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def complaints(self):
        """What the console has, and every request other than for the page itself."""
        entries = self.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        requests = [name for name in entries if not name.startswith("data:")]
        return [entry["message"] for entry in self.driver.get_log("browser")] + requests


@pytest.fixture
def page(driver):
    yield Page(driver)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get("about:blank")
