"""Object names for the tests of CHAIR: a table in the official format, our own, and COCO's classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lens_truth.evaluate.chair import ObjectNames, objects_in, read_synonyms

TABLE = """person, man, woman, child, children, baby, person, driver, people
bicycle, bike
car, van
airplane, plane, jet
train
boat, ship, canoe, kayak, barge
bird, goose, flamingo
dog, puppy
sheep
cow, calf, ox
elephant
bear
skis, ski
kite
baseball bat
skateboard
tie, bow, bow tie
wine glass
knife
cake,  cheesecake\x20
chair, seat
couch, sofa
dining table, table
toilet
oven, stove, stove top oven
scissors
hot dog
teddy bear
"""
"""In the official format, with its quirks: a word twice in a line, spaces, and words of many meanings."""
COCO = """person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter
bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis
snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork
knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed
dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase
scissors teddy_bear hair_drier toothbrush"""


def official_names(folder: Path) -> ObjectNames:
    """The table above, read from a file."""
    path = folder / "synonyms.txt"
    path.write_text(TABLE)
    return read_synonyms(path)


@cache
def own() -> ObjectNames:
    return read_synonyms()


def classes(caption: str, names: ObjectNames) -> list[str]:
    return [mention.name for mention in objects_in(caption, names)]
