"""The pages that people use, and the files they are made of.

They are few and small, so they are read once, before the workers are forked, and only what was read is served: no path
of a request ever reaches the file system. The policy that is sent with each lets nothing run or load but these files.
"""

from __future__ import annotations

from hashlib import sha256
from importlib import resources

import flask
from werkzeug.exceptions import NotFound

PAGES = {"/": "index.html", "/lab": "lab.html"}
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {allowed}" for name, allowed in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # A browser keeps them and asks each time whether they are still good: scripts of two releases never meet.
    "Cache-Control": "no-cache",
}


def add_pages(app: flask.Flask) -> None:
    """Add the routes of the pages."""
    folder = resources.files("service") / "web"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if _ending(file.name) in TYPES}

    @app.get("/web/<name>")
    def web(name: str) -> flask.Response:
        if name not in files:
            raise NotFound
        return kept(files[name], TYPES[_ending(name)])

    for path, name in PAGES.items():
        # Else ``GET http://host``, which has no path at all, is sent on to "/" with a page of HTML that is not ours.
        strict = path != "/"
        app.add_url_rule(path, f"page {path}", web, methods=["GET"], defaults={"name": name}, strict_slashes=strict)


def kept(content: bytes, content_type: str) -> flask.Response:
    """Return what a browser may keep, or word that what it has is still good."""
    response = flask.Response(content, content_type=content_type, headers=HEADERS)
    response.set_etag(sha256(content).hexdigest()[:32])
    response.make_conditional(flask.request)
    return response


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
