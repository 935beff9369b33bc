"""`scratch3d.models`: catalogues, and downloads that break, change and lie, over real HTTP."""

import shutil
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hub_site import Handler, HubSite, sha256, url_path
from tiny_model import CONFIG, FILES, WEIGHTS, content, described, get, keep, toml_of

from scratch3d.models import catalogue
from scratch3d.models.catalogue import Catalogue
from scratch3d.models.errors import BadCatalogue, FetchFailed, UnknownModel, WrongContent
from scratch3d.models.store import ModelStore
from scratch3d.up.supervisor import free_port

pytestmark = pytest.mark.usefixtures("bare_environment")
CERTIFICATE = Path(__file__).parents[2] / "tests" / "attacks" / "loopback.pem"


# --- the catalogue -------------------------------------------------------------------------------------------------


def test_triposr_is_in_the_catalogue() -> None:
    [model] = catalogue.load().named(["triposr"])
    assert (model.repository, model.revision[:8], model.licence.code) == ("stabilityai/TripoSR", "5b521936", "MIT")
    assert [(file.path, file.size, file.sha256[:8], file.converted) for file in model.files] == [
        ("config.yaml", 987, "74ca708c", None),
        ("model.ckpt", 1_677_246_742, "429e2c6b", "model.safetensors"),
    ]


def test_models_of_your_own_are_added_or_replace(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(toml_of(described()) + toml_of(described(id="triposr", summary="mine")))
    known = catalogue.load(own)
    assert [(model.id, model.summary) for model in known.models] == [
        ("triposr", "mine"),
        ("tiny", "a model of the tests"),
    ]
    with pytest.raises(UnknownModel, match=r"no model big; there are: triposr, tiny"):
        known.named(["tiny", "big"])
    assert known.named(["tiny", "tiny"]) == [known.models[1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"revision": "main"}, "revision"),
        ({"repository": "no-owner"}, "repository"),
        ({"licence": {"code": "MIT"}}, "licence.sentence"),
        ({"files": []}, "files"),
        ({"sumary": "x"}, "sumary"),
        ({"files": [{"name": "../x", "size": 1, "sha256": "0" * 64}]}, "files.0.name"),
        ({"files": [{"name": "x", "path": "/etc/x", "size": 1, "sha256": "0" * 64}]}, "files.0.path"),
        ({"files": [{"name": "x", "size": 1, "sha256": "0" * 64}] * 2}, "x would be written twice"),
        ({"files": [{"name": "x", "size": 1, "sha256": "0" * 63}]}, "files.0.sha256"),
        (
            {
                "files": [
                    {"name": "x.ckpt", "size": 1, "sha256": "0" * 64, "convert": "safetensors"},
                    {"name": "x.safetensors", "size": 1, "sha256": "0" * 64},
                ]
            },
            "x.safetensors would be written twice",
        ),
    ],
)
def test_a_catalogue_that_cannot_be_right_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Catalogue.model_validate({"models": [described(**change)]})
    own = tmp_path / "own.toml"
    own.write_text(toml_of(described(revision="main")))
    with pytest.raises(BadCatalogue, match=r"own.toml: models.0.revision"):
        catalogue.load(own)


# --- downloads -----------------------------------------------------------------------------------------------------


def test_a_model_is_fetched_whole_and_only_once(site: HubSite, store: ModelStore) -> None:
    heard = get(site, store)
    assert content(store) == FILES, "and nothing else is left"
    assert [asked.path for asked in site.asked] == [url_path(name) for name in FILES]
    assert site.asked[0].headers["accept-encoding"] == "identity", "hashes and ranges are those of the file itself"
    assert heard.has("weights/model.ckpt", "307.2 kB")
    assert get(site, store) == ["tiny: everything is there and right; nothing to do"]
    assert len(site.asked) == 2, "nothing was asked again"


def test_only_what_is_missing_or_wrong_is_fetched(site: HubSite, store: ModelStore) -> None:
    get(site, store)
    (store.models_dir / "tiny" / "weights" / "model.ckpt").write_bytes(WEIGHTS[::-1])
    heard = get(site, store)
    assert heard.has("weights/model.ckpt is not what it should be")
    assert content(store) == FILES and len(site.asked) == 3


def test_a_broken_download_goes_on_where_it_stopped(site: HubSite, store: ModelStore) -> None:
    site.rules = [Handler.serve, partial(Handler.serve, most=100_000), partial(Handler.serve, most=100_000)]
    heard = get(site, store, tries=2)
    assert site.ranges == [None, None, "bytes=100000-", "bytes=200000-"]
    assert site.asked[2].headers["if-range"] == site.asked[3].headers["if-range"] == f'"{sha256(WEIGHTS)[:16]}"'
    assert heard.has("stopped at 100000 of 307200 bytes", "trying again in 0 s")
    assert content(store) == FILES


def test_a_later_fetch_goes_on_where_an_earlier_one_stopped(site: HubSite, store: ModelStore) -> None:
    site.rules = [Handler.serve, partial(Handler.serve, most=1000), *[partial(Handler.status, code=503)] * 2]
    with pytest.raises(
        FetchFailed, match=r"gave up after 2 tries .*127.0.0.1 answers 503.* 1000 of 307200 bytes are kept"
    ):
        get(site, store, tries=2)
    heard = get(site, store)
    assert site.ranges[-1] == "bytes=1000-" and heard.has("of which 1.0 kB came earlier")
    assert content(store) == FILES


def test_a_server_without_ranges_starts_over(site: HubSite, store: ModelStore) -> None:
    site.rules = [Handler.serve, partial(Handler.serve, most=1000), partial(Handler.serve, ranges=False)]
    assert get(site, store).has("starting from the beginning")
    assert site.ranges[2] == "bytes=1000-" and content(store) == FILES


@pytest.mark.parametrize("if_range", [True, False], ids=["whole new file", "rest of the new file"])
def test_a_file_that_changed_between_tries_starts_over(site: HubSite, store: ModelStore, if_range: bool) -> None:
    keep(store, b"old" * 1000, '"old"')
    site.rules = [Handler.serve, partial(Handler.serve, if_range=if_range)]
    assert get(site, store).has("starting from the beginning")
    assert site.asked[1].headers["if-range"] == '"old"' and site.ranges[1] == "bytes=3000-"
    assert content(store) == FILES


def test_a_rest_that_the_server_does_not_have_starts_over(site: HubSite, store: ModelStore) -> None:
    keep(store, WEIGHTS[:1000])
    site.rules = [Handler.serve, partial(Handler.status, code=416)]
    assert get(site, store).has("the server has no such rest")
    assert site.ranges == [None, "bytes=1000-", None] and content(store) == FILES


def test_another_rest_than_was_asked_for_starts_over(site: HubSite, store: ModelStore) -> None:
    def shifted(handler: Handler) -> None:
        handler.headers.replace_header("Range", "bytes=900-")
        handler.serve()

    keep(store, WEIGHTS[:1000])
    site.rules = [Handler.serve, shifted]
    assert get(site, store).has("the server continues something else")
    assert site.ranges == [None, "bytes=1000-", None] and content(store) == FILES


def test_weak_validators_are_not_sent_back(site: HubSite, store: ModelStore) -> None:
    keep(store, WEIGHTS[:10], '"old"')
    site.rules = [Handler.serve, partial(Handler.serve, most=1000, etag='W/"x"')]
    get(site, store)
    assert site.ranges[1:] == ["bytes=10-", "bytes=1000-"] and "if-range" not in site.asked[2].headers
    assert content(store) == FILES


@pytest.mark.parametrize("kept", [len(WEIGHTS), len(WEIGHTS) + 1], ids=["all of it", "more than all"])
def test_a_part_that_is_complete_or_too_long(site: HubSite, store: ModelStore, kept: int) -> None:
    keep(store, (WEIGHTS + b"!")[:kept])
    get(site, store)
    assert site.ranges == [None] * (1 if kept == len(WEIGHTS) else 2) and content(store) == FILES


def test_wrong_content_is_removed_and_told(site: HubSite, store: ModelStore) -> None:
    site.files[url_path("weights/model.ckpt")] = other = WEIGHTS[::-1]
    with pytest.raises(WrongContent) as caught:
        get(site, store)
    said = str(caught.value)
    assert f"expected 307200 bytes, sha256 {sha256(WEIGHTS)}" in said and f"sha256 {sha256(other)}" in said
    assert "Run the same command again" in said and "--from-dir" in said
    assert content(store) == {"config.yaml": CONFIG}


def test_the_hash_is_that_of_the_whole_file_not_of_the_rest(site: HubSite, store: ModelStore) -> None:
    keep(store, b"x" + WEIGHTS[1:1000])
    with pytest.raises(WrongContent):
        get(site, store)
    assert site.ranges[1] == "bytes=1000-"
    get(site, store)
    assert site.ranges[2] is None and content(store) == FILES, "what was wrong is not gone on with"


def test_another_size_is_refused_before_anything_is_taken(site: HubSite, store: ModelStore) -> None:
    site.files[url_path("weights/model.ckpt")] = b"<html>log in</html>"
    keep(store, WEIGHTS[:10])
    with pytest.raises(FetchFailed, match=r"expected 307200 bytes, 127.0.0.1 offers 19; nothing was taken"):
        get(site, store)
    assert content(store)["weights/model.ckpt.part"] == WEIGHTS[:10]


def test_no_more_is_written_than_was_asked_for(site: HubSite, store: ModelStore) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(WEIGHTS * 4)

    site.rules = [Handler.serve, endless]
    get(site, store)
    assert content(store) == FILES and len(site.asked) == 2


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (404, "", f"has no {url_path('config.yaml')[1:]} .404.*unset HF_ENDPOINT"),
        (401, "", "wants to know who asks for somebody/tiny .401.*set HF_TOKEN"),
        (401, "hf_x", "does not accept HF_TOKEN .401.*make a new token"),
        (403, "hf_x", "does not give somebody/tiny to this account .403.*accept its conditions"),
        (418, "", "answers 418 .*is HF_ENDPOINT right"),
    ],
)
def test_refusals_say_what_to_do(site: HubSite, store: ModelStore, status: int, token: str, said: str) -> None:
    site.rules = [partial(Handler.status, code=status)]
    with pytest.raises(FetchFailed, match=said) as caught:
        get(site, store, token=token)
    assert "models fetch tiny --from-dir DIR" in str(caught.value) and len(site.asked) == 1, (
        "and nothing is tried again"
    )


# --- redirects, tokens, proxies, TLS -------------------------------------------------------------------------------


def test_a_redirect_to_another_host_does_not_get_the_token(site: HubSite, store: ModelStore) -> None:
    with HubSite({"weights/model.ckpt": WEIGHTS}) as far:
        away = f"http://localhost:{far.port}{url_path('weights/model.ckpt')}"
        moved = partial(Handler.status, code=302, Location=away)
        site.rules = [Handler.serve, moved, moved]
        far.rules = [partial(Handler.serve, most=1000)]
        get(site, store, token="hf_secret")
    assert [asked.headers.get("authorization") for asked in site.asked] == ["Bearer hf_secret"] * 3
    assert [asked.headers.get("authorization") for asked in far.asked] == [None, None]
    assert far.ranges == [None, "bytes=1000-"] and content(store) == FILES


def test_a_redirect_within_the_host_keeps_the_token(site: HubSite, store: ModelStore) -> None:
    site.files["/elsewhere"] = CONFIG
    site.rules = [partial(Handler.status, code=307, Location="/elsewhere")]
    get(site, store, token="hf_secret")
    assert site.asked[1].path == "/elsewhere" and site.asked[1].headers["authorization"] == "Bearer hf_secret"


def test_a_refusal_behind_the_hub_is_not_taken_for_the_hubs(site: HubSite, store: ModelStore) -> None:
    with HubSite() as far:
        far.rules = [partial(Handler.status, code=403)]
        site.rules = [partial(Handler.status, code=302, Location=f"http://localhost:{far.port}/x")]
        with pytest.raises(FetchFailed, match=r"localhost, where http.* sends this download, answers 403.*firewall"):
            get(site, store)


def test_redirects_without_end_are_told(site: HubSite, store: ModelStore) -> None:
    site.rules = [partial(Handler.status, code=302, Location="/round")] * 30
    with pytest.raises(FetchFailed, match=r"redirects"):
        get(site, store)


def test_the_environments_proxy_is_used(site: HubSite, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", site.url)
    site.files |= {f"http://hub.invalid{path}": body for path, body in site.files.items()}
    get("http://hub.invalid", store)
    assert site.asked[0].path.startswith("http://hub.invalid/") and content(store) == FILES


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_told(store: ModelStore, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(FetchFailed, match=r"as the environment says .*ALL_PROXY"):
        get("http://127.0.0.1:9", store)


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://huggingface.co", "http://", "http://[::1"])
def test_an_endpoint_that_is_none_is_told(store: ModelStore, endpoint: str) -> None:
    with pytest.raises(FetchFailed, match=r"HF_ENDPOINT is .*must look like https://huggingface.co"):
        get(endpoint, store)


def test_a_token_that_is_none_is_told(site: HubSite, store: ModelStore) -> None:
    with pytest.raises(FetchFailed, match=r"HF_TOKEN holds signs"):
        get(site, store, token="hf_x\nHost: y")


def test_names_that_do_not_resolve_are_told(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    (keep(store, WEIGHTS[:10]).parents[1] / "config.yaml").write_bytes(CONFIG)
    with pytest.raises(
        FetchFailed, match=r"the name hub.invalid.* cannot be resolved: is this machine online.*HTTPS_PROXY"
    ):
        get("https://hub.invalid", store)


def test_a_closed_port_is_told(store: ModelStore) -> None:
    with pytest.raises(FetchFailed, match=r"127.0.0.1 cannot be reached .*refused"):
        get(f"http://127.0.0.1:{free_port()}", store)


def test_certificates_count(store: ModelStore, site: HubSite, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubSite(dict(FILES), certificate=CERTIFICATE) as secure:
        with pytest.raises(FetchFailed, match=r"no TLS that can be trusted with 127.0.0.1 .*SSL_CERT_FILE"):
            get(secure, store)
        away = partial(Handler.status, code=302, Location=f"{secure.url}/x")
        site.rules = [Handler.serve, partial(Handler.serve, most=1000), away]
        with pytest.raises(FetchFailed, match=r"no TLS that can be trusted"):
            get(site, store)
        assert len(site.asked) == 3, "a certificate is no matter of luck"
        shutil.rmtree(store.models_dir)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        secure.rules = [partial(Handler.status, code=302, Location=f"{site.url}{url_path('config.yaml')}")]
        with pytest.raises(FetchFailed, match=r"without TLS"):
            get(secure, store)
        get(secure, store)
    assert content(store) == FILES
