"""docs/states.md is made from the tables of transitions."""

from django.conf import settings

from config import diagrams


def test_the_page_of_states_is_drawn_from_the_tables() -> None:
    written = (settings.BASE_DIR / "docs" / "states.md").read_text()
    assert written == diagrams.page(), "run `manage.py document_states`"
