"""The OpenAPI document: what no view has to say about itself is derived here.

refusals    which statuses a call can be refused with, and the schema of each problem
values      schemas of text and JSON as both databases keep them
operation   the DRF schema class: security, refusals, headers and media types of each operation
routes      the same for a route that is answered before Django and has no view
"""
