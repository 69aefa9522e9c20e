"""Shelf keeps the contract of all hosts."""

from imghost_shelf import Shelf, ShelfOptions
from shelf_double import TOKEN, ShelfDouble

from imghost.testing import HttpContract


class TestShelf(HttpContract):
    kind = Shelf
    credential = TOKEN

    def double(self):
        return ShelfDouble()

    def host(self, double, setup):
        return Shelf(ShelfOptions(api_url=double.url), setup)
