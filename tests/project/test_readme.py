"""The README says what the code does."""

from readme import README, written


def test_options_and_help_are_those_of_the_code():
    text = README.read_text("utf-8")
    assert written(text) == text


def test_the_two_commands_are_named():
    text = README.read_text("utf-8")
    assert "make demo" in text
    assert "make test" in text
