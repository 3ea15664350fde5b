"""What a scenario is. See __init__.py for how to add one."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: a figure that every contender has."""

    figure: str
    label: str
    unit: str
    digits: int = 1
    ratio: bool = True  # shown as a ratio to nginx; not for differences, which may be near zero


class Scenario:
    name = ""
    rows = ()
    rounds_max = None  # a long scenario runs in the first rounds alone

    def run(self, lab, contender, direct):
        """Figures by name; a contender without a figure leaves it out. `direct` reaches the mock without a gateway."""
        raise NotImplementedError
