"""Grafana dashboards as code: made of the twin types, so that a new type has its dashboard. docs/grafana.md: how to use them."""
