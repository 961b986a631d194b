"""The live page in a browser: it follows a run, keeps what the reader chose, and survives whatever becomes of the run."""

import shutil
import threading

import pytest
from chromium import driver, page

from monitor import Recorder, serve


@pytest.fixture
def watching(page):
    """A function that serves a folder and opens it."""
    servers = []

    def start(path, port=0):
        server = serve.watch(path, port=port)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(serve, "POLL", 0.05)


def total(page):
    """All points that are drawn; a chart that was built anew a moment ago, and waits for its frame, has none yet."""
    return sum(trace["total"] for chart in page.state()["charts"] for trace in chart.get("traces", ()))


def test_the_page_follows_a_run_and_keeps_what_was_chosen(page, watching, tmp_path):
    recorder = Recorder(tmp_path, name="live")
    for step in range(20):
        recorder.log(step, **{"train/loss": 1 / (1 + step)})
    page.open(watching(tmp_path).url)
    assert total(page) == 20
    assert page.find("#live").text == "live: 1 running"
    page.drag("loss", 0.25, 0.75)
    zoomed = page.state()["x"]["domain"]
    page.js("arguments[0].focus()", page.plot("loss"))
    for step in range(20, 30):
        recorder.log(step, **{"train/loss": 1 / (1 + step)})
    page.until(lambda: total(page) == 30)
    assert page.state()["x"]["domain"] == zoomed
    assert page.js("return document.activeElement.className") == "plot"
    recorder.finish()
    page.until(lambda: page.state()["runs"][0]["status"] == "finished")
    page.until(lambda: page.find("#live").text == "nothing is running")
    names = {name.rsplit("/", 1)[-1] for name in page.complaints()}
    assert names == {"data.json"}


def test_a_folder_without_runs_waits_for_one_and_a_deleted_run_stays(page, watching, tmp_path):
    page.open(watching(tmp_path).url)
    assert page.find("#live").text == "waiting for a run"
    recorder = Recorder(tmp_path, name="late")
    recorder.log(1, loss=1.0)
    page.until(lambda: [run["name"] for run in page.state()["runs"]] == ["late"])
    shutil.rmtree(recorder.path)
    page.until(lambda: page.find("#live").text == "nothing is running; 1 deleted, shown as last seen")
    assert total(page) == 1


def test_a_server_that_goes_away_is_said_and_found_again(page, watching, tmp_path):
    recorder = Recorder(tmp_path, name="live")
    recorder.log(1, loss=1.0)
    server = watching(tmp_path)
    page.open(server.url)
    server.shutdown()
    server.server_close()
    page.until(lambda: "no answer" in page.find("#live").text)
    assert total(page) == 1
    recorder.log(2, loss=0.5)
    watching(tmp_path, server.server_address[1])
    page.until(lambda: total(page) == 2)
    recorder.finish()
