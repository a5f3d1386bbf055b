"""How annotations are checked while the tests run: as pyright reads them, so that an int is a float as well."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
