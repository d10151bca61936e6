"""What the addresses in the environment mean to those who use them.

redis-py and kombu write the same Redis differently: a unix socket, and what to think of a server's certificate.
"""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

#: Brokers that keep no task, or that a second process cannot read. Tests and tutorials use them.
FORGETFUL = ("memory", "filesystem", "sqla", "sqlalchemy", "django")


def rabbitmq(*urls: str) -> str:
    """The first of these addresses that is a RabbitMQ's, or nothing."""
    return next((url for url in urls if url.startswith(("amqp://", "amqps://"))), "")


def redis_url(url: str, *, verify: bool = True) -> str:
    """The address for redis-py. Without `verify`, `rediss://` takes any certificate: some platforms sign their own."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme != "rediss" or "ssl_cert_reqs" in query:
        return url
    query["ssl_cert_reqs"] = "required" if verify else "none"
    if not verify:
        query["ssl_check_hostname"] = "false"
    return urlunsplit(parts._replace(query=urlencode(query)))


def queue_url(url: str) -> str:
    """The address for kombu of the Redis that `url` names to redis-py."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(parse_qsl(parts.query))
    password = query.get("password") or unquote(parts.password or "")
    # kombu takes the password of a unix socket in the place of a host only, and the database by its own name.
    return f"redis+socket://:{quote(password, safe='')}@{parts.path}?virtual_host={query.get('db', '0')}"
