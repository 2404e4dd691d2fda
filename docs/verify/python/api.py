"""An API that believes nothing but the assertion of the gate in front of it: docs/verify.md."""

import json
import math
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
COOLDOWN, TIMEOUT = float(os.environ.get("JWKS_COOLDOWN", "30")), float(os.environ.get("JWKS_TIMEOUT", "5"))
ALGORITHMS = ["ES256", "RS256"]  # never what the token asks for: no `none`, no HS256 by a public key


class Unavailable(Exception):
    """The gate's keys cannot be had: nobody's fault, so 503 and not 401."""


class Keys:
    """Kept for ten minutes. A key id that is not in it is looked up again, at most every 30 seconds (COOLDOWN)."""

    def __init__(self, url):
        # Only fetches and parses: its own cache makes everybody wait while it asks.
        self.client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=TIMEOUT)
        self.fetching = threading.Lock()  # one fetch at a time
        self.held, self.fetched, self.failed = {}, -math.inf, -math.inf

    def get(self, kid):
        """Who asks for a key that is held waits for no fetch: else forged key ids would hold up everybody while the
        key server hangs."""
        key = self.find(kid)
        if key is None:
            with self.fetching:
                key = self.find(kid)  # the one before may have asked already
                if key is None:
                    self.fetch()
                    key = self.find(kid)
        return key

    def find(self, kid):
        """None where the set must be fetched."""
        now, fetched = time.monotonic(), self.fetched
        if now - fetched < 600 and kid in self.held:
            return self.held[kid]
        if now - fetched < COOLDOWN:
            raise jwt.InvalidTokenError("an unknown key")
        if now - self.failed < 5:
            raise Unavailable("the key set could not be fetched a moment ago")
        return None

    def fetch(self):
        try:
            keys = self.client.get_signing_keys()
            usable = {key.key_id: key for key in keys if key.algorithm_name in ALGORITHMS}
            if not usable:
                raise jwt.PyJWKSetError("the key set has no key that can be used")
        except Exception as problem:
            self.failed = time.monotonic()
            raise Unavailable("the key set cannot be fetched") from problem
        self.held, self.fetched = usable, time.monotonic()


keys = Keys(os.environ["JWKS_URL"])


def caller(headers):
    """Who is calling: the claims of a good assertion. Raises for everybody else."""
    token = headers.get("x-crossgate-assertion")
    if token is None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise jwt.InvalidTokenError("no assertion")
    header = jwt.get_unverified_header(token)
    if header.get("typ") != "JWT" or header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
        raise jwt.InvalidTokenError("no assertion of the gate")
    key = keys.get(header["kid"])
    if key.algorithm_name != header["alg"]:
        raise jwt.InvalidTokenError("the key is for another algorithm")
    claims = jwt.decode(
        token,
        key.key,
        algorithms=[key.algorithm_name],
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway=5,
        options={"require": ["iss", "aud", "exp", "sub"], "strict_aud": True},
    )
    if not claims["sub"]:
        raise jwt.InvalidTokenError("about nobody")
    return claims


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        try:
            person = caller(self.headers)
        except Unavailable:
            return self.answer(503, {"error": "unavailable"}, {"retry-after": "5"})
        except jwt.PyJWTError:
            return self.answer(401, {"error": "unauthorized"}, {"www-authenticate": "Bearer"})
        self.answer(200, {"sub": person["sub"], "org": person.get("org"), "role": person.get("role")})

    def answer(self, status, body, headers={}):
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(text), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # not 5, which many callers at once overrun


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Api).serve_forever()
