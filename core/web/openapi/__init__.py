"""The OpenAPI document. These modules derive the parts that views do not declare themselves.

refusals    the statuses that a call can be refused with, and the schema of each problem
values      schemas of text and JSON as both databases store them
operation   the DRF schema class: security, refusals, headers and media types of each operation
routes      the same for a route that is answered before Django and has no view
"""
