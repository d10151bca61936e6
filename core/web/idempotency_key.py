"""The form of an `Idempotency-Key` header."""

LONGEST_KEY = 255
# The printable bytes that a header can carry. A server strips the blanks around a value.
_SEEN = r"!-~\xa1-\xac\xae-\xff"
#: A key, as a pattern of JSON Schema.
PATTERN = f"^[{_SEEN}]([ {_SEEN}]*[{_SEEN}])?$"
