"""The tables in the page on clients: the tools that the tests run, and the lint rules that are not followed."""

import re

from tests.clients.tools import LINT, rows
from tests.reference.table import code, table

_TOOLS = re.compile(r"(<!-- tools: .*? -->\n).*?(<!-- end of tools -->)", re.DOTALL)
_RULES = re.compile(r"(<!-- rules: .*? -->\n).*?(<!-- end of rules -->)", re.DOTALL)


def clients_page(page: str) -> str:
    """Return the page with the tables as they are now."""
    tools = table(("tool", "version", "verdict", "what it needs, or what does not work"), rows())
    rules = table(("rule", "why not"), ((code(name), reason) for name, reason in LINT.items()))
    page = _TOOLS.sub(lambda marks: f"{marks[1]}\n{tools}\n\n{marks[2]}", page)
    return _RULES.sub(lambda marks: f"{marks[1]}\n{rules}\n\n{marks[2]}", page)
