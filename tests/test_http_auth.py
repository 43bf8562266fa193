"""Bearer tokens and OAuth, against a real server process and a real JWKS server on the loopback."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from http_support import HEADERS, call, converse, running
from server_support import INITIALIZE, MODES, text_of

from specformer_mcp.http import HttpOptions, HttpOptionsError, OAuthOptions, named_tokens
from specformer_mcp.http.oauth import IssuerKeys
from specformer_mcp.http.tokens import read_tokens

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"
RESOURCE = "https://specformer.example.org/mcp"
METADATA = "/.well-known/oauth-protected-resource/mcp"


class Issuer:
    """An authorization server, as far as a resource server sees one: metadata and keys."""

    def __init__(self):
        self.keys = {}
        self.secrets = {}
        self.asked = []
        self.down = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                found = issuer.answer(self.path)
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tenant"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.add("rsa", rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm)
        self.add("ec", ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm)

    def add(self, name, secret, algorithm, **more):
        self.secrets[name] = secret
        public = json.loads(algorithm.to_jwk(secret.public_key()))
        self.keys[name] = public | {"kid": name, "use": "sig"} | more

    def answer(self, path):
        if self.down:
            return None
        if path == "/tenant/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": list(self.keys.values())} if path == "/tenant/keys" else None

    def token(self, *, key="rsa", algorithm=None, headers=None, without=(), **claims):
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": RESOURCE,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "scope": "openid samples:read",
        } | claims
        for name in without:
            del said[name]
        secret = self.secrets.get(key, key) if isinstance(key, str) else key
        algorithm = algorithm or ("ES256" if key == "ec" else "RS256")
        head = {"kid": key} if secret is not key else {}
        return jwt.encode(said, secret, algorithm=algorithm, headers=head | (headers or {}))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def fixed():
    with running(tokens={"alice": ALICE, "bob": BOB}, rate_per_minute=60) as one:
        yield one


@pytest.fixture(scope="module")
def issuer():
    one = Issuer()
    yield one
    one.close()


@pytest.fixture(scope="module")
def guarded(issuer):
    with oauth_server(issuer) as one:
        assert one.post(token=issuer.token()).status_code == 200
        yield one


@contextmanager
def oauth_server(issuer, **more):
    oauth = {"issuer": issuer.url, "audience": RESOURCE, "scopes": ["samples:read"]} | more
    with running(oauth=oauth, rate_per_minute=0) as one:
        yield one


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer wrong-0123456789abcdef",
        f"Bearer {ALICE}x",
        f"Bearer {ALICE[:-1]}",
        f"Basic {ALICE}",
        f"Bearer {ALICE} {BOB}",
        "Bearer \xff\xfe",
    ],
)
def test_no_or_a_wrong_token(fixed, authorization):
    headers = HEADERS | ({"Authorization": authorization} if authorization else {})
    sent = [(name, value.encode("latin-1")) for name, value in headers.items()]
    answer = httpx.post(fixed.url, json=INITIALIZE, headers=sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_everything_but_health_asks_for_a_token(fixed):
    for path in ("/mcp", "/metrics", "/nothing", "/health/", "//health", "/%68ealth/../mcp"):
        assert httpx.get(fixed.base + path).status_code == 401, path
    for path in ("/health", "/ready"):
        assert httpx.get(fixed.base + path).status_code in {200, 503}
    assert fixed.metric("specformer_ready", token=ALICE) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_token_names_the_owner(fixed, mode):
    async def conversation(client):
        return client.protocol_version, text_of(await client.call_tool("whoami", {}))

    version, alice = converse(fixed.url, conversation, mode=mode, token=ALICE)
    _, bob = converse(fixed.url, conversation, mode=mode, token=BOB)
    assert version == MODES[mode]
    assert alice != bob
    assert "local" not in {alice, bob}
    assert not {"alice", "bob", ALICE, BOB} & {alice, bob}


def test_a_session_belongs_to_who_opened_it(fixed):
    opened = fixed.post(token=ALICE)
    session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert fixed.post(ping, token=ALICE, headers=session).status_code == 200
    assert fixed.post(ping, token=BOB, headers=session).status_code == 404
    assert fixed.post(ping, headers=session).status_code == 401


def test_a_call_needs_no_session(fixed):
    message, headers = call("whoami")
    assert fixed.post(message, token=ALICE, headers=headers).status_code == 200


def test_the_token_is_nowhere_in_the_log(fixed):
    fixed.post(token="wrong-" + ALICE)
    assert "0123456789abcdef" not in fixed.log.read_text()


def test_one_owner_does_not_spend_the_rate_of_another(fixed):
    for _ in range(200):
        status = fixed.post(token=BOB).status_code
        if status == 429:
            break
    assert status == 429
    assert fixed.post(token=ALICE).status_code == 200


def test_the_metadata_of_the_resource(issuer, guarded):
    answer = httpx.get(guarded.base + METADATA)
    assert answer.status_code == 200
    metadata = answer.json()
    assert metadata["resource"] == RESOURCE
    assert metadata["authorization_servers"] == [issuer.url]
    assert metadata["scopes_supported"] == ["samples:read"]
    assert metadata["bearer_methods_supported"] == ["header"]
    refused = guarded.post()
    assert refused.status_code == 401
    assert (
        f'resource_metadata="https://specformer.example.org{METADATA}"'
        in refused.headers["WWW-Authenticate"]
    )


@pytest.mark.parametrize("key", ["rsa", "ec"])
@pytest.mark.parametrize("mode", MODES)
def test_a_good_token(issuer, guarded, mode, key):
    async def conversation(client):
        return client.protocol_version, text_of(await client.call_tool("whoami", {}))

    version, alice = converse(guarded.url, conversation, mode=mode, token=issuer.token(key=key))
    _, carol = converse(
        guarded.url, conversation, mode=mode, token=issuer.token(key=key, sub="carol")
    )
    assert version == MODES[mode]
    assert alice.startswith("sub_")
    assert alice != carol


@pytest.mark.parametrize("aud", [[RESOURCE, "https://other.example"], RESOURCE])
@pytest.mark.parametrize("scopes", [{"scope": "samples:read"}, {"scp": ["samples:read"]}])
def test_the_forms_of_audience_and_scope(issuer, guarded, aud, scopes):
    without = () if "scope" in scopes else ("scope",)
    assert guarded.post(token=issuer.token(without=without, aud=aud, **scopes)).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": RESOURCE + "/"},
        {"aud": []},
        {"iss": "https://other.example"},
        {"exp": 1},
        {"exp": "soon"},
        {"nbf": 4102444800},
        {"sub": ""},
        {"sub": 7},
        {"without": ["exp"]},
        {"without": ["aud"]},
        {"without": ["sub"]},
        {"without": ["iss"]},
        {"headers": {"kid": "nobody"}},
        {"headers": {"kid": "ec"}},
        {"headers": {"crit": ["b64"], "b64": False}},
    ],
    ids=str,
)
def test_a_token_that_is_not_good_here(issuer, guarded, wrong):
    answer = guarded.post(token=issuer.token(**wrong))
    assert answer.status_code == 401
    assert "resource_metadata=" in answer.headers["WWW-Authenticate"]


def test_a_token_just_past_its_time_is_forgiven_a_slow_clock_but_no_more(issuer, guarded):
    now = int(time.time())
    assert guarded.post(token=issuer.token(exp=now - 10)).status_code == 200
    assert guarded.post(token=issuer.token(exp=now - 60)).status_code == 401


def test_algorithms_are_not_the_tokens_choice(issuer, guarded):
    good = issuer.token()
    body = good.split(".")[1]
    public = issuer.keys["rsa"]
    forged = [
        jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", algorithm="none"),
        # The public key as the secret of an HMAC, the classic confusion.
        issuer.token(key=public["n"], algorithm="HS256", headers={"kid": "rsa"}),
        issuer.token(algorithm="RS512"),
        issuer.token(algorithm="PS256"),
        issuer.token(key=rsa.generate_private_key(65537, 2048), headers={"kid": "rsa"}),
        issuer.token(
            key=rsa.generate_private_key(65537, 2048),
            headers={"kid": "rsa", "jku": "http://127.0.0.1:1/keys", "jwk": public},
        ),
        good.rsplit(".", 1)[0] + ".",
        f"{good}x" * 2,
        f".{body}.",
        "x" * 20_000,
        "e30.e30.e30",
    ]
    for token in forged:
        assert guarded.post(token=token).status_code == 401, token[:80]


def test_a_token_without_the_scope(issuer, guarded):
    answer = guarded.post(token=issuer.token(scope="openid"))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_unknown_keys_do_not_make_the_server_ask_and_ask(issuer):
    with oauth_server(issuer) as server:
        issuer.asked.clear()
        for number in range(5):
            token = issuer.token(headers={"kid": f"no-{number}"})
            assert server.post(token=token).status_code == 401
            assert server.post(token=issuer.token()).status_code == 200
        assert issuer.asked.count("/tenant/keys") == 1


def test_a_new_key_is_found_after_a_minute(issuer):
    now = 0.0

    async def find(keys, name):
        nonlocal now
        assert await keys.find("rsa", "RS256") is not None
        assert await keys.find("rsa", "ES256") is None
        issuer.add(name, rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm)
        now = 59.0
        early = await keys.find(name, "RS256")
        now = 61.0
        return early, await keys.find(name, "RS256")

    options = OAuthOptions(issuer=issuer.url, audience=RESOURCE)
    try:
        early, late = asyncio.run(find(IssuerKeys(options, clock=lambda: now), "new"))
    finally:
        del issuer.keys["new"], issuer.secrets["new"]
    assert early is None
    assert late is not None
    assert late.key_id == "new"


@pytest.mark.parametrize(
    "more",
    [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "?"}, {"n": "!"}],
    ids=str,
)
def test_keys_that_are_not_for_this_are_left_out(issuer, more):
    issuer.add("odd", rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm, **more)
    keys = IssuerKeys(OAuthOptions(issuer=issuer.url, audience=RESOURCE))

    async def both():
        return [await keys.find(name, "RS256") for name in ("odd", "rsa")]

    try:
        odd, good = asyncio.run(both())
    finally:
        del issuer.keys["odd"], issuer.secrets["odd"]
    assert odd is None
    assert good is not None


def test_an_issuer_that_does_not_answer(issuer):
    issuer.down = True
    try:
        with oauth_server(issuer) as server:
            answer = server.post(token=issuer.token())
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) == 5
            assert server.post().status_code == 401
            assert server.alive()
            issuer.down = False
            time.sleep(5.2)
            assert server.post(token=issuer.token()).status_code == 200
            issuer.down = True  # from here on the keys are known
            assert server.post(token=issuer.token()).status_code == 200
    finally:
        issuer.down = False


OAUTH = {"issuer": "https://id.example", "audience": RESOURCE}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"host": "0.0.0.0"}, "--token-file"),  # noqa: S104
        ({"host": "::"}, "--token-file"),
        ({"host": ""}, "--token-file"),
        ({"host": "192.0.2.7"}, "--allow-host"),
        ({"host": "server.example.org"}, "--allow-host"),
        ({"tokens": {"a": ALICE}, "oauth": OAuthOptions(**OAUTH)}, "one of the two"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"rate_per_minute": -1}, "rate_per_minute"),
    ],
)
def test_unsafe_options_are_refused(options, word):
    with pytest.raises(HttpOptionsError, match=word):
        HttpOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": "http://id.example"},
        {"issuer": "ftp://127.0.0.1"},
        {"issuer": "id.example"},
        {"issuer": "https://user:word@id.example"},
        {"audience": ""},
        {"audience": "api://specformer"},  # no address, and no other was given
        {"jwks_url": "http://192.0.2.1/keys"},
        {"resource": "http://specformer.example.org/mcp"},
    ],
    ids=str,
)
def test_unsafe_oauth_options_are_refused(options):
    with pytest.raises(HttpOptionsError):
        OAuthOptions(**(OAUTH | options))


def test_oauth_options_that_are_safe():
    assert OAuthOptions(**OAUTH).resource_url == RESOURCE
    other = OAuthOptions(issuer=OAUTH["issuer"], audience="api://specformer", resource=RESOURCE)
    assert other.resource_url == RESOURCE


def test_token_files(tmp_path, caplog):
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n\nalice {ALICE}\n  bob\t{BOB}  \n")
    file.chmod(0o600)
    assert read_tokens(file) == {"alice": ALICE, "bob": BOB}
    assert not caplog.records
    file.chmod(0o644)
    with caplog.at_level("WARNING", logger="specformer_mcp"):
        read_tokens(file)
    assert "chmod 600" in caplog.text
    with pytest.raises(HttpOptionsError, match="cannot be read"):
        read_tokens(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HttpOptionsError, match="not UTF-8"):
        read_tokens(tmp_path / "binary")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "short",
        f"alice {ALICE} more",
        "alice with-ä-letter-0123456789",
        f"alice {ALICE}\nalice {BOB}",
        f"alice {ALICE}\nbob {ALICE}",
        f"{ALICE}\n{BOB}",
    ],
)
def test_malformed_tokens_are_refused_without_showing_them(text):
    with pytest.raises(HttpOptionsError) as refused:
        named_tokens(text, source="SPECFORMER_TOKEN")
    assert "0123456789" not in str(refused.value)
    assert "SPECFORMER_TOKEN" in str(refused.value)
