"""Words for the invented reports: organisations, places, people, figures and prose.

Nothing here exists, so that no judge can answer from memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_HEADS = "Bel Cor Dun Fal Gar Hol Ker Lan Mor Nor Orl Pel Rav Sel Tar Ulm Ver Wex Yar Zan".split()
_TAILS = (
    "aby borne combe dale esk ford gard hem holt iven mere more nick oth rick sby ton wick".split()
)
FIRST = (
    "Ada Bruno Clara Dorian Edda Felix Greta Hugo Ines Jonas Kira Leon Mara Nils Olga Pavel "
    "Rhea Simon Tilda Viktor"
).split()
"""First names of people."""
_LAST_HEADS = (
    "Ab Bren Cal Dor Es Fin Gal Hart Is Jor Kel Lin Mal Nor Os Per Quin Ros Sand Tor".split()
)
_LAST_TAILS = (
    "ander berg dahl ek feld gren holm issen koski land mann nes rup stad vik wall".split()
)


@dataclass(frozen=True)
class Metric:
    """Something that is counted or measured."""

    name: str
    """Noun phrase that follows "the"."""
    style: str
    """How its values look: ``int`` (four digits), ``small`` (three) or ``dec``."""


@dataclass(frozen=True)
class Domain:
    """A line of work that organisations report on."""

    body: str
    """What the organisation is."""
    site: str
    """What one of its places is."""
    prose: tuple[Metric, ...]
    """Reported in running text."""
    tables: tuple[Metric, ...]
    """Reported in tables."""
    charts: tuple[Metric, ...]
    """Reported in charts alone."""
    unreported: tuple[Metric, ...]
    """Asked for, but nowhere in the document."""
    link: str
    """What joins two sites in the network diagram, with its unit."""


def _metrics(*entries: str) -> tuple[Metric, ...]:
    return tuple(Metric(*entry.split("|")) for entry in entries)


DOMAINS = (
    Domain(
        "Water Trust",
        "pumping station",
        _metrics("number of repaired valves|small", "volume of filtered water in megalitres|int"),
        _metrics("number of household connections|int", "energy use in megawatt hours|small",
                 "average chlorine dose in milligrams|dec"),
        _metrics("number of leak reports|small", "weekly reservoir level in centimetres|int",
                 "share of renewed pipes in percent|dec"),
        _metrics("number of sampled wells|small", "cost of night patrols in crowns|int"),
        "length of the main in kilometres",
    ),
    Domain(
        "Museum League",
        "gallery",
        _metrics("number of restored paintings|small", "number of guided tours|int"),
        _metrics("number of ticket sales|int", "number of school visits|small",
                 "average length of a visit in minutes|dec"),
        _metrics("number of donated objects|small", "number of catalogue entries|int",
                 "relative humidity in percent|dec"),
        _metrics("number of broken display cases|small", "income from concerts in crowns|int"),
        "walking distance in metres",
    ),
    Domain(
        "Rail Company",
        "junction",
        _metrics("number of replaced signals|small", "number of night trains|int"),
        _metrics("number of parcels carried|int", "number of track inspections|small",
                 "mean delay in minutes|dec"),
        _metrics("number of bicycles carried|small", "diesel use in hectolitres|int",
                 "share of punctual trains in percent|dec"),
        _metrics("number of lost umbrellas|small", "rent of station kiosks in crowns|int"),
        "length of the line in kilometres",
    ),
    Domain(
        "Orchard Union",
        "packing house",
        _metrics("number of grafted trees|int", "number of hired pickers|small"),
        _metrics("number of pear crates|int", "number of quince crates|small",
                 "mean sugar content in percent|dec"),
        _metrics("number of bee colonies|small", "volume of pressed juice in litres|int",
                 "share of spoiled fruit in percent|dec"),
        _metrics("number of frost alarms|small", "price of new ladders in crowns|int"),
        "length of the cart road in metres",
    ),
    Domain(
        "Ferry Service",
        "landing",
        _metrics("number of cancelled crossings|small", "number of lorries carried|int"),
        _metrics("number of foot passengers|int", "number of rescue drills|small",
                 "mean wind speed in knots|dec"),
        _metrics("number of dredging hours|small", "fuel use in hectolitres|int",
                 "share of full sailings in percent|dec"),
        _metrics("number of damaged ropes|small", "sales of the quay shop in crowns|int"),
        "distance by sea in nautical miles",
    ),
)  # fmt: skip

ROLES = ("site manager", "chief engineer", "safety officer")
"""Posts that every site page names."""

UNFILLED = ("deputy treasurer", "press secretary", "night archivist")
"""Posts that no page names."""

THEMES: dict[str, tuple[str, ...]] = {
    "Safety": (
        "Every newcomer walks the emergency route at {site} before the first shift.",
        "Helmets, ropes and first aid boxes were inspected without notice.",
        "Two minor injuries were treated on the spot and led to better lighting on the stairs.",
        "The fire brigade joined an evening exercise and praised the clear signs.",
        "Chemical stores now carry larger warning labels and a second lock.",
    ),
    "Training": (
        "Apprentices spent a month in the workshop and another in the accounts office.",
        "A course in careful record keeping was opened to volunteers from {site}.",
        "Older colleagues taught welding, rigging and the reading of old plans.",
        "Examinations were moved to spring so that harvest and holidays are left free.",
        "Language lessons made it easier to talk with visiting inspectors.",
    ),
    "Weather": (
        "A late frost and a stormy autumn shaped the calendar of {site}.",
        "Heavy rain filled the ditches and delayed the resurfacing of the yard.",
        "The drought of early summer called for patience and for shaded resting places.",
        "Fog closed the approach road on several mornings without lasting harm.",
        "Snow was cleared by a contractor who lives within sight of the gate.",
    ),
    "Procurement": (
        "Three bids were opened in public for the supply of timber and cable.",
        "A framework contract lowered the price of lubricants and spare bearings.",
        "Purchases for {site} are approved by two signatures and filed the same day.",
        "Old furniture was auctioned, and the proceeds paid for a new boiler.",
        "Suppliers must now show where their steel and paint come from.",
    ),
    "Neighbours": (
        "Residents near {site} asked for quieter evenings, and deliveries were moved to noon.",
        "An open day with music and soup drew families from the whole valley.",
        "The parish lent its hall for the hearing about the new fence.",
        "Schoolchildren painted the long wall with herons, foxes and barges.",
        "Complaints about dust fell after the lane had been paved.",
    ),
    "Buildings": (
        "The roof of the eastern wing at {site} was sealed and insulated.",
        "Cracked tiles in the corridor were exchanged during the winter closure.",
        "Surveyors found the foundations sound, apart from one damp corner.",
        "A lift for wheelchairs replaced the steep ramp by the entrance.",
        "New windows keep out the draught and much of the traffic noise.",
    ),
    "Archive": (
        "Ledgers from the founding years were scanned and wrapped in acid free paper.",
        "A retired clerk of {site} recorded her memories for the sound collection.",
        "Mould was discovered in one cabinet, and its letters were freeze dried.",
        "The index of photographs now lists places as well as persons.",
        "Researchers booked the reading room on most Thursdays.",
    ),
    "Technology": (
        "Sensors at {site} send their readings by radio every quarter of an hour.",
        "An outage of the network in spring was traced to a gnawed cable.",
        "Paper forms gave way to tablets that work with gloves on.",
        "Software updates are tried on a spare machine before they are installed.",
        "The alarm system reports to two telephones instead of one.",
    ),
    "Nature": (
        "Bats nest under the eaves of {site}, so the facade was left unpainted.",
        "Hedges were planted along the boundary as shelter for birds.",
        "Pond water is tested for algae, and the frogs have returned.",
        "Mowing is done late so that wild flowers can seed.",
        "A beekeeper looks after hives behind the storage shed.",
    ),
    "Finance": (
        "Auditors accepted the accounts of {site} with one remark about petty cash.",
        "Reserves were kept in bonds of short duration.",
        "Insurance premiums rose less than had been feared.",
        "A legacy from a former member was set aside for scholarships.",
        "Travel expenses were pooled among the departments.",
    ),
}
"""Sentences without any reported fact, by theme; they give pages something to be found by."""

FACT_FORMS = (
    "In {year} the {name} at {site} came to {v}.",
    "For {year}, {site} put the {name} at {v}.",
    "The {name} recorded by {site} in {year} was {v}.",
    "At {site} the {name} stood at {v} in {year}.",
)

ROLE_FORMS = (
    "{person} serves as {role} of {site}.",
    "The {role} of {site} is {person}.",
    "As {role} of {site}, {person} reports to the board.",
)


def site_names() -> list[str]:
    """All invented place names there are."""
    return [head + tail for head in _HEADS for tail in _TAILS]


def last_names() -> list[str]:
    """All invented last names there are."""
    return [head + tail for head in _LAST_HEADS for tail in _LAST_TAILS]


def sites(source: Random, count: int) -> list[str]:
    """Different invented place names."""
    picked: list[str] = []
    for name in source.sample(site_names(), 60):
        if all(name[:3] != other[:3] for other in picked):
            picked.append(name)
    return picked[:count]


def people(source: Random, count: int) -> list[str]:
    """Different invented full names."""
    return [f"{source.choice(FIRST)} {name}" for name in source.sample(last_names(), count)]


class Numbers:
    """Hands out values that occur once in a document."""

    def __init__(self, source: Random) -> None:
        self._left = {
            "int": [f"{n:,}" for n in source.sample(range(1000, 9990), 900)],
            "small": [str(n) for n in source.sample(range(101, 1000), 890)],
            "dec": [f"{n / 10:.1f}" for n in source.sample(range(100, 1000), 890) if n % 10],
        }

    def next(self, style: str) -> str:
        """A value of a style that was not handed out before."""
        return self._left[style].pop()
