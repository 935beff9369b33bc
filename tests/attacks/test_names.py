"""Names that callers choose: none of them becomes a file name, a header or a page of ours."""

import json
import re
from typing import Any

import pytest
from attack import GOOD_PNG, Attacker, check_refused, each

NAMES = {
    "a header's line break": "front\r\nX-Evil: yes\r\n\r\n<script>alert(1)</script>.png",
    "quotes": 'front"; filename="evil.html',
    "the directory above": "../../../../etc/cron.d/evil",
    "an absolute path": "/etc/passwd",
    "another system's path": "C:\\Windows\\..\\evil.png",
    "a script": "<script>alert(1)</script>.html",
    "other letters": "vorne-前-переди\u202egnp.exe",
    "nothing in the middle": "front.png\x00.html",
    "longer than any file name": "x" * 4000 + ".png",
    "a header's own spelling": "front.png; filename*=UTF-8''evil%0d%0aX-Evil: yes",
}
#: What cannot be in a header at all is left out where a header is sent.
SENDABLE = re.compile(r"[^\x21-\x7e]+")


def form(name: str, boundary: str = "between-the-parts") -> tuple[bytes, dict[str, str]]:
    """Two uploads under a name that is not escaped as a well-behaved client would."""
    body = b""
    for number, view in enumerate(("front", "right")):
        given = f"{number}{name}".encode()
        body += f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        body += b'"images"; filename="' + given + b'"\r\nContent-Type: text/html\r\n\r\n' + GOOD_PNG + b"\r\n"
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="views"\r\n\r\n{view}\r\n'.encode()
    for key, value in (("quality_tier", "fast"), ("labels", json.dumps({"shop": name[:255]}))):
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
    body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


@pytest.mark.parametrize("name", **each(NAMES))
def test_a_name_stays_what_it_is(mesh: Any, http: Attacker, name: str) -> None:
    content, headers = form(name)
    before = {path.name for path in mesh.data_dir.parent.rglob("*evil*")}
    host = {"Host": SENDABLE.sub("", name)[:200] or "evil"}
    reply = http.post("/3d/from-image", content=content, headers={**headers, **host})
    if reply.status_code != 202:
        # A form that the name has torn apart may be refused; nothing of it is kept.
        check_refused(reply)
        reply = http.post("/3d/generate", json={"prompt": "a red cube", "quality_tier": "fast"}, headers=host)
    assert re.fullmatch(r"/3d/status/[0-9a-f-]{36}", reply.headers["location"])
    status = http.ended(reply)
    assert status["state"] == "completed", status
    stored = list((mesh.data_dir / "inputs" / status["job_id"]).rglob("*"))
    assert stored and all(re.fullmatch(r"[a-z0-9-]+(\.(png|jpg|webp|bin|glb|json))?", p.name) for p in stored), stored
    assert {path.name for path in mesh.data_dir.parent.rglob("*evil*")} == before
    check_downloads(http, status, name)


def check_downloads(http: Attacker, status: dict[str, Any], name: str) -> None:
    """Every file comes under a name of ours and as what it is, whatever `Host` and path say."""
    job_id = status["job_id"]
    host = {"Host": SENDABLE.sub("", name)[:200] or "evil"}
    got = http.get(f"/3d/download/{job_id}", headers=host)
    assert got.status_code == 200
    assert got.headers["content-disposition"] == f'attachment; filename="{job_id}.glb"'
    assert got.headers["content-type"] == "model/gltf-binary"
    for found in (got, *(http.get(output["url"], headers=host) for output in status["outputs"])):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "x-evil" not in found.headers and "evil" not in str(found.headers).lower()
        assert "html" not in found.headers["content-type"]
    check_refused(http.get(f"/3d/jobs/{job_id}/artifacts/{name[:2000].encode().hex()}"))
    unknown = http.get(f"/3d/jobs/{job_id}/artifacts/" + "".join(f"%{byte:02x}" for byte in name[:1000].encode()))
    problem = check_refused(unknown)
    assert unknown.status_code == 404 and "evil" not in json.dumps(problem) and "x-evil" not in unknown.headers
