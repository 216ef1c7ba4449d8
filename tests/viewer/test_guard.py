"""The viewer's server answers nobody but the page that the user opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.viewer.tables import ORIGIN, TOKEN, client_of, viewer_of, write_images

from microcalc.errors import InputError
from microcalc.viewer.guard import MOST_BODY_BYTES
from microcalc.viewer.serve import Address, check_address, guarded


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("guard")
    with client_of(viewer_of(write_images(folder / "t"), out=folder / "o")) as client:
        yield client


def test_the_page_is_answered_with_its_token(client: TestClient) -> None:
    assert client.get("").status_code == 200
    assert client.get("page/main.js").headers["content-type"].startswith("text/javascript")
    assert client.get("api/catalogue").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/catalogue", "/page/main.js", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", "//", "/%00/", "/é/"]
)
def test_without_the_token_nothing_is_answered(client: TestClient, path: str) -> None:
    answer = client.get(f"{ORIGIN}{path}")
    assert answer.status_code == 403
    assert "microcalc view printed" in answer.text


def test_no_address_of_the_server_is_answered_without_the_token(tmp_path: Path) -> None:
    viewer = viewer_of(write_images(tmp_path / "t"), out=tmp_path / "o")
    client = client_of(viewer)
    addresses = {(method, route.path) for route in viewer.routes() for method in route.methods or ()}
    assert len(addresses) >= 20
    for method, path in addresses:
        filled = re.sub(r"{[a-z]+(:int)?}", "0", path)
        assert client.request(method, f"{ORIGIN}{filled}", headers={"Origin": ORIGIN}).status_code == 403, (
            method,
            path,
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # DNS rebinding: a name of theirs that leads to this machine
        {"Host": "evil.example:8080"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:8081"},
        {"Host": "127.0.0.1:8080@evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ],
)
def test_another_host_or_origin_is_refused_even_with_the_token(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("", "api/catalogue", "page/style.css"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.post("api/undo", json={}, headers=headers).status_code == 403


def test_the_own_origin_is_answered(client: TestClient) -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert client.get("api/catalogue", headers=headers).status_code == 200


def test_a_link_to_the_page_may_be_followed_from_elsewhere_and_a_form_may_not(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("", headers=headers).status_code == 200
    assert client.get(f"{ORIGIN}/", headers=headers).status_code == 403
    assert client.post("api/undo", json={}, headers=headers).status_code == 403


def test_a_host_that_is_given_twice_is_refused(client: TestClient) -> None:
    headers = [("Host", "127.0.0.1:8080"), ("Host", "evil.example")]
    assert client.get("api/catalogue", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "page/../server.py", "page/..%2fserver.py", "page/%2e%2e/guard.py", "page/..%5cguard.py", "page/__init__.py",
        "page//etc/passwd", "page/%2fetc%2fpasswd", "page/openseadragon.LICENSE.txt/..", "page/main.js%00.css", "..",
        "../../etc/passwd", "api/images/..%2f..%2fetc%2fpasswd", "api/images/i0/tiles/..%2f/0/0/0",
        "api/images/%2fetc%2fpasswd/marks", "api/images/i0/tiles/image/0/0/..%2f..%2f", "api/images/i9999",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_what_was_given(client: TestClient, path: str) -> None:
    answer = client.get(f"{ORIGIN}/{TOKEN}/{path}")
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_tiles_that_do_not_exist_are_refused(client: TestClient) -> None:
    for tile in ("9/0/0", "0/5/0", "0/0/99999999999999999999"):
        assert client.get(f"api/images/i0/tiles/image/{tile}").status_code in (404, 422)
    assert client.get("api/images/i0/tiles/image/-1/0/0").status_code == 404


def test_every_answer_forbids_the_page_to_load_or_be_loaded_elsewhere(client: TestClient) -> None:
    for path in ("", "page/main.js", "api/catalogue", "api/images/i0/tiles/image/0/0/0", "nothing", "../x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_script_style_or_address_of_its_own_or_of_others(client: TestClient) -> None:
    text = client.get("").text
    assert "style=" not in text
    assert "<style" not in text
    assert "onclick" not in text
    assert "http:" not in text
    assert text.count("<script") == text.count("<script src=") + text.count('<script type="module" src=')


def test_openseadragon_is_the_released_file_with_its_licence() -> None:
    page = resources.files("microcalc") / "viewer" / "page"
    content = (page / "openseadragon.min.js").read_bytes()  # npm: openseadragon 6.1.1, build/openseadragon
    assert hashlib.sha256(content).hexdigest() == "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad"
    assert "Redistributions in binary form" in (page / "openseadragon.LICENSE.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {}, 415),
        (b"[]", {"Content-Type": "application/json"}, 422),
        (b"nan", {"Content-Type": "application/json"}, 422),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 422),
        (b"\xff\xfe", {"Content-Type": "application/json"}, 422),
        (b" " * (MOST_BODY_BYTES + 1), {"Content-Type": "application/json"}, 413),
        (b"{}", {"Content-Type": "application/json", "Content-Length": "-1"}, 413),
        (b"{}", {"Content-Type": "application/json", "Content-Length": "9" * 300}, 413),
    ],
)
def test_a_body_that_is_no_small_json_is_refused(
    client: TestClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("api/images/i0/annotations", content=content, headers=headers)
    assert answer.status_code == status


def test_other_methods_are_refused(client: TestClient) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "api/catalogue").status_code == 405


def test_an_address_that_others_can_reach_needs_tls_or_a_word(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_address(Address(host), insecure=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "workstation"):
        with pytest.raises(InputError, match=r"--host .*: others could read along, expected --certificate and --key"):
            check_address(Address(host), insecure=False)
        check_address(Address(host), insecure=True)
    with pytest.raises(InputError, match="--insecure: has no effect here"):
        check_address(Address(), insecure=True)
    with pytest.raises(InputError, match="one without the other"):
        check_address(Address(certificate=tmp_path / "c.pem"), insecure=False)
    with pytest.raises(InputError, match=r"c.pem: no such file"):
        check_address(Address("0.0.0.0", 0, tmp_path / "c.pem", tmp_path / "k.pem"), insecure=False)


def test_on_another_address_the_host_is_that_address_alone(tmp_path: Path) -> None:
    viewer = viewer_of(write_images(tmp_path / "t"))
    guard = guarded(viewer.app(), token=TOKEN, scheme="https", host="192.0.2.1", port=8443)
    assert TestClient(guard, base_url="https://127.0.0.1:8443").get(f"/{TOKEN}/").status_code == 403
    assert TestClient(guard, base_url="https://192.0.2.1:8443").get(f"/{TOKEN}/").status_code == 200
