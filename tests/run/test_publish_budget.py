"""A plan over its budget uploads nothing at all, and says what it would take."""

from __future__ import annotations

from decimal import Decimal

import pytest
from test_plan import DAY, A, B, image, planned, record, settings

from imghost.errors import BudgetError
from imghost.run.job import Plan
from imghost.run.plan import check_budget


def many(count: int, price: str = "0") -> Plan:
    return planned([image(f"{number}.png") for number in range(count)])._replace(price=Decimal(price))


@pytest.mark.parametrize(("count", "most", "fits"), [(3, 3, True), (3, 2, False), (0, 0, True), (1, 0, False)])
def test_a_plan_over_max_uploads_is_refused_as_a_whole(count: int, most: int, *, fits: bool) -> None:
    if fits:
        check_budget(many(count), settings(max_uploads=most))
        return
    with pytest.raises(BudgetError) as caught:
        check_budget(many(count), settings(max_uploads=most))
    images = "1 image" if count == 1 else f"{count} images"
    assert f"{images} ({count * 100} B) would be uploaded, over max_uploads ({most})" in str(caught.value)
    assert f"set max_uploads: {count}" in str(caught.value)


@pytest.mark.parametrize(
    ("count", "price", "most", "fits"),
    [
        (10, "0", "0", True),
        (3, "0.01", "0.03", True),
        (3, "0.01", "0.02", False),
        (1, "0.01", "0", False),
        (0, "1.00", "0", True),
        (10, "0.10", "1", True),
    ],
)
def test_a_plan_over_max_cost_is_refused_to_the_cent(count: int, price: str, most: str, *, fits: bool) -> None:
    if fits:
        check_budget(many(count, price), settings(max_cost=most))
        return
    with pytest.raises(BudgetError, match=r"would cost \$.*over max_cost .*nothing is uploaded; set max_cost: "):
        check_budget(many(count, price), settings(max_cost=most))


def test_renewals_count_in_the_budget() -> None:
    found = planned([A, B], None, record(A, age=87 * DAY, left=DAY))
    with pytest.raises(BudgetError, match="2 images"):
        check_budget(found, settings(max_uploads=1))
