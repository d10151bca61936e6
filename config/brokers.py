"""Convert addresses of the environment for the libraries that use them.

redis-py and kombu write the same Redis differently: a unix socket, and the check of a server's certificate.
"""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

#: Brokers that keep no task, or that a second process cannot read. They are for tests and tutorials.
FORGETFUL = ("memory", "filesystem", "sqla", "sqlalchemy", "django")


def rabbitmq(*urls: str) -> str:
    """Return the first RabbitMQ address, or an empty text."""
    return next((url for url in urls if url.startswith(("amqp://", "amqps://"))), "")


def redis_url(url: str, *, verify: bool = True) -> str:
    """Return the address for redis-py. Without `verify`, `rediss://` accepts any certificate, even self-signed."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme != "rediss" or "ssl_cert_reqs" in query:
        return url
    query["ssl_cert_reqs"] = "required" if verify else "none"
    if not verify:
        query["ssl_check_hostname"] = "false"
    return urlunsplit(parts._replace(query=urlencode(query)))


def queue_url(url: str) -> str:
    """Return the address for kombu of the Redis that `url` names for redis-py."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(parse_qsl(parts.query))
    password = query.get("password") or unquote(parts.password or "")
    # kombu takes the password of a unix socket only in the host's place, and names the database differently.
    return f"redis+socket://:{quote(password, safe='')}@{parts.path}?virtual_host={query.get('db', '0')}"
