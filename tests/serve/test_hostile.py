"""Strangers ask: the server stays up, says no, and says why."""

import random
import socket
import struct
import zlib

import pytest

BODY = bytes(100)


def alive(server):
    return server.begin().post("run", kind="example", example=0).status_code == 200


def test_no_answer_without_the_token_or_to_another_name_or_site(server):
    http = server.http
    assert http.get("/api/page").status_code == 401
    wrong = {"x-convscope-token": "secret-tokem"}
    assert http.get("/api/page", headers=wrong).status_code == 401
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "",
        "[::2]",
    ):
        answer = http.get("/api/page", headers={**server.headers, "host": host})
        assert answer.status_code in (400, 403), host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://"):
        answer = http.post("/api/session", headers={**server.headers, "origin": origin})
        assert answer.status_code == 403, origin
    own = {**server.headers, "origin": server.base}
    assert http.post("/api/session", headers=own).status_code == 200


def test_every_answer_forbids_what_the_page_does_not_need(server):
    for path in ("/", "/static/main.js", "/api/page", "/nothing"):
        policy = server.http.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    ["/static/../application.py", "/static/%2e%2e/application.py",
     "/static//etc/passwd", "/static/..%5c..%5csubject.py", "/%00",
     "/static/%00", "/../../etc/passwd"],
)  # fmt: skip
def test_no_path_leads_out(server, path):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    "Connection: close\r\n\r\n".encode())  # fmt: skip
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer.split()[1] in (b"404", b"400", b"405")
    assert b"import" not in answer
    assert b"root:" not in answer


def bomb():
    """A PNG of 60,000 x 60,000 pixels in few bytes."""

    def chunk(kind, data):
        whole = kind + data
        return (
            struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(10**6), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows)


def test_hundreds_of_malformed_requests_each_get_a_clear_no(server):
    page = server.begin()
    page.post("run", kind="example", example=0, sequence=1)
    draw = random.Random(0)
    huge = [-1, 10**9, 2**70, "x", "", "1e400", "nan", "é", None]
    for number in range(400):
        value = draw.choice(huge)
        kind = draw.randrange(8)
        if kind == 0:
            name = draw.choice(["drawing", "x", ""])
            answer = page.post("run", kind=name, height=value, width=10, sequence=2,
                               content=BODY)  # fmt: skip
        elif kind == 1:
            answer = page.post("run", kind="drawing", height=10, width=11, sequence=2,
                               content=BODY)  # fmt: skip
        elif kind == 2:
            answer = page.get("values", wanted=draw.choice(
                ["x", "999:0-4", "1:0", "1:-1-4", "1:0-4" * 50, ","]))  # fmt: skip
        elif kind == 3:
            card = draw.choice([999, 0, value])
            answer = page.get("explain", card=card, channel=value, position="99,99")
        elif kind == 4:
            change = {"kind": draw.choice(["tap", "bias", "exec"]), "card": value,
                      "channel": value, "value": value}  # fmt: skip
            answer = page.post("edit", json={"change": change})
        elif kind == 5:
            answer = page.post("why", json={"method": str(value), "target": 0})
        elif kind == 6:
            answer = page.post("keep", json={"name": "../" * 5 + str(value)})
        else:
            answer = page.post("edit", content=b"[" * draw.randrange(1, 20_000))
        assert 400 <= answer.status_code < 500, (number, kind, value, answer.text[:300])
        assert answer.json()["error"]["message"].startswith("play")
    assert alive(server)


def test_bombs_and_floods_are_refused(server):
    page = server.begin()
    answer = page.post("run", kind="picture", sequence=1, content=bomb())
    assert answer.status_code == 422
    answer = page.post("run", kind="picture", sequence=2, content=bytes(17 * 2**20))
    assert answer.status_code == 422
    assert "16 MB" in answer.json()["error"]["message"]
    assert alive(server)


def test_cut_connections_and_half_requests_do_no_harm(server):
    for text in (b"", b"POST /api/run HTTP/1.1\r\n", b"\x00" * 500,
                 b"POST /api/run?kind=picture HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                 b"x-convscope-token: secret-token\r\nContent-Length: 9000\r\n\r\nabc",
                 b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                 b"Connection: Upgrade\r\n\r\n"):  # fmt: skip
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
                raw.sendall(text)
    assert alive(server)


def test_pages_beyond_the_most_are_forgotten_not_refused(server):
    first = server.begin()
    for _ in range(70):
        server.begin()
    answer = first.post("run", kind="example", example=0)
    assert answer.status_code == 422
    assert "Reload the page" in answer.json()["error"]["message"]
    assert alive(server)


def test_an_unforeseen_error_tells_no_secrets(server, monkeypatch):
    from convscope.serve.page import Page

    def fails(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Page, "fields", fails)
    answer = server.get("fields", card=1)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert alive(server)
