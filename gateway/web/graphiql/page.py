"""GraphiQL's page: its HTML and its Content-Security-Policy.

The page loads nothing from other sites: scripts, styles, fonts and workers are built with npm in this folder. If they
are not built, the page loads an older GraphiQL from a CDN, checks the hash of each file, and shows a notice.
"""

import json
import secrets
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path

from graphql import parse, print_ast
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from gateway.telemetry import logger
from gateway.web.graphiql.assets import SOURCES, Assets, assets_route, built_assets, fallback_assets

EXAMPLE = """{
  thread(id: "th-1") {
    status
    lastMessage {
      subject
      attachments {
        fileName
        attachmentMovements { total movements { agentId customerId fileId } }
      }
    }
  }
}"""
"""The query that the page opens with; its thread is in the sandbox."""

WRITES = (
    (
        """mutation UpdateThread($input: UpdateThreadInput!) {
  updateThread(input: $input) {
    outcome
    userErrors { field code message }
    thread { status tags reminder { delay numberLeft } }
  }
}""",
        {"input": {"id": "th-1", "status": 3, "tagCodes": ["urgent"], "idempotencyKey": "a random UUID"}},
    ),
    (
        """mutation CreateMessage($input: CreateMessageInput!) {
  createMessage(input: $input) {
    outcome
    userErrors { field code message }
    message { id subject content }
  }
}""",
        {"input": {"threadId": "th-1", "subject": "Hello", "content": "How are you?"}},
    ),
    (
        """mutation CreateChatToken($input: CreateChatTokenInput!) {
  createChatToken(input: $input) {
    outcome
    userErrors { field code message }
    token
    expiresAt
  }
}""",
        {"input": {"externalId": "cu-1", "emails": ["customer@sandbox.example"]}},
    ),
)
"""Where mutations run: a tab for each of them, with its variables."""

WATCH = """subscription WatchThread {
  threadUpdated(id: "th-1") {
    status
    updatedAt
    messageCount
  }
}"""
"""The demo's tab that shows the changes of a thread."""

SHOWN = (
    """query Inbox {
  threads(ids: ["th-1", "th-2", "th-3"]) {
    id
    status
    updatedAt
    customers { firstName lastName companyName }
    lastMessage { subject createdAt }
  }
}""",
    """query Conversation {
  thread(id: "th-1") {
    messages(first: 5) { totalCount nodes { from subject content } pageInfo { hasNextPage endCursor } }
  }
}""",
    """query Customer {
  customer(externalId: "cu-1") {
    firstName
    lastName
    nameVariations { firstName lastName }
    profile { customFields { name value } }
  }
}""",
    """query Entities {
  _entities(representations: [{__typename: "Thread", id: "th-1"}, {__typename: "Customer", externalId: "cu-1"}]) {
    __typename
    ... on Thread { status messageCount }
    ... on Customer { lastName }
  }
}""",
    """query AnError {
  thread(id: "th-1") { id }
  other: thread(id: "../th-1") { id }
}""",
)
"""The demo's tabs for what the sandbox has."""

BUILD = "npm --prefix gateway/web/graphiql ci && npm --prefix gateway/web/graphiql run build"
_CDN = "https://unpkg.com/"
_NOTICE = f"""<p class="notice" role="note">GraphiQL's assets are not built. Build them with
<code>{escape(BUILD)}</code> and load this page again. Until then an older GraphiQL comes from unpkg.com.</p>
"""


@dataclass(frozen=True, slots=True)
class CdnFile:
    """A file of an npm package on the CDN; ``integrity`` is the hash of the file in the package."""

    file: str
    integrity: str

    @property
    def url(self) -> str:
        """The address on the CDN."""
        return _CDN + self.file


@dataclass(frozen=True, slots=True)
class GraphiQL:
    """The page of one gateway. ``cdn`` is empty if the assets are built."""

    assets: Assets
    cdn: tuple[CdnFile, ...]
    authorization: bool
    """Whether a request without ``Authorization`` is refused."""
    explain: bool
    mutations: bool = False
    """Whether the page opens with a tab for each mutation as well."""
    sandbox: str = ""
    """In the demo: the path by which the page controls the sandbox, for whose data it has tabs."""

    def response(self) -> HTMLResponse:
        """Return the page, with a new nonce."""
        nonce = secrets.token_urlsafe(16)
        headers = {
            "cache-control": "no-store",
            "content-security-policy": self._policy(nonce),
            "referrer-policy": "same-origin",
            "vary": "accept",
            "x-content-type-options": "nosniff",
        }
        return HTMLResponse(self._html(nonce), headers=headers)

    def _html(self, nonce: str) -> str:
        settings = {
            "query": print_ast(parse(EXAMPLE)),
            "tabs": json.dumps(self._tabs()),
            "sandbox": self.sandbox,
            "authorization": _flag(self.authorization),
            "explain": _flag(self.explain),
        }
        data = " ".join(f'data-{name}="{escape(value)}"' for name, value in settings.items())
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta property="csp-nonce" nonce="{nonce}">
<title>GraphiQL · gochat-gateway</title>
<link rel="icon" href="data:,">
{self._links()}
</head>
<body>
{_NOTICE if self.cdn else ""}<div id="graphiql" {data}></div>
<noscript>GraphiQL needs JavaScript.</noscript>
</body>
</html>
"""

    def _tabs(self) -> list[dict[str, str]]:
        """Return the tabs beside the first, in the form of GraphiQL's ``defaultTabs``."""
        shown = [{"query": print_ast(parse(each))} for each in (*SHOWN, WATCH)] if self.sandbox else []
        return [*shown, *(_writes() if self.mutations else ())]

    def _links(self) -> str:
        """Return the tags of style sheets and scripts. Addresses are relative, as a proxy may add a path prefix."""
        lines = [_cdn_tag(each) for each in self.cdn]
        lines += [f'<link rel="stylesheet" href="graphiql/assets/{name}">' for name in self.assets.styles]
        kind = "defer" if self.cdn else 'type="module"'
        lines.append(f'<script {kind} src="graphiql/assets/{self.assets.script}"></script>')
        return "\n".join(lines)

    def _policy(self, nonce: str) -> str:
        scripts = [each.url for each in self.cdn if not each.file.endswith(".css")]
        styles = [each.url for each in self.cdn if each.file.endswith(".css")]
        directives = {
            "default-src": ["'none'"],
            "script-src": ["'self'", *scripts],
            # The editor's style sheets get the nonce. Its style attributes, which place the lines, cannot have one.
            "style-src": ["'self'", f"'nonce-{nonce}'", *styles],
            "style-src-attr": ["'unsafe-inline'"],
            "connect-src": ["'self'"],
            "worker-src": ["'self'"],
            "img-src": ["'self'", "data:"],
            "font-src": ["'self'", "data:"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        return "; ".join(" ".join([name, *sources]) for name, sources in directives.items())


class GraphiQLPage:
    """The current page: loaded at the start, and again after a build."""

    def __init__(self, *, authorization: bool, explain: bool, mutations: bool = False, sources: Path = SOURCES) -> None:
        self._build = partial(build_graphiql, authorization, explain, sources, mutations=mutations)
        self._sandbox = ""
        self.refresh()

    def refresh(self) -> None:
        """Load the page again."""
        self._current = replace(self._build(), sandbox=self._sandbox)

    def offer_sandbox(self, path: str) -> None:
        """Show the controls of the sandbox, which are at this path, and tabs for what it has."""
        self._sandbox = path
        self.refresh()

    def response(self) -> HTMLResponse:
        """Return the page."""
        return self._current.response()

    def routes(self) -> list[Route]:
        """Return the routes of the page's files, and of ``/``, which leads to the page."""
        return [assets_route(lambda: self._current.assets), Route("/", _lead)]


async def _lead(_request: Request) -> RedirectResponse:
    return RedirectResponse("graphql")  # relative, as a proxy may add a path prefix


def build_graphiql(authorization: bool, explain: bool, sources: Path = SOURCES, *, mutations: bool = False) -> GraphiQL:
    """Return the page; log that it needs a CDN if the assets are not built."""
    assets = built_assets(sources)
    if assets is not None:
        return GraphiQL(assets, (), authorization, explain, mutations)
    logger.info("GraphiQL's assets are not built: its page loads an older one from %s (to build: %s)", _CDN, BUILD)
    return GraphiQL(fallback_assets(sources), _cdn_files(sources), authorization, explain, mutations)


def _writes() -> list[dict[str, str]]:
    """Return the tabs of mutations, in the form of GraphiQL's ``defaultTabs``."""
    return [
        {"query": print_ast(parse(document)), "variables": json.dumps(variables, indent=2)}
        for document, variables in WRITES
    ]


def _cdn_files(sources: Path) -> tuple[CdnFile, ...]:
    return tuple(CdnFile(**each) for each in json.loads((sources / "fallback.json").read_text(encoding="utf-8")))


def _cdn_tag(each: CdnFile) -> str:
    integrity = f'integrity="{each.integrity}" crossorigin="anonymous"'
    if each.file.endswith(".css"):
        return f'<link rel="stylesheet" href="{each.url}" {integrity}>'
    return f'<script defer src="{each.url}" {integrity}></script>'


def _flag(value: bool) -> str:
    return "true" if value else "false"
