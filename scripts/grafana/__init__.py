"""Grafana dashboards as code: `panels` is what a dashboard is made of, `boards` are the five."""
