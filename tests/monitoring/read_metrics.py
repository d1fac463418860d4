"""Prints what Prometheus' parser finds in the text on standard input, as JSON: a list of
[metric, type, help, [[sample, labels, value], ...]]. Run by the environment of install.sh."""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

print(json.dumps([
    [family.name, family.type, family.documentation,
     [[sample.name, sample.labels, sample.value] for sample in family.samples]]
    for family in text_string_to_metric_families(sys.stdin.read())]))
