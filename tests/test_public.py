"""The names that other packages may use."""

import imghost


def test_public_names_are_these_and_each_says_what_for():
    assert sorted(imghost.__all__) == [
        "ImghostError", "Job", "LockError", "Notice", "Result", "Settings", "SettingsError", "rehost", "version",
    ]  # fmt: skip
    for name in imghost.__all__:
        assert getattr(imghost, name).__doc__, name
