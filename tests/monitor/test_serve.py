"""The live server: only this machine, only reading, only two addresses; only new bytes are read, whatever becomes of a run."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from monitor import Recorder, RecorderError, serve, store
from monitor.serve import Growing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(monkeypatch):
    """A function that starts a server for a folder; nothing is put off."""
    monkeypatch.setattr(serve, "SHARE", 0)
    servers = []

    def start(path, **options):
        server = serve.watch(path, **options)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(server, path="/data.json", method="GET", **headers):
    """(status, headers, body) of a question, sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def raw(server, text):
    """What comes back for these very bytes."""
    with socket.create_connection(server.server_address, timeout=30) as line:
        line.sendall(text)
        return b"".join(iter(lambda: line.recv(65536), b""))


def recorded(root, name="live", steps=3, series="loss"):
    recorder = Recorder(root, name=name)
    for step in range(steps):
        recorder.log(step, **{series: float(step)})
    return recorder


def totals(server):
    content = json.loads(ask(server)[2])
    return {run["name"]: sum(series["total"] for series in run["series"].values()) for run in content["runs"]}


# Who is let in ------------------------------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_only(started, tmp_path):
    server = started(tmp_path, host="localhost")
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.1", "example.org", None])
def test_another_host_is_an_error(tmp_path, host):
    with pytest.raises(ValueError, match=re.escape(f"shown on its own machine only, got {host!r}")):
        serve.watch(tmp_path, host=host)


def test_errors_say_what_to_do(started, tmp_path):
    for port in (-1, 65536, "80", True):
        with pytest.raises(ValueError, match=r"port must be a whole number from 0 \(any free one\) to 65535, got"):
            serve.watch(tmp_path, port=port)
    with pytest.raises(RecorderError, match="name a run's folder, or the folder of all runs"):
        serve.watch(tmp_path / "nowhere")
    taken = started(tmp_path).server_address[1]
    with pytest.raises(RecorderError, match=f"cannot listen at port {taken}: .*; port=0 takes a free one"):
        serve.watch(tmp_path, port=taken)


@pytest.mark.parametrize("path", ["/", "/data.json"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:{port}.evil.example", "", "localhost:1"]
)
def test_a_page_that_calls_us_by_another_name_is_refused(started, tmp_path, host, path):
    recorded(tmp_path)
    server = started(tmp_path)
    status, _, body = ask(server, path, Host=host.format(port=server.server_address[1]))
    assert status == 403
    assert b"live" not in body


def test_a_question_without_host_or_with_two_is_refused(started, tmp_path):
    server = started(tmp_path)
    good = f"Host: 127.0.0.1:{server.server_address[1]}\r\n"
    assert b" 200 " in raw(server, f"GET / HTTP/1.1\r\n{good}\r\n".encode())[:20]
    for headers in ("", good + "Host: evil.example\r\n", "Host: evil.example\r\n" + good):
        assert b" 403 " in raw(server, f"GET / HTTP/1.1\r\n{headers}\r\n".encode())[:20]


def test_both_names_of_this_machine_are_good_however_they_are_written(started, tmp_path):
    server = started(tmp_path)
    for name in ("127.0.0.1", "localhost", "LocalHost"):
        assert ask(server, "/", Host=f"{name}:{server.server_address[1]}")[0] == 200


@pytest.mark.parametrize(("port", "status"), [(80, 200), (81, 403)])
def test_port_80_is_what_a_browser_leaves_out(started, tmp_path, port, status):
    """Not everyone may listen there: the server is told that it does."""
    server = started(tmp_path)
    really, server.server_address = server.server_address, ("127.0.0.1", port)
    for host in ("127.0.0.1", "localhost"):
        with socket.create_connection(really, timeout=30) as line:
            line.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert f" {status} ".encode() in line.recv(65536)[:20]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_only_reading(started, tmp_path, method):
    status, headers, _ = ask(started(tmp_path), "/data.json", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "/../run.json",
        "/live/run.json",
        "/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/data.json?x",
        "/data.json/",
        "data.json",
        "/run.json",
        "*",
    ],
)
def test_there_are_two_addresses_and_no_files(started, tmp_path, path):
    recorder = recorded(tmp_path)
    server = started(recorder.path)
    status, _, body = ask(server, path)
    assert status == 404
    assert body == b"there is / and /data.json"


def test_answers_forbid_what_they_can(started, tmp_path):
    recorded(tmp_path)
    for path in ("/", "/data.json", "/nowhere"):
        _, headers, _ = ask(started(tmp_path), path, Origin="http://evil.example")
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_head_is_get_without_the_body(started, tmp_path):
    recorded(tmp_path)
    server = started(tmp_path)
    status, headers, _ = ask(server, method="HEAD")
    assert (status, headers["ETag"]) == (200, ask(server)[1]["ETag"])
    said = raw(server, f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_address[1]}\r\n\r\n".encode())
    assert said.endswith(b"\r\n\r\n")


def test_nonsense_does_no_harm(started, tmp_path, capfd):
    server = started(tmp_path)
    for text in (
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"x" * 70_000 + b"\r\n\r\n",
    ):
        with contextlib.suppress(ConnectionError):  # it may hang up while we are still talking
            raw(server, text)
    assert ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


# What is told -------------------------------------------------------------------------------------------------------------


def test_the_page_is_the_report_and_says_that_it_is_live(started, tmp_path):
    recorded(tmp_path)
    status, headers, body = ask(started(tmp_path), "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    content = json.loads(re.search(rb'id="content">(.*?)</script>', body, re.S)[1])
    assert content["live"]["state"] == "live: 1 running"
    assert content["live"]["etag"] == ask(started(tmp_path))[1]["ETag"]
    assert [run["name"] for run in content["runs"]] == ["live"]


def test_nothing_new_is_answered_in_a_word_until_there_is(started, tmp_path):
    recorder = recorded(tmp_path)
    server = started(tmp_path)
    tag = ask(server)[1]["ETag"]
    status, headers, body = ask(server, If_None_Match=tag)
    assert (status, headers["ETag"], body) == (304, tag, b"")
    recorder.log(10, loss=1.0)
    status, headers, _ = ask(server, If_None_Match=tag)
    assert (status, headers["ETag"] != tag) == (200, True)
    assert totals(server) == {"live": 4}
    recorder.finish()
    content = json.loads(ask(server)[2])
    assert (content["runs"][0]["status"], content["live"]["state"]) == ("finished", "nothing is running")


def test_a_folder_of_runs_shows_the_latest_and_new_ones(started, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "MOST_RUNS", 2)
    server = started(tmp_path)
    assert json.loads(ask(server)[2])["live"]["state"] == "waiting for a run"
    for name in "abc":
        recorded(tmp_path, name)
        recorded_so_far = totals(server)
    assert recorded_so_far == {"b": 3, "c": 3}


def test_drawing_up_the_page_is_put_off_when_it_takes_long(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "SHARE", 1e9)
    recorder = recorded(tmp_path)
    watched = serve.Watched(tmp_path)
    tag = watched.page()[0]
    recorder.log(10, loss=1.0)
    assert watched.page()[0] == tag


# What becomes of a run ------------------------------------------------------------------------------------------------------


def test_only_new_bytes_are_read(tmp_path, monkeypatch):
    recorder = recorded(tmp_path, steps=100)
    tail = Growing(recorder.path)
    assert tail.read()
    assert not tail.read()
    offsets = []
    take = store.Tail.take
    monkeypatch.setattr(store.Tail, "take", lambda self, file: (offsets.append(self.offset), take(self, file)))
    size = (recorder.path / "events.jsonl").stat().st_size
    recorder.log(100, loss=1.0)
    assert tail.read()
    assert offsets == [size]
    assert len(tail.run.events) == 102  # and the start


def test_half_a_line_waits_for_its_other_half(tmp_path):
    recorder = recorded(tmp_path, steps=0)
    tail = Growing(recorder.path)
    tail.read()
    line = b'{"v":1,"k":"step","s":7,"e":null,"t":0,"g":0,"d":{"loss":1}}\n'
    for i, part in enumerate((line[:20], line[20:-1], line[-1:])):
        os.write(recorder._descriptor, part)
        assert tail.read() == (i == 2)
    assert tail.run.events[-1]["s"] == 7
    assert tail.run.unreadable == 0


def test_lines_that_are_no_events_are_counted(tmp_path):
    recorder = recorded(tmp_path, steps=1)
    os.write(recorder._descriptor, b'nonsense\n[1]\n\n{"k":1}\n' + b"[" * 100_000 + b"\n")
    recorder.log(2, loss=1.0)
    tail = Growing(recorder.path)
    tail.read()
    assert (tail.run.unreadable, len(tail.run.events)) == (4, 3)


def test_a_deleted_run_stays_and_another_in_its_place_starts_over(started, tmp_path):
    recorder = recorded(tmp_path)
    server = started(recorder.path)
    assert totals(server) == {"live": 3}
    shutil.rmtree(recorder.path)
    assert totals(server) == {"live": 3}
    assert json.loads(ask(server)[2])["live"]["state"] == "nothing is running; 1 deleted, shown as last seen"
    other = recorded(tmp_path, "other", steps=5, series="other")
    shutil.move(other.path, recorder.path)
    (run,) = json.loads(ask(server)[2])["runs"]
    assert (run["name"], run["unreadable"]) == ("other", 0)
    assert {name: series["total"] for name, series in run["series"].items()} == {"other": 5}


def test_a_run_that_was_cut_short_starts_over(tmp_path):
    recorder = recorded(tmp_path)
    tail = Growing(recorder.path)
    tail.read()
    os.truncate(recorder.path / "events.jsonl", 0)
    recorder.log(9, loss=1.0)
    assert tail.read()
    assert [event["s"] for event in tail.run.events] == [9]


def test_a_damaged_run_json_keeps_what_was_seen(tmp_path):
    recorder = recorded(tmp_path)
    tail = Growing(recorder.path)
    tail.read()
    for content in (b"{", b"[]", b'{"schema": 99}'):
        (recorder.path / "run.json").write_bytes(content)
        tail.read()
        assert tail.run.name == "live"


def test_a_killed_run_reads_as_crashed(started, tmp_path):
    code = "import os, signal; from monitor import Recorder; r = Recorder('.', name='killed'); r.log(loss=1.0); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    content = json.loads(ask(started(tmp_path))[2])
    assert [(run["name"], run["status"]) for run in content["runs"]] == [("killed", "crashed")]


def test_serve_says_where_and_ends_with_ctrl_c(tmp_path):
    recorded(tmp_path)
    code = f"from monitor.serve import serve; serve({str(tmp_path)!r}, say=lambda text: print(text, flush=True)); print('ended')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", said)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert (out, errors, process.returncode) == ("ended\n", "", 0)
    finally:
        process.kill()
        process.communicate()
