"""The page in a process of its own: `python -m tests.browser.page_server PORT API_PORT`."""

from __future__ import annotations

import sys

import uvicorn

from services.front import _build_page_app
from services.settings import Settings

if __name__ == "__main__":
    port, api_port = map(int, sys.argv[1:])
    app = _build_page_app(Settings(port=api_port, deadline_s=30))
    uvicorn.run(app, port=port, log_level="error", timeout_graceful_shutdown=1)
