"""The page of a comparison in a browser: on a telephone and on paper all of it can be read."""

import pytest
from chromium import driver, page

import tinynet as tn
from tinynet.comparison.report import write_comparison

WIDTH = """const element = document.querySelector(arguments[0]); return [element.scrollWidth, element.clientWidth];"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tn.compare(["adam"], on=["beale", "saddle"], grid=[0.01, 0.1], tuning_seeds=2, seeds=3, steps=50)
    return write_comparison(found, tmp_path_factory.mktemp("page") / "comparison.html")


@pytest.fixture
def shown(page, path):
    """A function that shows the page so many pixels wide, on a screen or on paper."""

    def show(width, media="screen"):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": media == "screen"}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
        page.driver.get(path.as_uri())
        return page

    return show


def test_on_a_telephone_names_stay_in_sight_and_pictures_keep_their_size(shown):
    page = shown(390)
    assert page.js(WIDTH, "html")[0] <= 390
    inside, outside = page.js(WIDTH, ".scroll")
    assert inside > outside
    page.js("document.querySelector('.scroll').scrollLeft = 200")
    name, box = "document.querySelector('.scroll tbody th')", "document.querySelector('.scroll')"
    assert page.js(f"return {name}.getBoundingClientRect().left - {box}.getBoundingClientRect().left") == pytest.approx(
        0, abs=1
    )
    assert page.js("return document.querySelector('figure > svg').getBoundingClientRect().width") >= 500


def test_on_paper_no_column_is_cut_off_and_pictures_stand_side_by_side(shown):
    page = shown(718, "print")
    for table in page.all("table"):
        assert table.size["width"] <= 718
    first, second = page.all(".pictures figure")[:2]
    assert first.location["y"] == second.location["y"]
    assert page.js(WIDTH, "html")[0] <= 718
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
