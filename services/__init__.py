"""The caption service: one Ray Serve application with an HTTP API and a web page.

Run it with `python -m services`, or hand `services.app:build_app` to `serve deploy`.
"""
